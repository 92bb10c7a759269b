"""The operator's metrics, for Prometheus (prometheus.io, "Metric and label naming").

NAMES is the only list; docs/reference has a table and a dashboard of these metrics.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from prometheus_client import REGISTRY, Counter, Gauge, Histogram

from k3os.cluster.node import FAILED as FAILED_STEP
from k3os.cluster.node import SOAKING, WAITING, NodeView
from k3os.operator.decisions import NodePatch

NAMES: dict[str, str] = {
    "k3os_leader": "1 where this replica is the one that acts",
    "k3os_nodepool_nodes": "nodes that a NodePool selects",
    "k3os_nodepool_nodes_updated": "of them, those that are up to date",
    "k3os_nodepool_nodes_ready": "of them, those that are ready",
    "k3os_nodepool_nodes_changing": "of them, those that are being changed",
    "k3os_nodepool_nodes_failed": "of them, those whose change failed",
    "k3os_nodepool_workloads_sick": "workloads that were Ready on its nodes before and are not now",
    "k3os_nodepool_phase": "1 for the phase a NodePool is in",
    "k3os_nodes_unhealthy": "nodes that report K3OSHealthy=False",
    "k3os_node_changes_total": "changes of nodes that ended, by how",
    "k3os_node_change_seconds": "how long the change of a node took, from the check to the end",
    "k3os_evictions_total": "evictions asked for, by answer",
    "k3os_api_requests_total": "requests to the API server, watches by kopf aside",
    "k3os_reconcile_seconds": "how long a decision over all NodePools took, with its writes",
}
# prometheus-client's own metrics that the dashboard shows, too
OF_THE_PROCESS = ("process_resident_memory_bytes",)


def _gauge(name: str, *labels: str) -> Gauge:
    return Gauge(name, NAMES[name], labels)


def _counter(name: str, *labels: str) -> Counter:
    return Counter(name, NAMES[name], labels)


LEADER = _gauge("k3os_leader")
NODES = _gauge("k3os_nodepool_nodes", "pool")
UPDATED = _gauge("k3os_nodepool_nodes_updated", "pool")
READY = _gauge("k3os_nodepool_nodes_ready", "pool")
CHANGING = _gauge("k3os_nodepool_nodes_changing", "pool")
FAILED = _gauge("k3os_nodepool_nodes_failed", "pool")
SICK = _gauge("k3os_nodepool_workloads_sick", "pool")
PHASE = _gauge("k3os_nodepool_phase", "pool", "phase")
UNHEALTHY = _gauge("k3os_nodes_unhealthy")
CHANGES = _counter("k3os_node_changes_total", "pool", "result")
CHANGE_SECONDS = Histogram(
    "k3os_node_change_seconds",
    NAMES["k3os_node_change_seconds"],
    ["pool"],
    buckets=(1, 5, 15, 30, 60, 120, 300, 600, 1200, 3600),
)
EVICTIONS = _counter("k3os_evictions_total", "result")
API_REQUESTS = _counter("k3os_api_requests_total", "verb", "resource")
RECONCILE_SECONDS = Histogram("k3os_reconcile_seconds", NAMES["k3os_reconcile_seconds"])

_OF_A_POOL = {NODES: "nodes", UPDATED: "updated", READY: "ready", SICK: "sickWorkloads"}


def show_pool(
    name: str, status: Mapping[str, Any], phases: tuple[str, ...], *, failed: int, changing: int
) -> None:
    """Set the gauges of a pool from its status, which does not list all failed and changing
    nodes."""
    for gauge, field in _OF_A_POOL.items():
        gauge.labels(name).set(status[field])
    CHANGING.labels(name).set(changing)
    FAILED.labels(name).set(failed)
    for phase in phases:
        PHASE.labels(name, phase).set(status["phase"] == phase)


def forget_pool(name: str, phases: tuple[str, ...]) -> None:
    """Remove the gauges of a deleted pool."""
    for gauge in (*_OF_A_POOL, CHANGING, FAILED):
        gauge.remove_by_labels({"pool": name})
    PHASE.remove_by_labels({"pool": name})


def registered() -> set[str]:
    """The names of our metrics that are exported."""
    return {each.name for each in REGISTRY.collect() if each.name.startswith("k3os_")}


def count_change(before: NodeView | None, patch: NodePatch) -> None:
    """Count a change that ended. before: the node when the decision was made."""
    old = before.state if before else None
    new = patch.state
    if old is None or old.step == FAILED_STEP or (new and new.step != FAILED_STEP):
        return
    result = new.reason if new else "Updated" if old.step in (WAITING, SOAKING) else "Given up"
    CHANGES.labels(old.pool, result).inc()
    CHANGE_SECONDS.labels(old.pool).observe(max(0.0, time.time() - old.started))
