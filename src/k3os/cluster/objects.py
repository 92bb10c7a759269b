"""Reads fields of API objects, whatever their content: a map, a list, a text.

A node writes its own annotations, anyone who may create pods writes their fields, and an edited
definition accepts anything. A value of the wrong type counts as missing; so does one that is too
long or contains half of a surrogate pair ("\\ud800"), which no encoding accepts. Callers need no
further checks.
"""

from __future__ import annotations

from collections.abc import Mapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# longer than any annotation or label of ours
LONGEST = 16384


def mapping(value: object) -> Mapping[str, Any]:
    """A map, {} for anything else."""
    return value if isinstance(value, Mapping) else {}


def inside(body: object, *path: str) -> Any:
    """The value at a path of maps, None if the path does not exist."""
    for name in path:
        body = mapping(body).get(name)
    return body


def text(value: object, most: int = LONGEST) -> str:
    """A text, "" for anything else, or if it is too long or not valid Unicode."""
    return value if isinstance(value, str) and len(value) <= most and is_whole(value) else ""


def is_whole(value: str) -> bool:
    """Whether it contains no half of a surrogate pair (Unicode, D71)."""
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
    """The conditions in an object's status, by type."""
    return {text(each.get("type")): each for each in maps(inside(body, "status", "conditions"))}
