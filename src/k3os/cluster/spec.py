"""A NodePool's spec as typed records, with the defaults of its schema (operator/crd.py).

It only parses. Percentages are rounded down, but to at least 1. What nodes should have is in
cluster/target.py.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from k3os import names
from k3os.cluster.canary_spec import IMPLIED, Canary, parse_canary
from k3os.cluster.canary_spec import ROLLBACK as TAKE_BACK
from k3os.cluster.duration import LONGEST, seconds
from k3os.cluster.objects import inside, mapping, number, text
from k3os.cluster.selector import is_selector, matches, selector_of
from k3os.cluster.spec_config import config_problems
from k3os.cluster.target import (
    COMPONENTS,
    Target,
    parse_target,
    unresolved,
)
from k3os.cluster.window import Window, parse_window
from k3os.cluster.workloads import Workloads, parse_workloads
from k3os.errors import UserError
from k3os.system.numbers import whole

log = logging.getLogger("k3os.operator")

# a valid version: it becomes a directory name and part of a URL
VERSION = r"v?[0-9][0-9A-Za-z.+~_-]{0,126}"
HISTORY = 10  # revisions kept besides the current one, like a Deployment's
MOST_HISTORY = 100
ROLLBACK = {"Forbid": False, "Allow": True}


@dataclass(frozen=True)
class Drain:
    """timeout, grace_period, detach_timeout, skip_wait: seconds; grace_period -1: the pod's own.
    skip_wait: do not wait for a pod this long after the end of its grace period, 0: wait for all.
    pod_selector: a LabelSelector, None: all pods."""

    enabled: bool = True
    timeout: int = 300
    delete_empty_dir_data: bool = True
    force: bool = False
    grace_period: int = -1
    ignore_daemon_sets: bool = True
    skip_wait: int = 0
    pod_selector: Mapping[str, Any] | None = None
    detach_timeout: int = 120


@dataclass(frozen=True)
class Strategy:
    """max_unavailable: a number or a percentage; progress_deadline: seconds; rollback: whether
    nodes may go back to older versions; workloads: None if they are not checked. If sick workloads
    take nodes back, there is always a canary, with a single step if the spec has none."""

    max_unavailable: int | str = 1
    drain: Drain = Drain()
    window: Window | None = None
    progress_deadline: int = 1200
    paused: bool = False
    rollback: bool = False
    canary: Canary | None = None
    workloads: Workloads | None = None

    def limit(self, nodes: int) -> int:
        """How many of this many nodes may be unavailable at a time."""
        if isinstance(self.max_unavailable, int):
            return self.max_unavailable
        return max(1, nodes * int(self.max_unavailable.rstrip("%")) // 100)


@dataclass(frozen=True)
class Pool:
    """A NodePool. selector: a LabelSelector; problems: what is wrong with its spec; unresolved:
    components whose channel has not answered yet, to their channels. From operator/canary.py:
    allowed: how many nodes may have the target; only: which nodes may start, None for all; held:
    why; frozen: nodes that were already started wait, too. missing: values of secrets that do not
    exist (operator/secret_reader.py). retried: its annotation names.RETRIED."""

    name: str
    uid: str
    generation: int
    selector: Mapping[str, Any]
    target: Target
    strategy: Strategy
    deleting: bool = False
    problems: tuple[str, ...] = ()
    unresolved: Mapping[str, str] = field(default_factory=dict)
    history_limit: int = HISTORY
    allowed: int | None = None
    only: frozenset[str] | None = None
    held: str = ""
    frozen: bool = False
    missing: tuple[str, ...] = ()
    retried: str = ""

    @property
    def is_unclear(self) -> bool:
        """It is not known what its nodes should have."""
        return bool(self.problems or self.unresolved or self.missing)

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether a node belongs to it (Kubernetes' LabelSelector); an empty one matches all."""
        return matches(self.selector, labels)


def read_pool(body: Mapping[str, Any], before: Pool | None = None) -> Pool:
    """A NodePool of the API. Never raises: errors go into its problems, and then nothing is wanted.
    before: the previous result; if the target is the same, its cache of results per node is
    kept."""
    try:
        pool = parse_pool(body)
        pool.target.digest  # noqa: B018 - whatever cannot be written down as JSON
        same = before is not None and before.target == pool.target
        return replace(pool, target=before.target) if before and same else pool
    except UserError as error:
        problem = str(error)
    except Exception as error:  # our bug; it affects only this NodePool
        log.exception("a NodePool cannot be read")
        problem = f"it cannot be read: {type(error).__name__}"
    selector = selector_of(mapping(body.get("spec")))
    return Pool(
        *_identity(body),
        selector,
        Target(),
        Strategy(),
        deleting=_is_deleted(body),
        problems=(problem,),
    )


def _identity(body: Mapping[str, Any]) -> tuple[str, str, int]:
    meta = mapping(body.get("metadata"))
    return text(meta.get("name")), text(meta.get("uid")), number(meta.get("generation"))


def _is_deleted(body: Mapping[str, Any]) -> bool:
    return bool(inside(body, "metadata", "deletionTimestamp"))


def parse_pool(body: Mapping[str, Any]) -> Pool:
    """A NodePool of the API. Raises UserError, its `where` is the field's path."""
    spec, status = _map(body, "spec", ""), mapping(body.get("status"))
    if not is_selector(_map(spec, "nodeSelector", "spec")):
        raise UserError("is not a valid LabelSelector", "", "spec.nodeSelector")
    for name in COMPONENTS:
        _check_component(spec, name)
    problems = config_problems(spec, _map(spec, "config", "spec"))
    name, uid, generation = _identity(body)
    return Pool(
        name=name,
        uid=uid,
        generation=generation,
        selector=selector_of(spec),
        target=parse_target(spec, status),
        strategy=_strategy(_map(spec, "strategy", "spec")),
        deleting=_is_deleted(body),
        problems=tuple(problems),
        unresolved=unresolved(spec, status),
        history_limit=_history_limit(spec),
        retried=text(inside(body, "metadata", "annotations", names.RETRIED)),
    )


def _map(body: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    """A map, empty if it is missing."""
    found = body.get(name)
    if found is not None and not isinstance(found, Mapping):
        raise UserError("must be a map", "", f"{where}.{name}".lstrip("."))
    return found or {}


def _bool(given: Mapping[str, Any], name: str, default: bool, where: str) -> bool:
    found = given.get(name)
    if found is not None and not isinstance(found, bool):
        raise UserError("is neither true nor false", "", f"{where}.{name}")
    return default if found is None else found


def _check_component(spec: Mapping[str, Any], name: str) -> None:
    """Raises UserError."""
    given, where = _map(spec, name, "spec"), f"spec.{name}"
    for field_name in ("version", "channel", "url"):
        value = given.get(field_name)
        if value is not None and (not isinstance(value, str) or len(value) > 2048):
            raise UserError(
                "must be a text of at most 2048 characters", "", f"{where}.{field_name}"
            )
    version = given.get("version")
    if version and not re.fullmatch(VERSION, version):
        raise UserError(f"{version!r} is not a version", "", f"{where}.version")


def _strategy(given: Mapping[str, Any]) -> Strategy:
    where = "spec.strategy"
    window = _map(given, "window", where)
    canary, workloads = parse_canary(given.get("canary")), parse_workloads(given.get("workloads"))
    if canary is None and workloads is not None and workloads.on_failure == TAKE_BACK:
        canary = IMPLIED
    return Strategy(
        max_unavailable=_max_unavailable(given),
        drain=_drain(_map(given, "drain", where)),
        window=parse_window(window) if window else None,
        progress_deadline=seconds(
            given.get("progressDeadline", "20m"), f"{where}.progressDeadline"
        ),
        paused=_bool(given, "paused", Strategy.paused, where),
        rollback=_rollback(given),
        canary=canary,
        workloads=workloads,
    )


def _rollback(given: Mapping[str, Any]) -> bool:
    found = given.get("rollback", "Forbid")
    if isinstance(found, str) and found in ROLLBACK:
        return ROLLBACK[found]
    hint = f"write {' or '.join(ROLLBACK)}"
    raise UserError(f"{found!r} is unknown", hint, "spec.strategy.rollback")


def _history_limit(spec: Mapping[str, Any]) -> int:
    found = spec.get("revisionHistoryLimit", HISTORY)
    if type(found) is int and 0 <= found <= MOST_HISTORY:
        return found
    hint = f"write a number up to {MOST_HISTORY}"
    raise UserError(f"{found!r} is not a number of revisions", hint, "spec.revisionHistoryLimit")


def _drain(given: Mapping[str, Any]) -> Drain:
    where = "spec.strategy.drain"
    selector, skip_wait = given.get("podSelector"), given.get("skipWaitForDeleteTimeout")
    if selector is not None and not is_selector(selector):
        raise UserError("is not a valid LabelSelector", "", f"{where}.podSelector")
    return Drain(
        enabled=_bool(given, "enabled", Drain.enabled, where),
        timeout=seconds(given.get("timeout", "5m"), f"{where}.timeout"),
        delete_empty_dir_data=_bool(
            given, "deleteEmptyDirData", Drain.delete_empty_dir_data, where
        ),
        force=_bool(given, "force", Drain.force, where),
        grace_period=_grace_period(given),
        ignore_daemon_sets=_bool(given, "ignoreDaemonSets", Drain.ignore_daemon_sets, where),
        skip_wait=0
        if skip_wait is None
        else seconds(skip_wait, f"{where}.skipWaitForDeleteTimeout"),
        pod_selector=selector,
        detach_timeout=seconds(given.get("detachTimeout", "2m"), f"{where}.detachTimeout"),
    )


def _grace_period(drain: Mapping[str, Any]) -> int:
    found = drain.get("gracePeriod", Drain.grace_period)
    if type(found) is int and -1 <= found <= LONGEST:
        return found
    raise UserError(
        f"{found!r} is not a number of seconds",
        "write -1 for the pod's own, or up to a week",
        "spec.strategy.drain.gracePeriod",
    )


def _max_unavailable(given: Mapping[str, Any]) -> int | str:
    limit = given.get("maxUnavailable", Strategy.max_unavailable)
    if isinstance(limit, str) and (wanted := whole(limit)) is not None:
        limit = wanted
    if type(limit) is int and limit > 0:
        return limit
    if isinstance(limit, str) and re.fullmatch(r"([1-9][0-9]?|100)%", limit):
        return limit
    raise UserError(
        f"{limit!r} is neither a number above 0 nor a percentage",
        "write `1` or `25%`",
        "spec.strategy.maxUnavailable",
    )
