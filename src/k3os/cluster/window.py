"""The window in which changes may begin: `spec.strategy.window`, its days, hours and time zone.

A window across midnight belongs to the day on which it opens. Time zones are those of zoneinfo.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from k3os.cluster.duration import seconds
from k3os.cluster.objects import text
from k3os.errors import UserError

WHERE = "spec.strategy.window"
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


@dataclass(frozen=True)
class Window:
    """When a change may begin. start: minutes after midnight; duration: seconds."""

    start: int
    duration: int
    days: tuple[str, ...] = DAYS
    zone: str = "UTC"

    def opened(self, now: float) -> bool:
        """Whether it is open. now: seconds since 1970."""
        local = datetime.fromtimestamp(now, ZoneInfo(self.zone))
        return any(begin <= local < end for begin, end in self._near(local))

    def next_opening(self, now: float) -> float:
        """When it opens next, seconds since 1970."""
        local = datetime.fromtimestamp(now, ZoneInfo(self.zone))
        return min(begin.timestamp() for begin, _ in self._near(local) if begin > local)

    def _near(self, local: datetime) -> list[tuple[datetime, datetime]]:
        """The openings from a week ago (the longest a window lasts) to a week from now."""
        hour, minute = divmod(self.start, 60)
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
        found = []
        for offset in range(-8, 9):
            day = midnight + timedelta(days=offset)
            if DAYS[day.weekday()] in self.days:
                begin = day.replace(hour=hour, minute=minute)
                end = datetime.fromtimestamp(begin.timestamp() + self.duration, begin.tzinfo)
                found.append((begin, end))
        return found


def parse_window(given: Mapping[str, Any]) -> Window:
    """Raises UserError."""
    start = re.fullmatch(r"([01][0-9]|2[0-3]):([0-5][0-9])", text(given.get("start")))
    if start is None:
        raise UserError("is not a time of day", "write `02:00`", f"{WHERE}.start")
    days = DAYS if given.get("days") in (None, []) else given["days"]
    if not isinstance(days, (list, tuple)):
        raise UserError("must be a list", f"write some of {', '.join(DAYS)}", f"{WHERE}.days")
    unknown = [day for day in days if day not in DAYS]
    if unknown:
        raise UserError(
            f"{unknown[0]} is not a day", f"write some of {', '.join(DAYS)}", f"{WHERE}.days"
        )
    zone = "UTC" if given.get("timeZone") in (None, "") else text(given["timeZone"], 64)
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise UserError(
            f"{zone} is not a time zone", "write one as Europe/Berlin", f"{WHERE}.timeZone"
        ) from error
    minutes = int(start[1]) * 60 + int(start[2])
    duration = seconds(given.get("duration", "3h"), f"{WHERE}.duration")
    return Window(minutes, duration, tuple(days), zone)
