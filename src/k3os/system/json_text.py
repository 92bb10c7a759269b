"""JSON that somebody else wrote, or that was ours before a power cut: every fault in it is a
ValueError. Python's own reader also raises RecursionError, and accepts halves of surrogate pairs
("\\ud800"), which cannot be written to a file.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# raised when a value of an unexpected type or shape is used
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
    """Raises ValueError, also if it is not an object."""
    value = parsed(data)
    if not isinstance(value, dict):
        raise ValueError("it is not a JSON object")
    return value


def repaired(data: bytes) -> dict[str, Any]:
    """An object from a source that cannot be asked again: halves of surrogate pairs become "?", and
    bytes that are not UTF-8 "\ufffd". Raises ValueError."""
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
    """The objects in a list; other items are left out. Raises ValueError."""
    value = parsed(data)
    if not isinstance(value, list):
        raise ValueError("it is not a list")
    return maps(value)


def map_in(value: dict[str, Any], name: str) -> dict[str, Any]:
    """The object of that name in a parsed one; {} for anything else."""
    inner = value.get(name)
    return inner if isinstance(inner, dict) else {}


def maps(value: object) -> list[dict[str, Any]]:
    """The objects in a parsed list; [] for anything else."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
