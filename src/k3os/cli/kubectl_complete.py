"""Shell completion for `kubectl k3os`: the words that may stand at the cursor.

kubectl calls the executable `kubectl_complete-k3os` in PATH with the words typed after `k3os`. The
last one is incomplete and may be empty. kubectl passes the output to its own completion script
(`kubectl completion bash|zsh|fish|powershell`; since 1.26). Commands and options come from the
plugin's own parser. A cluster that does not respond costs a few seconds and yields no names.
Format: one line per word, with a tab and a description; finally `:` and a number of cobra
(github.com/spf13/cobra, "ShellCompDirective").
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from k3os import names
from k3os.cli.kubectl import HANDED_ON, parser
from k3os.cluster.kubectl import Kubectl
from k3os.system.run import CommandError, run

FILES, NO_FILES = 0, 4  # whether the shell completes file names when there are no words
SECONDS = 3  # nobody waits longer for a word
NODES, POOLS = "nodes", f"{names.PLURAL}.{names.GROUP}"
# the kind of object that an argument names; the command EITHER takes both kinds
ARGUMENTS = {"node": (NODES,), "name": (POOLS,)}
EITHER = "rollback"
PREFIXES = {NODES: "node/", POOLS: "nodepool/"}
# options whose value is a file
OF_FILES = ("--filename", "--kubeconfig", "--output")
# options whose values kubectl can list
ASKED = {
    "--context": ("config", "get-contexts", "--output=name"),
    "--cluster": ("config", "get-clusters"),
    "--user": ("config", "get-users"),
    "--namespace": ("get", "namespaces", "--output=name"),
}
SHOWN = {"--watch": ("true", "false"), "--unit": ("k3s",)}
Word = tuple[str, str]  # and its description
Ask = Callable[[Kubectl, Sequence[str]], list[str]]


@dataclass
class Typed:
    """What was typed before the incomplete word. words: positional arguments; pending: the option
    that still needs its value."""

    parser: argparse.ArgumentParser
    command: tuple[str, ...] = ()
    words: list[str] = field(default_factory=list)
    options: dict[str, str] = field(default_factory=dict)
    pending: str = ""
    plain: bool = False  # after `--`, nothing is an option


def entry() -> None:
    """What the executable `kubectl_complete-k3os` of a workstation calls."""
    sys.exit(main(sys.argv[1:]))


def main(argv: list[str]) -> int:
    """Exit code 0; words that cannot be determined are left out."""
    words, directive = completed(argv, asked)
    for word, what in words:
        print(f"{word}\t{what}" if what else word)
    print(f":{directive}")
    return 0


def completed(argv: Sequence[str], ask: Ask) -> tuple[list[Word], int]:
    """The possible words, and FILES or NO_FILES. argv: includes the incomplete word."""
    *before, begun = argv or [""]
    typed = read(before)
    if typed is None:
        return [], NO_FILES
    name, equals, value = begun.partition("=")
    option = typed.pending
    if not option and begun.startswith("--") and equals and not typed.plain:
        option, begun = _long(typed.parser, name), value
    if option:
        if option in OF_FILES:
            return [], FILES
        found = [(each, "") for each in _values(typed, option, ask)]
    elif begun.startswith("-") and not typed.plain:
        found = list(_options(typed, begun))
    elif (commands := _commands(typed.parser)) is not None:
        found = [(each.dest, each.help or "") for each in commands._choices_actions]
    else:
        found = [(each, "") for each in _names(typed, begun, ask)]
    return [each for each in found if each[0].startswith(begun)], NO_FILES


def read(words: Sequence[str]) -> Typed | None:
    """None when the words are not a command."""
    typed = Typed(parser())
    for word in words:
        if typed.pending:
            typed.options[typed.pending], typed.pending = word, ""
        elif word == "--":
            typed.plain = True
        elif word.startswith("-") and not typed.plain:
            name, equals, value = word.partition("=")
            long = _long(typed.parser, name)
            if equals:
                typed.options[long] = value
            elif _takes_value(typed.parser, name):
                typed.pending = long
            else:
                typed.options[long] = ""
        elif (commands := _commands(typed.parser)) is not None:
            if word not in commands.choices:
                return None
            typed.parser = commands.choices[word]
            typed.command = (*typed.command, word)
        else:
            typed.words.append(word)
    return typed


def _commands(
    found: argparse.ArgumentParser,
) -> argparse._SubParsersAction[argparse.ArgumentParser] | None:
    """argparse has no public way to get its subparsers."""
    actions = (each for each in found._actions if isinstance(each, argparse._SubParsersAction))
    return next(actions, None)


def _known(found: argparse.ArgumentParser) -> Mapping[str, argparse.Action]:
    return found._option_string_actions


def _long(found: argparse.ArgumentParser, name: str) -> str:
    """The option's long name; `name` itself if it is unknown; else its last spelling."""
    action = _known(found).get(name)
    return _long_of(action) if action else name


def _long_of(action: argparse.Action) -> str:
    names_of = action.option_strings
    return next((each for each in names_of if each.startswith("--")), names_of[-1])


def _takes_value(found: argparse.ArgumentParser, name: str) -> bool:
    """`--watch` needs no value, as in kubectl; nor does `-b`, as in journalctl."""
    action = _known(found).get(name)
    alone = ("--watch", "--boot")
    return action is not None and action.nargs != 0 and _long_of(action) not in alone


def _options(typed: Typed, begun: str) -> Iterator[Word]:
    """The options that may still come. A single "-" offers short ones, too."""
    for name, action in _known(typed.parser).items():
        long = _long_of(action)
        several = isinstance(action, argparse._AppendAction)
        if (long not in typed.options or several) and (name == long or begun == "-"):
            yield name, (action.help or "").replace("%%", "%")


def _values(typed: Typed, option: str, ask: Ask) -> Sequence[str]:
    if option in SHOWN:
        return SHOWN[option]
    words = ASKED.get(option)
    if words is None:
        return ()
    # contexts come from a file; the context itself is what is being typed
    given = {name: value for name, value in typed.options.items() if name != option}
    found = ask(_kubectl(given), words)
    return [each.rpartition("/")[2] for each in found if each != "NAME"]


def _names(typed: Typed, begun: str, ask: Ask) -> Iterator[str]:
    """Names of nodes or NodePools, without those already typed."""
    arguments = [each for each in typed.parser._actions if not each.option_strings]
    if not arguments or (typed.words and arguments[0].nargs != "+"):
        return
    either = typed.command == (EITHER,)
    for kind in (NODES, POOLS) if either else ARGUMENTS.get(arguments[0].dest, ()):
        prefix = PREFIXES[kind] if "/" in begun else ""
        if begun.startswith(prefix):
            for each in ask(_kubectl(typed.options), ("get", kind, "--output=name")):
                name = prefix + each.rpartition("/")[2]
                if name not in typed.words:
                    yield name


def _kubectl(options: Mapping[str, str]) -> Kubectl:
    return Kubectl(tuple(f"{name}={options[name]}" for name in HANDED_ON if options.get(name)))


def asked(kubectl: Kubectl, words: Sequence[str]) -> list[str]:
    """The lines of kubectl's answer, [] when it fails."""
    argv = kubectl.command(*words, f"--request-timeout={SECONDS}s")
    try:
        return run(argv, errors_apart=True, timeout=SECONDS + 1).decode(errors="replace").split()
    except CommandError:
        return []
