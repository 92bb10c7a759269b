"""What stands in an object of the API, whatever somebody put there: a map, a list, a text.

A node writes its own annotations, whoever may create pods writes their fields, and a definition
that was edited lets everything through. What is of another type than expected counts as not
there, what is longer than expected or has halves of characters ("\\ud800") in it, which no encoding
takes, too; nobody who reads an object has to look again.
"""

from __future__ import annotations

from collections.abc import Mapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# of an annotation of ours, or a label, with room to spare
LONGEST = 16384


def mapping(value: object) -> Mapping[str, Any]:
    """A map, {} for anything else."""
    return value if isinstance(value, Mapping) else {}


def inside(body: object, *path: str) -> Any:
    """What is at a path of maps, None where that leads nowhere."""
    for name in path:
        body = mapping(body).get(name)
    return body


def text(value: object, most: int = LONGEST) -> str:
    """A text, "" for anything else, for one that is longer and for one that is not whole."""
    return value if isinstance(value, str) and len(value) <= most and is_whole(value) else ""


def is_whole(value: str) -> bool:
    """Whether every character is one, and no half of a surrogate pair (Unicode, D71)."""
    return value.isascii() or not any("\ud800" <= each <= "\udfff" for each in value)


def maps(value: object) -> list[Mapping[str, Any]]:
    """The maps of a list."""
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def texts(value: object) -> dict[str, str]:
    """The texts of a map: labels, annotations."""
    return {
        name: each
        for name, each in mapping(value).items()
        if isinstance(name, str) and isinstance(each, str) and is_whole(name) and is_whole(each)
    }


def number(value: object) -> int:
    """A whole number that is not negative, 0 for anything else."""
    return value if type(value) is int and 0 <= value < 2**63 else 0


def conditions(body: object) -> dict[str, Mapping[str, Any]]:
    """The conditions of an object's status by their type."""
    return {text(each.get("type")): each for each in maps(inside(body, "status", "conditions"))}
