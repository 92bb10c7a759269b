"""Whole numbers in texts that somebody else wrote: a configuration, a command line, a header.

Python's int() accepts digits of every script, signs and underscores, and raises ValueError for more
than 4,300 digits; str.isdigit() is no help, as it accepts "²", too. Here, a number is a text of
ASCII digits whose value is between two limits.
"""

from __future__ import annotations

LARGEST = 2**63 - 1
# digits of LARGEST, with room for leading zeros
LONGEST = 24


def are_digits(text: str | bytes) -> bool:
    """Whether a text consists only of decimal ASCII digits, however many."""
    return text.isascii() and text.isdigit()


def whole(text: str | bytes, least: int = 0, most: int = LARGEST) -> int | None:
    """The number in a text; None if it is not a number, or not between the limits."""
    if len(text) > LONGEST or not are_digits(text):
        return None
    number = int(text)
    return number if least <= number <= most else None


def clamped(digits: str, most: int = LARGEST) -> int:
    """The number in a text of digits; most, if it is larger."""
    number = whole(digits.lstrip("0") or "0", 0, most)
    return most if number is None else number
