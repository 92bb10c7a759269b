"""Durations in what the operator reads: more than zero, at most a week."""

from __future__ import annotations

from k3os.config import duration
from k3os.errors import UserError
from k3os.system.numbers import are_digits

LONGEST = 7 * 86400


def seconds(text: object, where: str) -> int:
    """A duration as "1h30m", "90s", or a number of seconds. Raises UserError."""
    total = 0
    if isinstance(text, int) and not isinstance(text, bool):
        total = text
    elif isinstance(text, str) and not are_digits(text):
        total = duration.parse(text)
    if 0 < total <= LONGEST:
        return total
    raise UserError(f"{text!r} is not a duration", "write `20m` or `1h30m`, a week at most", where)
