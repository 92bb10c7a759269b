"""The status of a NodePool, as people and `kubectl get np` read it. Pure, like the decisions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from k3os.cluster.drain import BLOCKED
from k3os.cluster.node import FAILED, NodeView
from k3os.cluster.objects import maps, text
from k3os.cluster.spec import Pool
from k3os.cluster.target import Target, is_updated
from k3os.cluster.turns import Cluster, is_begun, is_busy
from k3os.cluster.workloads import SICK, described
from k3os.operator.decisions import JOB_BLOCKED
from k3os.system.stamps import utc

# how many nodes are listed by name: an object in the API is limited to about 1 MiB
MOST_LISTED = 50
LONGEST = 500


@dataclass(frozen=True)
class Shown:
    """What a canary (operator/canary.py) adds to a status. status: its own part, {} to remove it,
    None to leave what is written. target: the target its nodes go back to. phase: replaces the
    NodePool's phase if that is one of instead_of. judged: conditions that replace the usual
    ones."""

    status: Mapping[str, Any] | None = None
    target: Target | None = None
    phase: str = ""
    instead_of: tuple[str, ...] = ()
    judged: Mapping[str, tuple[bool, str, str]] = field(default_factory=dict)


def status(
    pool: Pool,
    cluster: Cluster,
    waiting: str,
    now: float,
    before: Mapping[str, Any],
    faults: Mapping[str, Exception] | None = None,
    canary: Shown | None = None,
    *,
    refused: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """waiting, faults: of the Outcome. before: the current status; its transition times stay.
    refused: by node, why the API server refused a write."""
    members = cluster.of(pool)
    canary = canary or Shown()
    failed, busy = failed_and_busy(pool, cluster, canary)
    # if the spec is invalid or not resolved yet, no node is up to date
    updated = [node for node in members if not pool.is_unclear and is_updated(node, pool.target)]
    conflicts = sorted(
        node.name
        for node in cluster.nodes
        if node.name in cluster.conflicts and pool.matches(node.labels)
    )
    phase = _phase(pool, len(members), len(updated), bool(failed), bool(conflicts), bool(busy))
    judged = _judged(pool, members, updated, failed, conflicts, waiting, faults or {})
    told_by_api = [
        f"{node.name}: {words}" for node in members if (words := (refused or {}).get(node.name))
    ]
    if told_by_api and not judged["Degraded"][0]:
        judged["Degraded"] = (True, "WriteRefused", told_by_api[0][: 2 * LONGEST])
    if canary.phase and phase in canary.instead_of:
        if judged["Progressing"][1] == "Updated":  # all nodes are; the gates are still to be asked
            going = canary.phase == "Updating"
            judged["Progressing"] = (going, "Updating" if going else "Waiting", waiting)
        phase = canary.phase
    told: dict[str, Any] = {}
    if canary.status is not None and (canary.status or "canary" in before):
        told["canary"] = canary.status or None
    return {
        **told,
        "observedGeneration": pool.generation,
        "phase": phase,
        "nodes": len(members),
        "updated": len(updated),
        "ready": sum(node.ready for node in members),
        "sickWorkloads": sum(node.workloads.count for node in members if node.workloads),
        "waiting": waiting,
        "k3os": pool.target.k3os.version if pool.target.k3os else "",
        "k3s": pool.target.k3s.version if pool.target.k3s else "",
        "changing": [_entry(node) for node in [*failed, *busy][:MOST_LISTED]],
        "conditions": _conditions(pool, judged | dict(canary.judged), now, before),
    }


def failed_and_busy(
    pool: Pool, cluster: Cluster, canary: Shown
) -> tuple[list[NodeView], list[NodeView]]:
    """All nodes whose change failed, and all that are being changed; a status lists only some."""
    members = cluster.of(pool)
    wants = [pool.target, *([canary.target] if canary.target else [])]
    failed = [node for node in members if _has_failed(node, wants)]
    return failed, [node for node in members if is_busy(node)]


def _has_failed(node: NodeView, wants: Collection[Target]) -> bool:
    is_failed = node.state is not None and node.state.step == FAILED
    return is_failed and any(is_begun(node, target) for target in wants)


def _phase(pool: Pool, nodes: int, updated: int, failed: bool, conflicts: bool, busy: bool) -> str:
    table = (
        (failed or bool(pool.problems), "Failed"),
        (conflicts, "Conflict"),
        # a node with the right versions may still have to be uncordoned
        (nodes > 0 and updated == nodes and not busy, "Updated"),
        (pool.strategy.paused and not busy, "Paused"),
        (busy, "Updating"),
    )
    return next((phase for is_so, phase in table if is_so), "Pending")


def _entry(node: NodeView) -> dict[str, str]:
    state = node.state
    assert state is not None
    entry = {"name": node.name, "step": state.step}
    entry |= {"reason": state.reason} if state.reason else {}
    return entry | ({"message": state.message[:LONGEST]} if state.message else {})


# type -> (status, reason, message)
Judgements = dict[str, tuple[bool, str, str]]


def _judged(
    pool: Pool,
    members: list[NodeView],
    updated: list[NodeView],
    failed: list[NodeView],
    conflicts: list[str],
    waiting: str,
    faults: Mapping[str, Exception],
) -> Judgements:
    away = [node.name for node in members if not node.ready]
    share = f"{len(updated)} of {len(members)} nodes are up to date"
    found: Judgements = {
        "Progressing": (len(updated) < len(members), "Updating", waiting or share),
        "Available": (not away, "NodesReady", "all nodes are ready"),
        "Degraded": (False, "AsExpected", ""),
    }
    if members and len(updated) == len(members) and not any(map(is_busy, members)):
        found["Progressing"] = (False, "Updated", share)
    elif blocked := _blocked(members):
        reason, words = blocked
        found["Progressing"] = (False, reason, words[: 2 * LONGEST])
    elif waiting:
        found["Progressing"] = (False, "Waiting", waiting)
    if away:
        found["Available"] = (False, "NodesNotReady", f"not ready: {_some(away)}")
    if not members:
        found["Available"] = (False, "NoNodes", "the selector matches no node")
    unwell = [node for node in members if node.healthy is False]
    unreadable = [node for node in members if node.unreadable]
    sick = [(node, node.workloads) for node in members if node.workloads and node.workloads.sick]
    faulty = [fault for node in members if (fault := pool.target.of(node).fault)]
    if failed:
        state = failed[0].state
        assert state is not None
        words = f"{failed[0].name}: {state.message}"
        found["Degraded"] = (True, state.reason, words[: 2 * LONGEST])
    elif pool.problems:
        found["Degraded"] = (True, "BadConfig", "; ".join(pool.problems)[: 2 * LONGEST])
    elif pool.missing:
        found["Degraded"] = (True, "SecretMissing", "; ".join(pool.missing)[: 2 * LONGEST])
    elif faulty and not pool.unresolved:
        more = f" (and {len(faulty) - 1} more nodes)" if len(faulty) > 1 else ""
        words = f"NodePool {pool.name}: {faulty[0]}"
        found["Degraded"] = (True, "NodeConfigInvalid", words[: 2 * LONGEST] + more)
    elif faults:
        name, error = next(iter(faults.items()))
        words = f"{name or 'the NodePool'}: {error!r}; the operator's log says where"
        found["Degraded"] = (True, "InternalError", words[: 2 * LONGEST])
    elif conflicts:
        words = f"also matched by another NodePool, so neither changes them: {_some(conflicts)}"
        found["Degraded"] = (True, "Conflict", words)
    elif unreadable:
        words = f"{unreadable[0].name}: {unreadable[0].unreadable}"
        found["Degraded"] = (True, "NodeUnreadable", words[: 2 * LONGEST])
    elif unwell:
        words = f"{unwell[0].name}: {unwell[0].health}"
        found["Degraded"] = (True, "NodesUnhealthy", words[: 2 * LONGEST])
    elif sick:
        words = "; ".join(f"{node.name}: {described(record)}" for node, record in sick)
        found["Degraded"] = (True, SICK, words[: 2 * LONGEST])
    return found


def _blocked(members: list[NodeView]) -> tuple[str, str] | None:
    """Why and by what the first node that is stuck is held up."""
    for node in members:
        state = node.state
        if state is not None and state.step != FAILED and state.reason in (BLOCKED, JOB_BLOCKED):
            return state.reason, f"{node.name}: {state.message}"
    return None


def _some(listed: list[str], most: int = 5) -> str:
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


def _conditions(
    pool: Pool, judged: Judgements, now: float, before: Mapping[str, Any]
) -> list[dict[str, Any]]:
    known = {text(each.get("type")): each for each in maps(before.get("conditions"))}
    stamp = utc(now)
    found = []
    for kind, (is_so, reason, message) in judged.items():
        state = "True" if is_so else "False"
        old = known.get(kind, {})
        since = old.get("lastTransitionTime") if old.get("status") == state else None
        found.append(
            {
                "type": kind,
                "status": state,
                "reason": reason,
                "message": message,
                "observedGeneration": pool.generation,
                "lastTransitionTime": since or stamp,
            }
        )
    return found
