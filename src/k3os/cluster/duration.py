"""Durations as Go's time.ParseDuration reads them, in h, m and s: "1h30m"."""

from __future__ import annotations

import re

from k3os.errors import UserError

_UNITS = {"h": 3600, "m": 60, "s": 1}


def seconds(text: object, where: str) -> int:
    """A duration as "1h30m", "90s", or a number of seconds. Raises UserError."""
    if isinstance(text, int) and not isinstance(text, bool) and text > 0:
        return text
    parts = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", str(text))
    if parts is not None and any(parts.groups()):
        total = sum(
            int(number or 0) * unit
            for number, unit in zip(parts.groups(), _UNITS.values(), strict=True)
        )
        if 0 < total <= 7 * 86400:
            return total
    raise UserError(f"{text!r} is no duration", "write `20m` or `1h30m`, a week at most", where)
