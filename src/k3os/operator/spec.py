"""A NodePool's spec as typed records, with the defaults of its schema (operator/crd.py).

It parses and never asks anybody. Durations are those of Go's time.ParseDuration in h, m and s;
time zones those of zoneinfo; percentages round down, to 1 at least.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from k3os.cluster.impact import check, fragment_hash
from k3os.cluster.request import Wanted
from k3os.errors import UserError

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_UNITS = {"h": 3600, "m": 60, "s": 1}


@dataclass(frozen=True)
class Target:
    """What each node of the pool is to have; None: whatever it has."""

    k3os: Wanted | None = None
    k3s: Wanted | None = None
    config: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def config_hash(self) -> str:
        return fragment_hash(dict(self.config))

    @cached_property
    def digest(self) -> str:
        """Names this target: 16 hexadecimal digits that change when anything in it does."""
        parts = [
            [component.version, component.url] if component else None
            for component in (self.k3os, self.k3s)
        ]
        text = json.dumps([*parts, self.config_hash])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


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
    """A NodePool. selector: a LabelSelector; problems: what is wrong with its config."""

    name: str
    uid: str
    generation: int
    selector: Mapping[str, Any]
    target: Target
    strategy: Strategy
    deleting: bool = False
    problems: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether a node belongs to it (Kubernetes' LabelSelector); an empty one matches all."""
        wanted = self.selector.get("matchLabels") or {}
        if any(labels.get(name) != value for name, value in wanted.items()):
            return False
        return all(_fits(each, labels) for each in self.selector.get("matchExpressions") or [])


def _fits(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value = labels.get(expression["key"])
    values = expression.get("values") or []
    return {
        "In": value in values and value is not None,
        "NotIn": value not in values,
        "Exists": value is not None,
        "DoesNotExist": value is None,
    }.get(expression["operator"], False)


def parse_pool(body: Mapping[str, Any]) -> Pool:
    """A NodePool of the API. Raises UserError, its `where` is the field's path."""
    meta, spec = body["metadata"], body.get("spec") or {}
    config = spec.get("config") or {}
    problems = [str(each) for each in check(dict(config), "spec.config")[1] if each.is_error]
    return Pool(
        name=meta["name"],
        uid=meta.get("uid", ""),
        generation=int(meta.get("generation", 0)),
        selector=spec.get("nodeSelector") or {},
        target=Target(_component(spec, "k3os"), _component(spec, "k3s"), config),
        strategy=_strategy(spec.get("strategy") or {}),
        deleting=bool(meta.get("deletionTimestamp")),
        problems=tuple(problems),
    )


def _component(spec: Mapping[str, Any], name: str) -> Wanted | None:
    given = spec.get(name)
    if not given:
        return None
    return Wanted(str(given["version"]), str(given.get("url") or ""))


def _strategy(given: Mapping[str, Any]) -> Strategy:
    default, drain = Strategy(), given.get("drain") or {}
    limit = given.get("maxUnavailable", default.max_unavailable)
    if isinstance(limit, str) and limit.isdigit():
        limit = int(limit)
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
