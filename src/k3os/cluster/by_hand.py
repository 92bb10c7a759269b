"""What a command of `kubectl k3os` that restarts a node may do, and what it writes to the Node.

Pure. The annotation names.BY_HAND and the operator's own (names.ROLLOUT) exclude each other: both
are written with the Node's resourceVersion, so if two start at once, one is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from k3os import names
from k3os.cluster.node import ByHand, NodeView
from k3os.cluster.spec import Drain, Pool
from k3os.cluster.turns import Cluster, by_hand, is_busy, server_may_not
from k3os.errors import UserError
from k3os.system.stamps import utc


def check(node: NodeView, cluster: Cluster, now: float) -> None:
    """Raises UserError if it may not be restarted now."""
    state = node.state
    if state is not None and is_busy(node):
        raise UserError(
            f"the rollout of the NodePool {state.pool} is working on {node.name}: {state.step}",
            f"wait until it is over: `kubectl k3os rollout status {state.pool}`",
        )
    if node.by_hand is not None and (why := by_hand(node, now)):
        raise UserError(
            f"{node.name}: {why} already",
            f"it ends by {utc(node.by_hand.until)}; if it was killed: "
            f"`kubectl annotate node {node.name} {names.BY_HAND}-`",
        )
    if node.trial:
        raise UserError(
            f"the version of {node.name} is still on trial, and a restart would end the trial",
            f"wait until `kubectl k3os status {node.name}` no longer says so",
        )
    if not node.boot_id:
        raise UserError(
            f"{node.name} has not reported its boot id, so nobody could tell when it is back",
            "`kubectl k3os status` says how it is",
        )
    if why := server_may_not(cluster, node, (), now):
        raise UserError(f"{node.name} is a server: {why}", "`kubectl k3os nodes` shows all of them")


def drain_options(node: NodeView, pools: Iterable[Pool], *, force: bool) -> Drain:
    """The drain options of the node's NodePool, or the defaults."""
    found = owner(node, pools)
    options = found.strategy.drain if found is not None and not found.problems else Drain()
    return replace(options, force=True) if force else options


def owner(node: NodeView, pools: Iterable[Pool]) -> Pool | None:
    """The NodePool that changes it, None if none or several select it."""
    found = [pool for pool in pools if pool.matches(node.labels)]
    return found[0] if len(found) == 1 else None


def taken(body: Mapping[str, Any], mark: ByHand) -> dict[str, Any]:
    """A merge patch of the Node: it is being worked on, and takes no pods."""
    version = body["metadata"].get("resourceVersion", "")
    meta = {"resourceVersion": version, "annotations": {names.BY_HAND: mark.as_json()}}
    return {"metadata": meta, "spec": {"unschedulable": True}}


def given_back(body: Mapping[str, Any], *, uncordon: bool) -> dict[str, Any]:
    """A merge patch of the Node: it is no longer being worked on."""
    version = body["metadata"].get("resourceVersion", "")
    found: dict[str, Any] = {
        "metadata": {"resourceVersion": version, "annotations": {names.BY_HAND: None}}
    }
    return found | ({"spec": {"unschedulable": None}} if uncordon else {})


def is_back(before: NodeView, node: NodeView) -> bool:
    """Whether it is up after the restart. before: the node before it."""
    return node.ready and node.boot_id not in ("", before.boot_id) and not node.trial
