"""Whose turn it is: which nodes of a pool may be changed now. All these rules must hold: no failure
in the pool, not paused, the window is open; servers before agents and one at a time in the whole
cluster; no more etcd members than the quorum can spare; and no more than maxUnavailable nodes of
the pool away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from k3os.cluster.node import FAILED, NodeView
from k3os.cluster.spec import Pool
from k3os.cluster.target import Target
from k3os.cluster.workloads import SICK


@dataclass(frozen=True)
class Cluster:
    """nodes: all of them. conflicts: names of nodes that several pools match."""

    nodes: tuple[NodeView, ...]
    conflicts: frozenset[str] = field(default=frozenset())

    def of(self, pool: Pool) -> list[NodeView]:
        """The pool's nodes in the order of their turn: servers first, then by name."""
        found = [
            node
            for node in self.nodes
            if pool.matches(node.labels) and node.name not in self.conflicts
        ]
        return sorted(found, key=lambda node: (not node.control_plane, node.name))


def conflicts(nodes: Sequence[NodeView], pools: Sequence[Pool]) -> frozenset[str]:
    """The names of nodes that several pools match."""
    return frozenset(
        node.name for node in nodes if sum(pool.matches(node.labels) for pool in pools) > 1
    )


def is_busy(node: NodeView) -> bool:
    """A change of it has started and is not over."""
    return node.state is not None and node.state.step != FAILED


def is_sick(node: NodeView) -> bool:
    """It was changed, and its workloads did not come back."""
    state = node.state
    return state is not None and (state.step, state.reason) == (FAILED, SICK)


def acknowledged(pool: Pool, node: NodeView) -> bool:
    """Whether the user asked to continue since its workloads were found to be sick."""
    record = node.workloads
    return record is not None and pool.retried not in ("", record.retried)


def by_hand(node: NodeView, now: float) -> str:
    """What besides the operator is working on it, "" for nothing. now: seconds since 1970."""
    found = node.by_hand
    return f"`kubectl k3os {found.command}` is working on it" if found and now < found.until else ""


def is_away(node: NodeView) -> bool:
    """It does not take pods now, for whatever reason."""
    return is_busy(node) or not node.ready or node.unschedulable


def is_free(node: NodeView, target: Target) -> bool:
    """No change was started, or one to another target failed and is cleaned up."""
    state = node.state
    return state is None or (
        state.step == FAILED and not is_begun(node, target) and not state.cordoned
    )


def is_begun(node: NodeView, target: Target) -> bool:
    """Whether a change to this target was started, however that went."""
    return node.state is not None and target.of(node).is_named(node.state.target)


def unfit(node: NodeView, target: Target) -> str:
    """Why a change of the node cannot start, regardless of turns, "" if it can."""
    if fault := target.of(node).fault:
        return fault
    if node.unreadable:
        return f"{node.name}: {node.unreadable}"
    if not node.k3os:
        return f"{node.name} has not reported a version: does it run k3OS?"
    if not node.image:
        return f"{node.name} has no operator image; is k3os.operator off there?"
    return ""


def may_begin(
    pool: Pool, cluster: Cluster, wanting: Sequence[NodeView], now: float
) -> tuple[list[NodeView], str, float | None]:
    """The nodes of wanting whose turn it is; why there is none, else ""; seconds until the answer
    changes by itself, None if it does not."""
    if not wanting:
        return [], "", None
    reason, wake = held(pool, cluster, now)
    if reason:
        return [], reason, wake
    members = cluster.of(pool)
    room = pool.strategy.limit(len(members)) - sum(is_away(node) for node in members)
    chosen: list[NodeView] = []
    waiting = ""
    servers_wait = any(
        node.control_plane and not node.unreadable and not pool.target.of(node).fault
        for node in [*wanting, *filter(is_busy, members)]
    )
    for node in wanting:
        # cordoned by somebody else: it already counts as away
        needed = 0 if node.unschedulable else 1
        if servers_wait and not node.control_plane:
            waiting = waiting or "servers come first"
        elif why := unfit(node, pool.target):
            waiting = waiting or why
        elif why := by_hand(node, now):
            waiting = waiting or f"{node.name}: {why}"
        elif not node.ready:
            waiting = f"{node.name} is not ready"
        elif node.trial:  # it would refuse, and that would stop the whole NodePool
            waiting = waiting or f"{node.name}: its version is still on trial"
        elif room < needed:
            waiting = waiting or f"maxUnavailable ({pool.strategy.max_unavailable}) is reached"
        elif reason := server_may_not(cluster, node, chosen, now):
            waiting = reason
        else:
            chosen.append(node)
            room -= needed
    return chosen, "" if chosen else waiting, None


def held(pool: Pool, cluster: Cluster, now: float) -> tuple[str, float | None]:
    """Why no node of the pool may start, and seconds until that changes by itself."""
    if pool.problems:
        return f"the spec has errors: {pool.problems[0]}", None
    if pool.missing:
        return pool.missing[0], None
    if pool.unresolved:
        listed = ", ".join(
            f"{name}'s channel {channel}" for name, channel in pool.unresolved.items()
        )
        return f"the version is not known yet of {listed}", None
    for node in cluster.of(pool):
        state = node.state
        if state and state.step == FAILED and is_begun(node, pool.target):
            return f"{node.name} failed: {state.reason}: {state.message}", None
    if pool.strategy.paused:
        return "it is paused", None
    window = pool.strategy.window
    if window is not None and not window.opened(now):
        return "the window is closed", window.next_opening(now) - now
    return "", None


def server_may_not(cluster: Cluster, node: NodeView, chosen: Sequence[NodeView], now: float) -> str:
    """Why a server must wait, "" if it need not (agents never do)."""
    if not node.control_plane and not node.etcd:
        return ""
    servers = [each for each in cluster.nodes if each.control_plane or each.etcd]
    busy = [
        each for each in servers if is_busy(each) or (each.name != node.name and by_hand(each, now))
    ]
    if busy or any(each.control_plane or each.etcd for each in chosen):
        return "servers are changed one at a time"
    return quorum(cluster, node)


def quorum(cluster: Cluster, node: NodeView) -> str:
    """Why etcd cannot spare this member, "" if it can, or the node is not a member. Clusters of one
    or two members never have one to spare, so they are not held up."""
    members = [each for each in cluster.nodes if each.etcd]
    if not node.etcd or len(members) < 3:
        return ""
    there = sum(each.ready for each in members)
    if there - node.ready < len(members) // 2 + 1:
        return f"etcd has {there} of {len(members)} members, none to spare"
    return ""


def may_not_go(pool: Pool, cluster: Cluster, node: NodeView) -> str:
    """Why a node that was started should not be taken away now, "" if it may: others may have gone
    away in the meantime."""
    if why := quorum(cluster, node):
        return why
    members = cluster.of(pool)
    others = sum(is_away(each) for each in members if each.name != node.name)
    if others >= pool.strategy.limit(len(members)):
        return f"maxUnavailable ({pool.strategy.max_unavailable}) is reached"
    return ""
