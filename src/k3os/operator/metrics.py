"""The operator's metrics: their names, and what each says (Prometheus, "Metric and label naming").

docs/grafana-k3os.json draws each of them; a test keeps the two together.
"""

from __future__ import annotations

NAMES: dict[str, str] = {
    "k3os_nodepool_nodes": "nodes that a NodePool matches",
    "k3os_nodepool_nodes_updated": "those that are as wanted",
    "k3os_nodepool_nodes_ready": "those that are Ready",
    "k3os_nodepool_nodes_changing": "those that are changed now",
    "k3os_nodepool_nodes_failed": "those whose change failed",
    "k3os_nodepool_phase": "1 for the phase that a NodePool is in, else 0",
    "k3os_node_changes_total": "changes of nodes that are over, by result",
    "k3os_node_change_seconds": "how long a node's change took",
    "k3os_evictions_total": "pods asked to leave, by result: evicted, or refused by a budget",
    "k3os_api_requests_total": "requests to the API server, by verb and resource",
    "k3os_reconcile_seconds": "how long one look at everything took",
    "k3os_leader": "1 where this operator is the one that acts",
    "k3os_nodes_unhealthy": "nodes that report K3OSHealthy=False",
    "process_resident_memory_bytes": "memory of the operator",
}
