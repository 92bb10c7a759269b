"""`k3os completion`: shell completion for all commands, generated from their help."""

from __future__ import annotations

from k3os.cli import options
from k3os.cli.main import COMMANDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

HELP = """\
usage: k3os completion bash|zsh|fish

Print a completion script of `k3os` for a shell. The bash of nodes has it already.

  bash  source <(k3os completion bash), in ~/.bashrc
  zsh   source <(k3os completion zsh), in ~/.zshrc after compinit
  fish  k3os completion fish > ~/.config/fish/completions/k3os.fish
"""
BASH = """\
_k3os() {{
    local words=
    case $COMP_CWORD,${{COMP_WORDS[1]}} in
        1,*) words="{commands}" ;;
{cases}
    esac
    COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o default -F _k3os k3os
"""
ZSH = """\
#compdef k3os
_k3os() {{
    local -a words_of
    if (( CURRENT == 2 )); then
        words_of=(
{commands}
        )
        _describe command words_of
        return
    fi
    case $words[2] in
{cases}
    esac
    [[ $words[CURRENT] == -* ]] || _files
}}
compdef _k3os k3os
"""


def main(argv: list[str]) -> int:
    """Exit code 0. Raises Usage."""
    words, _ = options.read(HELP, argv)
    options.count(HELP, words, 1, 1)
    shells: dict[str, Callable[[], str]] = {"bash": bash, "zsh": zsh, "fish": fish}
    print(shells[words[0]](), end="")
    return 0


def known() -> dict[str, tuple[str, list[str]]]:
    """Command of this machine -> its one-line help, and the words that may follow it."""
    found = {}
    for name, (path, _, text) in COMMANDS.items():
        if name == "init":
            continue
        try:
            module = __import__(path, fromlist=["HELP"])
        except ModuleNotFoundError:  # a workstation command, on a node
            continue
        help_text = getattr(module, "HELP", "")
        words = options.Words(help_text) if help_text else None
        found[name] = (text, [*words.first, *words.takes_value, "--help"] if words else ["--help"])
    return found


def bash() -> str:
    """A function for complete -F, bash(1), "Programmable Completion"."""
    commands = known()
    cases = [
        f'        *,{name}) words="{" ".join(words)}" ;;' for name, (_, words) in commands.items()
    ]
    return BASH.format(commands=" ".join(commands), cases="\n".join(cases))


def zsh() -> str:
    """A function for compdef, zshcompsys(1)."""
    commands = known()
    lines = [f"            {_quoted(f'{name}:{text}')}" for name, (text, _) in commands.items()]
    cases = [
        f"        {name}) compadd -- {' '.join(words)} ;;" for name, (_, words) in commands.items()
    ]
    return ZSH.format(commands="\n".join(lines), cases="\n".join(cases))


def fish() -> str:
    """Lines of complete(1) of fish."""
    lines = []
    for name, (text, words) in known().items():
        lines.append(f"complete -c k3os -n __fish_use_subcommand -a {name} -d {_quoted(text)}")
        seen = f"-n '__fish_seen_subcommand_from {name}'"
        for word in words:
            what = f"-l {word[2:]}" if word.startswith("--") else f"-a {word}"
            lines.append(f"complete -c k3os {seen} {what}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
