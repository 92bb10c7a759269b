"""What the operator may do next, as records: rollout.py decides on them, engine.py writes them.

Here are also the decisions that every step of a node may come to: another step, the end, a failure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from k3os.cluster.node import FAILED, NodeView, State
from k3os.cluster.views import PodView
from k3os.cluster.workloads import NOTHING, Record

KEEP = None  # of NodePatch: as it is


@dataclass(frozen=True)
class NodePatch:
    """One PATCH of a node: the annotation (None removes it) and the cordon together. record: of
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
    """The Job that changes a node; request: its identity, the same for the same try."""

    node: str
    request: str
    reboot: bool
    dry_run: bool = False


@dataclass(frozen=True)
class NoJob:
    """The Job of a node that nothing is asked of any more, or whose result is known."""

    request: str


@dataclass(frozen=True)
class Said:
    """An Event: of a node, or of the pool (node "")."""

    reason: str
    message: str
    node: str = ""
    warning: bool = False


Decision = NodePatch | Eviction | NewJob | NoJob | Said


@dataclass(frozen=True)
class Outcome:
    """decisions: in their order. wake: seconds from now until `decide` wants to be called again,
    None: when something changes. waiting: why nothing begins, "" when something may. faults: of
    ours, by the node that they cost its turn ("": the whole pool)."""

    decisions: tuple[Decision, ...]
    wake: float | None = None
    waiting: str = ""
    faults: Mapping[str, Exception] = field(default_factory=dict)


def release(node: NodeView) -> list[Decision]:
    """Nothing more is asked of a node, and it takes pods again."""
    assert node.state is not None
    unschedulable = False if node.state.cordoned else KEEP
    return [NodePatch(node.name, None, unschedulable, forgotten(node))]


def forgotten(node: NodeView) -> Record | None:
    """Of a NodePatch: what was remembered of its workloads is over."""
    return NOTHING if node.workloads is not None else KEEP


def stepped(node: NodeView, state: State, step: str, now: float, **changed: object) -> NodePatch:
    return NodePatch(node.name, replace(state, step=step, since=int(now), **changed))  # type: ignore[arg-type]


def fail(node: NodeView, state: State, reason: str, message: str, now: float) -> list[Decision]:
    """Stop. A node that is ready takes pods again: it is as it was before."""
    failed = replace(state, step=FAILED, since=int(now), reason=reason, message=message)
    patch = NodePatch(node.name, failed)
    if state.cordoned and node.ready:
        patch = NodePatch(node.name, replace(failed, cordoned=False), False)
    return [patch, Said(reason, message, node.name, warning=True)]
