"""Durations as Go's time.ParseDuration reads them, in h, m and s: "1h30m", "90s"; or seconds."""

from __future__ import annotations

_UNITS = {"h": 3600, "m": 60, "s": 1}


def parse(text: str) -> int:
    """Seconds of "1h30m", "90s" or "90"; -1 when it is no duration."""
    if text.isascii() and text.isdigit():
        return int(text)
    import re

    parts = re.fullmatch(r"(?:([0-9]+)h)?(?:([0-9]+)m)?(?:([0-9]+)s)?", text)
    if parts is None or not any(parts.groups()):
        return -1
    return sum(
        int(number or 0) * unit
        for number, unit in zip(parts.groups(), _UNITS.values(), strict=True)
    )
