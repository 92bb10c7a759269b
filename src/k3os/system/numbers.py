"""Whole numbers in texts that somebody else wrote: a configuration, a command line, a header.

Python's int() takes digits of every script, signs and underscores, and raises ValueError for more
than 4,300 digits, where str.isdigit() has just said that all is well ("²" too). Here a text is a
number in ASCII digits between two limits, or it is none.
"""

from __future__ import annotations

LARGEST = 2**63 - 1
# digits of LARGEST, and some zeros before them
LONGEST = 24


def are_digits(text: str | bytes) -> bool:
    """Whether a text is nothing but decimal ASCII digits, however many."""
    return text.isascii() and text.isdigit()


def whole(text: str | bytes, least: int = 0, most: int = LARGEST) -> int | None:
    """The number in a text; None when it is not a number, or not between the limits."""
    if len(text) > LONGEST or not are_digits(text):
        return None
    number = int(text)
    return number if least <= number <= most else None


def clamped(digits: str, most: int = LARGEST) -> int:
    """The number in a text of digits; most, where it is larger."""
    number = whole(digits.lstrip("0") or "0", 0, most)
    return most if number is None else number
