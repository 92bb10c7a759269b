"""How many replicas of the operator a cluster has nodes for. Pure.

A second one on the same node would cost memory and protect against nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from k3os import names
from k3os.cluster.node import NodeView
from k3os.operator.manifests import ARCH_LABEL, MOST_REPLICAS


def replicas(nodes: Iterable[NodeView], home: str, *, pulled: bool = False) -> int:
    """home: the node of the replica that asks; returns 0 if unknown. pulled: the image comes from
    a registry, so any node can have it. Nodes that are away count: a short absence is no reason to
    start or end a pod."""
    known = {node.name: node for node in nodes}
    own = known.get(home)
    if own is None:
        return 0
    same = (ARCH_LABEL,) if pulled else (names.VERSION_LABEL, ARCH_LABEL)
    alike = [
        node
        for node in known.values()
        if (pulled or node.labels.get(names.OPERATOR_LABEL) != "false")
        and all(node.labels.get(label) == own.labels.get(label) for label in same)
    ]
    return min(max(1, len(alike)), MOST_REPLICAS)
