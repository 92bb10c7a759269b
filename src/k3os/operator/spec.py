"""A NodePool's spec as typed records, with the defaults of its schema (operator/crd.py).

It parses and never asks anybody. Time zones are those of zoneinfo; percentages round down, to 1
at least. What nodes are to have is cluster/target.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from k3os.cluster.duration import seconds
from k3os.cluster.impact import check
from k3os.cluster.target import Target, matches, parse_target, unresolved
from k3os.errors import UserError
from k3os.system.numbers import whole

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


@dataclass(frozen=True)
class Drain:
    """timeout, grace_period: seconds; grace_period -1: the pod's own."""

    enabled: bool = True
    timeout: int = 300
    delete_empty_dir_data: bool = True
    force: bool = False
    grace_period: int = -1


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
        """The openings from a week ago (they last at most that long) to in a week."""
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


@dataclass(frozen=True)
class Strategy:
    """max_unavailable: a number, or a text with a percent sign; progress_deadline: seconds."""

    max_unavailable: int | str = 1
    drain: Drain = Drain()
    window: Window | None = None
    progress_deadline: int = 1200
    paused: bool = False

    def limit(self, nodes: int) -> int:
        """How many of so many nodes may be unavailable at a time."""
        if isinstance(self.max_unavailable, int):
            return self.max_unavailable
        return max(1, nodes * int(self.max_unavailable.rstrip("%")) // 100)


@dataclass(frozen=True)
class Pool:
    """A NodePool. selector: a LabelSelector; problems: what is wrong with its spec; unresolved:
    components whose channel has not answered yet, to their channels."""

    name: str
    uid: str
    generation: int
    selector: Mapping[str, Any]
    target: Target
    strategy: Strategy
    deleting: bool = False
    problems: tuple[str, ...] = ()
    unresolved: Mapping[str, str] = field(default_factory=dict)

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether a node belongs to it (Kubernetes' LabelSelector); an empty one matches all."""
        return matches(self.selector, labels)


def read_pool(body: Mapping[str, Any]) -> Pool:
    """A NodePool of the API; what is wrong with it is in its problems, and nothing is wanted."""
    try:
        return parse_pool(body)
    except UserError as error:
        meta, selector = body["metadata"], body["spec"].get("nodeSelector") or {}
        own = (meta["name"], meta.get("uid", ""), int(meta.get("generation", 0)))
        return Pool(*own, selector, Target(), Strategy(), problems=(str(error),))


def parse_pool(body: Mapping[str, Any]) -> Pool:
    """A NodePool of the API. Raises UserError, its `where` is the field's path."""
    meta, spec, status = body["metadata"], body.get("spec") or {}, body.get("status") or {}
    config = spec.get("config") or {}
    problems = [str(each) for each in check(dict(config), "spec.config")[1] if each.is_error]
    return Pool(
        name=meta["name"],
        uid=meta.get("uid", ""),
        generation=int(meta.get("generation", 0)),
        selector=spec.get("nodeSelector") or {},
        target=parse_target(spec, status),
        strategy=_strategy(spec.get("strategy") or {}),
        deleting=bool(meta.get("deletionTimestamp")),
        problems=tuple(problems),
        unresolved=unresolved(spec, status),
    )


def _strategy(given: Mapping[str, Any]) -> Strategy:
    default, drain = Strategy(), given.get("drain") or {}
    limit = given.get("maxUnavailable", default.max_unavailable)
    if isinstance(limit, str) and (number := whole(limit)) is not None:
        limit = number
    if not (isinstance(limit, int) and limit > 0) and not re.fullmatch(
        r"([1-9][0-9]?|100)%", str(limit)
    ):
        raise UserError(
            f"{limit!r} is neither a number above 0 nor a percentage",
            "write `1` or `25%`",
            "spec.strategy.maxUnavailable",
        )
    where = "spec.strategy"
    return Strategy(
        max_unavailable=limit,
        drain=Drain(
            enabled=bool(drain.get("enabled", True)),
            timeout=seconds(drain.get("timeout", "5m"), f"{where}.drain.timeout"),
            delete_empty_dir_data=bool(drain.get("deleteEmptyDirData", True)),
            force=bool(drain.get("force", False)),
            grace_period=int(drain.get("gracePeriod", -1)),
        ),
        window=_window(given["window"]) if given.get("window") else None,
        progress_deadline=seconds(
            given.get("progressDeadline", "20m"), f"{where}.progressDeadline"
        ),
        paused=bool(given.get("paused", False)),
    )


def _window(given: Mapping[str, Any]) -> Window:
    where = "spec.strategy.window"
    start = re.fullmatch(r"([01][0-9]|2[0-3]):([0-5][0-9])", str(given.get("start", "")))
    if start is None:
        raise UserError("is no time of day", "write `02:00`", f"{where}.start")
    days = tuple(given.get("days") or DAYS)
    unknown = [day for day in days if day not in DAYS]
    if unknown:
        raise UserError(
            f"{unknown[0]} is no day", f"write some of {', '.join(DAYS)}", f"{where}.days"
        )
    zone = str(given.get("timeZone") or "UTC")
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise UserError(
            f"{zone} is no time zone", "write one as Europe/Berlin", f"{where}.timeZone"
        ) from error
    minutes = int(start[1]) * 60 + int(start[2])
    return Window(minutes, seconds(given.get("duration", "3h"), f"{where}.duration"), days, zone)
