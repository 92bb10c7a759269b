"""What a NodePool wants of its nodes, which nodes are its, and what differs on one of them.

Parsed from a NodePool's spec (operator/crd.py is its schema); nothing is asked. The operator and
`kubectl k3os` judge by the same rules.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from k3os.cluster.impact import fragment_hash
from k3os.cluster.node import NodeView
from k3os.cluster.request import Wanted


@dataclass(frozen=True)
class Target:
    """What each node of the pool is to have; None: whatever it has."""

    k3os: Wanted | None = None
    k3s: Wanted | None = None
    config: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def config_hash(self) -> str:
        return fragment_hash(dict(self.config))

    @cached_property
    def digest(self) -> str:
        """Names this target: 16 hexadecimal digits that change when anything in it does."""
        parts = [
            [component.version, component.url] if component else None
            for component in (self.k3os, self.k3s)
        ]
        text = json.dumps([*parts, self.config_hash])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


COMPONENTS = ("k3os", "k3s")


def parse_target(spec: Mapping[str, Any], status: Mapping[str, Any] | None = None) -> Target:
    """status: of the same NodePool; it remembers what a channel was found to mean."""
    k3os, k3s = (_component(spec, status or {}, name) for name in COMPONENTS)
    return Target(k3os, k3s, spec.get("config") or {})


def _component(spec: Mapping[str, Any], status: Mapping[str, Any], name: str) -> Wanted | None:
    given = spec.get(name) or {}
    version = given.get("version") or resolved(spec, status, name)
    return Wanted(str(version), str(given.get("url") or "")) if version else None


def resolved(spec: Mapping[str, Any], status: Mapping[str, Any], name: str) -> str:
    """The version that a component's channel was last found to mean, "" for none."""
    known = (status.get("channels") or {}).get(name) or {}
    same = known.get("channel") == (spec.get(name) or {}).get("channel")
    return str(known.get("version") or "") if same else ""


def unresolved(spec: Mapping[str, Any], status: Mapping[str, Any]) -> dict[str, str]:
    """Components whose channel is not known to mean any version yet: name to channel."""
    channels = {name: str((spec.get(name) or {}).get("channel") or "") for name in COMPONENTS}
    return {
        name: channel
        for name, channel in channels.items()
        if channel and not resolved(spec, status, name)
    }


def matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Kubernetes' LabelSelector; an empty one matches all."""
    wanted = selector.get("matchLabels") or {}
    if any(labels.get(name) != value for name, value in wanted.items()):
        return False
    return all(_fits(each, labels) for each in selector.get("matchExpressions") or [])


def _fits(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value = labels.get(expression["key"])
    values = expression.get("values") or []
    return {
        "In": value in values and value is not None,
        "NotIn": value not in values,
        "Exists": value is not None,
        "DoesNotExist": value is None,
    }.get(expression["operator"], False)


def is_updated(node: NodeView, target: Target) -> bool:
    """Whether it runs what it should, as it says itself."""
    return not changes(node, target) and not node.trial


def changes(node: NodeView, target: Target) -> list[str]:
    """What differs from the target, for people: "k3OS v1.0 -> v1.1"."""
    found = []
    for name, wanted, has in (("k3OS", target.k3os, node.k3os), ("k3s", target.k3s, node.k3s)):
        if wanted is not None and not wanted.is_met_by(has):
            found.append(f"{name} {has or 'unknown'} -> {wanted.version}")
    if node.config_hash != target.config_hash:
        found.append("configuration")
    return found
