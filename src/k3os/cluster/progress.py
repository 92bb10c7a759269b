"""A NodePool's rollout as people see it: a row per node, what it waits for, how it ended.

Pure: made from API objects, by the rules that the operator uses. It draws nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from k3os.cluster.node import (
    CHANGING,
    CHECKING,
    DRAINING,
    FAILED,
    SOAKING,
    STEPS,
    NodeView,
    State,
    parse_node,
)
from k3os.cluster.objects import inside, mapping, maps, number, text
from k3os.cluster.selector import matches, selector_of
from k3os.cluster.target import (
    Target,
    changes,
    is_updated,
    parse_target,
    unresolved,
)
from k3os.cluster.turns import is_begun
from k3os.cluster.workloads import described, remembered

# a node's step where the operator has none of its own (cluster/node.py)
PENDING, UPDATED, CONFLICT = "Pending", "Updated", "Conflict"
# shown first
BUSY = tuple(step for step in STEPS if step != FAILED)
# phases of a canary (operator/canary.py) that allow a retry
GOING_BACK = "RollingBack"
GIVEN_UP = ("Failed", GOING_BACK, "RolledBack")
ORDER = (FAILED, CONFLICT, *reversed(BUSY), PENDING, UPDATED)


@dataclass(frozen=True)
class Row:
    """A node. since: start of its step, seconds since 1970, None if unknown."""

    name: str
    step: str
    since: int | None = None
    versions: str = ""
    message: str = ""
    ready: bool = True


@dataclass(frozen=True)
class Progress:
    """seen: the operator has processed this generation, so phase, waiting and degraded are about
    it. rows: in the order of ORDER, then by name."""

    pool: str
    phase: str
    wanted: str
    seen: bool
    waiting: str = ""
    degraded: str = ""
    rows: tuple[Row, ...] = ()

    def count(self, *steps: str) -> int:
        return sum(row.step in steps for row in self.rows)

    @property
    def ready(self) -> int:
        return sum(row.ready for row in self.rows)


def progress(
    name: str, pools: Iterable[Mapping[str, Any]], nodes: Iterable[Mapping[str, Any]]
) -> Progress:
    """Of the NodePool of that name, which is one of pools."""
    listed = {each["metadata"]["name"]: each for each in pools}
    body = listed[name]
    spec, status = mapping(body.get("spec")), mapping(body.get("status"))
    target, open_channels = _target(spec, status), unresolved(spec, status)
    canary = mapping(status.get("canary"))
    back = text(canary.get("stable")) if canary.get("phase") == GOING_BACK else ""
    selectors = {other: _selector(each) for other, each in listed.items()}
    rows = []
    for node in map(parse_node, nodes):
        owners = [other for other, selector in selectors.items() if matches(selector, node.labels)]
        begun = node.state is not None and node.state.pool == name
        if name in owners or begun:
            rivals = [other for other in owners if other != name] if name in owners else []
            rows.append(_row(node, target, node.state if begun else None, rivals, back))
    generation = number(inside(body, "metadata", "generation"))
    seen = "observedGeneration" in status and number(status["observedGeneration"]) >= generation
    channels = [f"{component}'s channel {channel}" for component, channel in open_channels.items()]
    return Progress(
        pool=name,
        # until a channel's version is known, nothing is wanted and every node counts as updated
        phase=text(status.get("phase")) or PENDING if seen and not channels else PENDING,
        wanted=", ".join([*_wanted(target), *channels]) or "nothing",
        seen=seen,
        waiting=text(status.get("waiting")) if seen else "",
        degraded=_degraded(status) if seen else "",
        rows=tuple(sorted(rows, key=lambda row: (ORDER.index(row.step), row.name))),
    )


def pool_of(node: NodeView, pools: Iterable[Mapping[str, Any]]) -> list[str]:
    """The names of the NodePools that match a node: one, or a conflict, or none."""
    return sorted(
        each["metadata"]["name"] for each in pools if matches(_selector(each), node.labels)
    )


def _target(spec: Mapping[str, Any], status: Mapping[str, Any]) -> Target:
    """Wants nothing if the operator cannot understand it either; `degraded` says so."""
    try:
        target = parse_target(spec, status)
        target.digest  # noqa: B018 - whatever cannot be written down as JSON
    except (TypeError, ValueError):
        return Target()
    return target


def _selector(pool: Mapping[str, Any]) -> Mapping[str, Any]:
    return selector_of(mapping(pool.get("spec")))


def _row(node: NodeView, target: Target, state: State | None, rivals: list[str], back: str) -> Row:
    """back: the digest that nodes go back to, "" if they do not: a failure then is one there."""
    differs = ", ".join(changes(node, target))
    has = ", ".join(text for text in (_named("k3OS", node.k3os), _named("k3s", node.k3s)) if text)

    def row(step: str, message: str, *, since: int | None = None) -> Row:
        return Row(node.name, step, since, differs or has, message, node.ready)

    if state is not None and state.step in BUSY:
        return row(state.step, _about(node, state, target), since=state.since)
    if rivals:
        return row(CONFLICT, f"also matched by {', '.join(rivals)}")
    if state is not None and (back or is_begun(node, target)):
        return row(FAILED, f"{state.reason}: {state.message}", since=state.since)
    if node.unreadable:
        return row(PENDING, node.unreadable)
    unwell = f"{node.health_reason}: {node.health}" if node.healthy is False else ""
    away = "not ready" if not node.ready else "cordoned" if node.unschedulable else ""
    sick = described(node.workloads) if node.workloads and node.workloads.sick else ""
    message = ", ".join(text for text in (away, unwell, sick) if text)
    return row(UPDATED if is_updated(node, target) else PENDING, message)


def _about(node: NodeView, state: State, target: Target) -> str:
    """What a node is doing in the middle of a change."""
    if state.step == CHECKING:
        return state.message or "its Job checks whether it can be changed"
    if state.step == DRAINING:
        return state.message or "its pods are being moved away"
    if state.step == SOAKING and node.workloads:
        return f"{remembered(node.workloads)}: waiting until they are Ready again"
    if not node.ready:
        return "not ready: it restarts" if state.reboot else "not ready"
    if state.step == CHANGING:
        return state.message or "its Job is running"
    if node.trial:
        return "its new version is on trial"
    if changes(node, target):
        return "it does not report the wanted versions yet"
    if node.healthy is not True:
        return f"not healthy yet: {node.health or 'it has not reported'}"
    return ""


def _named(name: str, version: str) -> str:
    return f"{name} {version}" if version else ""


def _wanted(target: Target) -> list[str]:
    versions = [
        f"{name} {wanted.version}"
        for name, wanted in (("k3OS", target.k3os), ("k3s", target.k3s))
        if wanted is not None
    ]
    return versions + (["a configuration"] if target.config or target.overrides else [])


def _degraded(status: Mapping[str, Any]) -> str:
    for each in maps(status.get("conditions")):
        if each.get("type") == "Degraded" and each.get("status") == "True":
            return f"{each.get('reason', '')}: {each.get('message', '')}"
    return ""


def ended(seen: Progress) -> bool | None:
    """True: every node is up to date. False: it failed, or only conflicts are left, and nothing
    continues by itself. None: it is not over."""
    if not seen.seen:
        return None
    if seen.phase == "Failed":
        return False
    if seen.phase == CONFLICT:
        return None if seen.count(*BUSY, PENDING) else False
    return True if seen.phase == UPDATED else None
