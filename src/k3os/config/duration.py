"""Durations as Go's time.ParseDuration reads them, in h, m and s: "1h30m", "90s"; or seconds."""

from __future__ import annotations

from k3os.system.numbers import are_digits, clamped

LARGEST = 2**31  # 68 years: no key accepts that much
_UNITS = {"h": 3600, "m": 60, "s": 1}


def parse(text: str) -> int:
    """Seconds of "1h30m", "90s" or "90", at most LARGEST; -1 if it is not a duration."""
    if are_digits(text):
        return clamped(text, LARGEST)
    import re

    parts = re.fullmatch(r"(?:([0-9]+)h)?(?:([0-9]+)m)?(?:([0-9]+)s)?", text)
    if parts is None or not any(parts.groups()):
        return -1
    total = sum(
        clamped(number or "0", LARGEST) * unit
        for number, unit in zip(parts.groups(), _UNITS.values(), strict=True)
    )
    return min(total, LARGEST)
