"""What the operator may do next, as records: rollout.py makes the decisions, engine.py writes them.

Also the decisions that any step of a node may lead to: another step, the end, a failure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from k3os.cluster.node import FAILED, NodeView, State
from k3os.cluster.views import PodView
from k3os.cluster.workloads import NOTHING, Record

KEEP = None  # of NodePatch: leave it as it is
# a reason: the pod of a node's Job cannot run, an image cannot be pulled, say
JOB_BLOCKED = "JobBlocked"


@dataclass(frozen=True)
class NodePatch:
    """One PATCH of a node: the annotation (None removes it) together with the cordon. record: of
    its workloads, NOTHING removes it."""

    node: str
    state: State | None
    unschedulable: bool | None = KEEP
    record: Record | None = KEEP


@dataclass(frozen=True)
class Eviction:
    pod: PodView
    grace_period: int


@dataclass(frozen=True)
class NewJob:
    """The Job that changes a node. request: its identity, the same for each retry."""

    node: str
    request: str
    reboot: bool
    dry_run: bool = False


@dataclass(frozen=True)
class NoJob:
    """Delete a node's Job: nothing more is asked of the node, or the result is known."""

    request: str


@dataclass(frozen=True)
class Said:
    """An Event for a node, or for the pool (node "")."""

    reason: str
    message: str
    node: str = ""
    warning: bool = False


Decision = NodePatch | Eviction | NewJob | NoJob | Said


@dataclass(frozen=True)
class Outcome:
    """decisions: in order. wake: seconds until `decide` should be called again, None: when
    something changes. waiting: why no node may start, "" if one may. faults: our bugs, by the node
    that loses its turn ("": the whole pool)."""

    decisions: tuple[Decision, ...]
    wake: float | None = None
    waiting: str = ""
    faults: Mapping[str, Exception] = field(default_factory=dict)


def release(node: NodeView) -> list[Decision]:
    """Ask nothing more of a node, and let it take pods again."""
    assert node.state is not None
    unschedulable = False if node.state.cordoned else KEEP
    return [NodePatch(node.name, None, unschedulable, forgotten(node))]


def forgotten(node: NodeView) -> Record | None:
    """For a NodePatch: drop what was remembered of its workloads."""
    return NOTHING if node.workloads is not None else KEEP


def stepped(node: NodeView, state: State, step: str, now: float, **changed: object) -> NodePatch:
    """The next step; what held up the step before is forgotten."""
    new: dict[str, object] = {"step": step, "since": int(now), "reason": "", "message": ""}
    return NodePatch(node.name, replace(state, **new | changed))  # type: ignore[arg-type]


def fail(node: NodeView, state: State, reason: str, message: str, now: float) -> list[Decision]:
    """Stop. A node that is ready takes pods again: it is as it was before."""
    failed = replace(state, step=FAILED, since=int(now), reason=reason, message=message)
    patch = NodePatch(node.name, failed)
    if state.cordoned and node.ready:
        patch = NodePatch(node.name, replace(failed, cordoned=False), False)
    return [patch, Said(reason, message, node.name, warning=True)]
