"""JSON that somebody else wrote, or that was ours before a power cut: what is wrong with it is a
ValueError, whatever it is. Python's own reader also raises RecursionError, and gives halves of
characters ("\\ud800") that no file takes.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# what a value of another type or shape than expected raises where it is used
WRONG_SHAPE = (LookupError, TypeError, AttributeError, ValueError, ArithmeticError, RecursionError)


def parsed(data: bytes | str) -> Any:
    """Raises ValueError."""
    import json

    try:
        value = json.loads(data)
        text = data if isinstance(data, bytes) else data.encode(errors="replace")
        if b"\\ud" in text.lower() or b"\xed" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return value


def an_object(data: bytes | str) -> dict[str, Any]:
    """Raises ValueError, also for what is not an object."""
    value = parsed(data)
    if not isinstance(value, dict):
        raise ValueError("it is not a JSON object")
    return value


def repaired(data: bytes) -> dict[str, Any]:
    """An object of whoever is not asked again: halves of characters have become "?", and bytes that
    are no UTF-8 "\ufffd". Raises ValueError."""
    import json

    try:
        return an_object(data)
    except ValueError:
        text = data.decode(errors="replace")
    try:
        whole = json.dumps(json.loads(text), ensure_ascii=False).encode(errors="replace")
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return an_object(whole)


def objects(data: bytes | str) -> list[dict[str, Any]]:
    """The objects of a list; what else is in it is left out. Raises ValueError."""
    value = parsed(data)
    if not isinstance(value, list):
        raise ValueError("it is not a list")
    return maps(value)


def map_in(value: dict[str, Any], name: str) -> dict[str, Any]:
    """The object of that name in one that was parsed; {} for anything else."""
    inner = value.get(name)
    return inner if isinstance(inner, dict) else {}


def maps(value: object) -> list[dict[str, Any]]:
    """The objects of a list that was parsed; anything else has none."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
