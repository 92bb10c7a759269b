"""What an upgrade does to the workloads of a node: record before, compare after. Pure.

Before any eviction, it records which workloads have Ready pods there (`remember`). When the node is
back it takes pods again, but keeps its turn for the soak time (`soak`). A workload that is not
Ready at the end is sick, and is reported until it is Ready again or the user moves on (`recover`,
`watched`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from k3os.cluster.drain import Load
from k3os.cluster.node import FAILED, SOAKING, NodeView, State
from k3os.cluster.spec import Pool
from k3os.cluster.target import is_updated
from k3os.cluster.turns import Cluster, acknowledged, is_begun
from k3os.cluster.workloads import (
    IGNORE,
    NOTHING,
    SICK,
    Record,
    described,
    remembered,
)
from k3os.operator.decisions import KEEP, Decision, NodePatch, Said, release, stepped

Turn = tuple[list[Decision], float | None]
DONE = "ready, healthy, up to date"


def remember(pool: Pool, node: NodeView, state: State, load: Load) -> list[Decision] | None:
    """What to do before the node is drained; None if nothing."""
    if pool.strategy.workloads is None or record_of(node, state) is not None:
        return None
    if load.before is None:
        return []  # the record was requested and will come
    return [NodePatch(node.name, state, record=load.before)]


def record_of(node: NodeView, state: State) -> Record | None:
    """The record for this change of the node."""
    found = node.workloads
    return found if found and found.request == state.request else None


def updated(pool: Pool, node: NodeView, state: State, now: float) -> list[Decision]:
    """The node has what is wanted: the end, or the start of the soak time."""
    record, wanted = record_of(node, state), pool.strategy.workloads
    if wanted is None or record is None or not record.ready or not is_begun(node, pool.target):
        return [*release(node), Said("Updated", DONE, node.name)]
    going = stepped(node, state, SOAKING, now, cordoned=False)
    told = f"{remembered(record)}: they have {wanted.soak} s to become Ready again"
    unschedulable = False if state.cordoned else KEEP
    return [replace(going, unschedulable=unschedulable), Said("Soaking", told, node.name)]


def soak(pool: Pool, node: NodeView, state: State, load: Load, now: float) -> Turn:
    """state: of a node whose step is Soaking."""
    record, wanted = record_of(node, state), pool.strategy.workloads
    if wanted is None or record is None or not is_begun(node, pool.target):
        return [*release(node), Said("Updated", DONE, node.name)], 0.0
    if now < state.since + wanted.soak:
        return [], state.since + wanted.soak - now
    if load.sick is None:
        return [], None  # requested, will come
    if not load.sick:
        return [*release(node), Said("Updated", f"{DONE}; {_are_ready(record)}", node.name)], None
    found = record.found(load.sick, pool.retried)
    told = described(found)
    said = Said(SICK, told, node.name, warning=True)
    if wanted.on_failure == IGNORE:
        done = Said("Updated", DONE, node.name)
        return [NodePatch(node.name, None, record=found), said, done], None
    failed = stepped(node, state, FAILED, now, reason=SICK, message=told)
    return [replace(failed, record=found), said], None


def _are_ready(record: Record) -> str:
    return f"all of its workloads are Ready again ({len(record.ready)})"


def recover(pool: Pool, node: NodeView, state: State, load: Load) -> list[Decision]:
    """state: of a node that failed with sick workloads."""
    record, wanted = record_of(node, state), pool.strategy.workloads
    if not is_begun(node, pool.target):  # another target, or a rollback: it can start as it is
        as_wanted = not pool.is_unclear and node.ready and is_updated(node, pool.target)
        return release(node) if as_wanted else []
    if wanted is None or record is None or acknowledged(pool, node):
        return [*release(node), Said("Updated", f"{DONE}; its workloads are ignored", node.name)]
    if load.sick is not None and not load.sick:
        return [*release(node), Said("WorkloadsReady", "they are Ready again", node.name)]
    if wanted.on_failure == IGNORE:
        return [NodePatch(node.name, None)]  # from now on they are only reported
    if (found := _news(record, load.sick)) is None:
        return []
    return [NodePatch(node.name, replace(state, message=described(found)), record=found)]


def watched(pool: Pool, cluster: Cluster, loads: Mapping[str, Load]) -> list[Decision]:
    """For nodes of which nothing more is asked, but whose workloads are still sick."""
    found: list[Decision] = []
    for node in cluster.of(pool):
        record, load = node.workloads, loads.get(node.name, Load())
        if node.state is not None or node.unreadable or record is None or not record.sick:
            continue
        if pool.strategy.workloads is None or acknowledged(pool, node):
            found.append(NodePatch(node.name, None, record=NOTHING))
        elif load.sick is not None and not load.sick:
            found.append(NodePatch(node.name, None, record=NOTHING))
            found.append(Said("WorkloadsReady", "they are Ready again", node.name))
        elif (news := _news(record, load.sick)) is not None:
            found.append(NodePatch(node.name, None, record=news))
    return found


def _news(record: Record, sick: Mapping[str, str] | None) -> Record | None:
    """None if the same ones are sick: the reason changes with every container restart."""
    found = record.found(sick, record.retried) if sick else None
    if found is None or (found.sick.keys(), found.others) == (record.sick.keys(), record.others):
        return None
    return found
