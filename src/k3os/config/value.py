"""The data of the engine: raw nodes, typed values, their places, problems.

Small classes that do not read, check or merge. They are plain classes with __slots__ because PID 1
pays for every import.
"""

from __future__ import annotations

from k3os.errors import discreet, visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeAlias

    # a scalar's text, a list, or a map as (key, value) pairs in the order of the text
    NodeData: TypeAlias = "str | list[Node] | list[tuple[Node, Node]]"
    # str, bool, list, or map
    Data: TypeAlias = "str | bool | list[Value] | dict[str, Value]"
    Plain: TypeAlias = "str | bool | list[Plain] | dict[str, Plain]"


class Place:
    """Where something was written: source, line and column (from 1; 0: none); for a list's item,
    its number, from 0."""

    __slots__ = ("column", "line", "number", "source")

    def __init__(self, source: str, line: int = 0, column: int = 0) -> None:
        self.source = source
        self.line = line
        self.column = column
        self.number = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source

    def as_first(self) -> str:
        """The suffix with which a message about a duplicate refers to this place."""
        return f", first in line {self.line}" if self.line else ""


class Node:
    """One node of a text: kind "scalar", "list", "map", "null", or "tag" (an unsupported type).

    plain: a scalar without quotes. binary: marked !!binary, the text is base64.
    """

    __slots__ = ("binary", "items", "kind", "pairs", "place", "plain", "text")

    def __init__(self, kind: str, place: Place, text: str = "", plain: bool = False) -> None:
        self.kind = kind
        self.place = place
        self.text = text
        self.plain = plain
        self.binary = False
        self.items: list[Node] = []
        self.pairs: list[tuple[Node, Node]] = []

    def is_unset(self) -> bool:
        """Also for an empty text, and for a list of these: tools write them for nothing."""
        if self.kind == "list":
            return bool(self.items) and all(item.is_unset() for item in self.items)
        return self.kind == "null" or (self.kind == "scalar" and not self.text.strip())


class Value:
    """A checked value: str, bool, list or dict, and its place."""

    __slots__ = ("data", "place")

    def __init__(self, data: Data, place: Place) -> None:
        self.data = data
        self.place = place


class Wrong(Exception):
    """This value cannot be used."""

    def __init__(self, place: Place, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.place = place
        self.message = message
        self.hint = hint


class Problem:
    """An error (the value is not used) or a warning (it is used), and what to write instead."""

    __slots__ = ("hint", "is_error", "key", "message", "place")

    def __init__(
        self, place: Place, key: str, message: str, hint: str = "", *, is_error: bool = True
    ) -> None:
        self.place = place
        self.key = shortened(key)
        self.message = shortened(discreet(message))
        self.hint = shortened(discreet(hint))
        self.is_error = is_error

    def __str__(self) -> str:
        level = "" if self.is_error else "warning: "
        key = f"{self.key}: " if self.key else ""
        text = f"{self.place}: {level}{key}{self.message}"
        return visible(f"{text}; {self.hint}" if self.hint else text)

    def as_dict(self) -> dict[str, str | int]:
        """For --format json and status.json."""
        return {
            "level": "error" if self.is_error else "warning",
            "source": self.place.source,
            "line": self.place.line,
            "column": self.place.column,
            "key": self.key,
            "message": self.message,
            "hint": self.hint,
        }


# a message that quotes a value may be as long as the value
LONGEST_SAID = 800


def shortened(text: str) -> str:
    """The text, without its middle if it is too long to read."""
    if len(text) <= LONGEST_SAID:
        return text
    return f"{text[: LONGEST_SAID // 2]} … {text[-LONGEST_SAID // 4 :]}"


def numbered(value: Value | None) -> list[tuple[int, Value]]:
    """The items of a list, each with its original number: wrong ones were removed."""
    data = value.data if value is not None else []
    return [(item.place.number, item) for item in data] if isinstance(data, list) else []


def texts_of(value: Value) -> Iterator[tuple[str, Place]]:
    """Every text in a value, and its place."""
    data = value.data
    if isinstance(data, str):
        yield data, value.place
    elif not isinstance(data, bool):
        for item in data.values() if isinstance(data, dict) else data:
            yield from texts_of(item)


def field_text(entry: dict[str, Value], name: str) -> str:
    """A field of a map as text, "" if it is not set."""
    return str(entry[name].data) if name in entry else ""


def plain(value: Value) -> Plain:
    """The value without its places."""
    data = value.data
    if isinstance(data, list):
        return [plain(item) for item in data]
    if isinstance(data, dict):
        return {name: plain(item) for name, item in data.items()}
    return data
