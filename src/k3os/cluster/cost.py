"""What a NodePool's target costs a node: nothing, a restart of k3s, or a reboot; and whether its
pods are moved away for it. Pure.

The operator decides by it before it starts a node, the node applies the same rules when it carries
out the request (request.py), and `kubectl k3os diff` predicts both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from k3os.cluster.impact import impact
from k3os.cluster.node import NodeView
from k3os.cluster.request import NodeRequest, remaining
from k3os.cluster.target import Target, changes
from k3os.config.key import AT_BOOT, NOW, RESTART


def disrupts(node: NodeView, target: Target) -> bool:
    """Whether a change stops its pods: another version, or a fragment that needs a reboot."""
    target = target.of(node)
    versions = [each for each in changes(node, target) if each != "configuration"]
    return bool(versions) or impact(dict(target.config)) == AT_BOOT


@dataclass(frozen=True)
class Cost:
    """effect: NOW, RESTART or AT_BOOT, of k3os.config.key. drained: its pods are moved away.
    sure: its fragment is known; if not, the cost may be higher."""

    effect: str = NOW
    drained: bool = False
    sure: bool = True


def cost(node: NodeView, target: Target, fragment: Mapping[str, Any] | None) -> Cost:
    """Of bringing a node to a target that it differs from. fragment: the part of its configuration
    that a NodePool gave it, None if only its hash is known."""
    target = target.of(node)
    request = NodeRequest("cost", target.k3os, target.k3s, target.config)
    work = remaining(request, {"k3os": node.k3os, "k3s": node.k3s}, fragment or {})
    drained = disrupts(node, target) or work.reboot
    # the current fragment will be replaced, and removing a key can need more than setting it
    unsure = fragment is None and node.config_hash != target.config_hash and not work.reboot
    effect = AT_BOOT if work.reboot else RESTART if work.restarts_k3s else NOW
    return Cost(effect, drained, not unsure)
