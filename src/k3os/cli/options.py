"""Command-line parsing by the help text: what --help prints is the only table.

`--name value` and `--name=value`; options may stand anywhere. An option takes a value if the help
text shows one in capitals after it (`--root DIR`). Without `re` and argparse: `k3os config --dump`
has a time budget.
"""

from k3os.errors import UserError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    Options = dict[str, str]

_SIGNS = ",;:.`)("


class Usage(UserError):
    """A command was called with wrong arguments. Exit code 2."""

    exit_code = 2


class Words:
    """takes_value: option -> bool. first: the words that may come first, () where the caller
    chooses it, e.g. a file name."""

    __slots__ = ("command", "first", "takes_value")

    def __init__(self, text: str) -> None:
        """text: the output of --help."""
        usage = text.partition("\n\n")[0].removeprefix("usage:").split("\n")
        lines = [line.split("   ")[0].split() for line in map(str.strip, usage) if line]
        calls = [line for line in lines if line[:1] == ["k3os"]]
        self.command = " ".join(calls[0][:2])
        found = [word for line in calls for word in line[2:3]]
        own = any(word[:1] in "[-" or word.isupper() for word in found) or len(found) < len(calls)
        self.first = () if own else tuple(each for word in found for each in word.split("|"))
        self.takes_value = dict(_options(text))


def _options(text: str) -> "Iterable[tuple[str, bool]]":
    known: dict[str, bool] = {}
    words = text.replace("[", " ").replace("]", " ] ").split()
    for word, following in zip(words, [*words[1:], ""], strict=True):
        name = word.strip(_SIGNS)
        if name.startswith("--") and len(name) > 2:
            known[name] = known.get(name, False) or (word == name and following.isupper())
    return known.items()


def read(
    text: str, argv: "list[str]", *, hidden: "Iterable[str]" = ()
) -> "tuple[list[str], Options]":
    """The positional words, and option -> value ("yes" for a flag).

    text: the output of --help. hidden: options with a value that it does not name. Raises Usage.
    """
    found = Words(text)
    takes_value = {**found.takes_value, **dict.fromkeys(hidden, True)}
    words: list[str] = []
    given: dict[str, str] = {}
    rest = list(argv)
    while rest:
        argument = rest.pop(0)
        name, equals, value = argument.partition("=")
        if not argument.startswith("-") or argument == "-":
            words.append(argument)
        elif name not in takes_value:
            raise _unknown(found, f"unknown option {name}", name, [*takes_value, *found.first])
        elif not takes_value[name]:
            if equals:
                raise wrong(text, f"{name} takes no value")
            given[name] = "yes"
        elif equals or rest:
            given[name] = value if equals else rest.pop(0)
        else:
            raise wrong(text, f"{name} needs a value")
    if found.first and not words:
        raise wrong(text, f"a word is missing: {', '.join(found.first)}")
    if found.first:
        known(text, words[0], found.first)
    return words, given


def known(text: str, word: str, words: "Iterable[str]") -> None:
    """Raise Usage unless word is one of words."""
    if word not in words:
        raise _unknown(Words(text), f"unknown word {word!r}", word, words)


def count(text: str, words: "list[str]", least: int, most: int) -> None:
    """Raise Usage unless there are between least and most words."""
    if len(words) > most:
        raise wrong(text, f"unexpected word {words[most]!r}")
    if len(words) < least:
        raise wrong(text, "a word is missing")


def alone(text: str, given: "Iterable[str]", *groups: "tuple[str, ...]") -> None:
    """Raise Usage when two options of a group are given."""
    for group in groups:
        both = [name for name in group if name in given]
        if len(both) > 1:
            raise wrong(text, f"{both[0]} and {both[1]} exclude each other")


def wrong(text: str, message: str) -> Usage:
    return Usage(message, f"`{Words(text).command} --help` explains it")


def _unknown(found: Words, message: str, word: str, likely: "Iterable[str]") -> Usage:
    from k3os.config.spelling import nearest

    meant = nearest(word, likely)
    explained = f"`{found.command} --help` explains it"
    return Usage(message, f"did you mean {meant}? {explained}" if meant else explained)
