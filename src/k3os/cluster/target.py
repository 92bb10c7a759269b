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

from k3os import names
from k3os.cluster.impact import fragment_hash
from k3os.cluster.node import NodeView
from k3os.cluster.objects import inside, mapping, text
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
OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")
NOTHING = {"matchExpressions": [{"key": f"{names.GROUP}/none", "operator": "In", "values": []}]}


def parse_target(spec: Mapping[str, Any], status: Mapping[str, Any] | None = None) -> Target:
    """status: of the same NodePool; it remembers what a channel was found to mean."""
    k3os, k3s = (_component(spec, status or {}, name) for name in COMPONENTS)
    return Target(k3os, k3s, mapping(spec.get("config")))


def _component(spec: Mapping[str, Any], status: Mapping[str, Any], name: str) -> Wanted | None:
    given = mapping(spec.get(name))
    version = text(given.get("version")) or resolved(spec, status, name)
    return Wanted(version, text(given.get("url"))) if version else None


def channel(spec: Mapping[str, Any], name: str) -> str:
    """The channel that a component follows, "" for none."""
    return text(inside(spec, name, "channel"))


def resolved(spec: Mapping[str, Any], status: Mapping[str, Any], name: str) -> str:
    """The version that a component's channel was last found to mean, "" for none."""
    known = mapping(inside(status, "channels", name))
    same = text(known.get("channel")) == channel(spec, name)
    return text(known.get("version")) if same else ""


def unresolved(spec: Mapping[str, Any], status: Mapping[str, Any]) -> dict[str, str]:
    """Components whose channel is not known to mean any version yet: name to channel."""
    channels = {name: channel(spec, name) for name in COMPONENTS}
    return {
        name: channel
        for name, channel in channels.items()
        if channel and not resolved(spec, status, name)
    }


def selector_of(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """A NodePool's selector; what cannot be understood selects nothing."""
    selector = spec.get("nodeSelector")
    return mapping(selector) if selector is None or is_selector(selector) else NOTHING


def matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Kubernetes' LabelSelector; an empty one matches all."""
    wanted = selector.get("matchLabels") or {}
    if any(labels.get(name) != value for name, value in wanted.items()):
        return False
    return all(_fits(each, labels) for each in selector.get("matchExpressions") or [])


def is_selector(selector: object) -> bool:
    """Whether it is a LabelSelector."""
    if not isinstance(selector, Mapping) or selector.keys() - {"matchLabels", "matchExpressions"}:
        return False
    wanted, expressions = selector.get("matchLabels"), selector.get("matchExpressions")
    return (wanted is None or _are_texts(wanted)) and (
        expressions is None
        or (isinstance(expressions, list) and all(map(_is_expression, expressions)))
    )


def _are_texts(value: object) -> bool:
    return isinstance(value, Mapping) and all(isinstance(each, str) for each in value.values())


def _is_expression(value: object) -> bool:
    if not isinstance(value, Mapping) or not isinstance(value.get("key"), str):
        return False
    values = value.get("values") or []
    return value.get("operator") in OPERATORS and (
        isinstance(values, list) and all(isinstance(each, str) for each in values)
    )


def _fits(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value = labels.get(expression["key"])
    values = expression.get("values") or []
    return {
        "In": value in values and value is not None,
        "NotIn": value not in values,
        "Exists": value is not None,
        "DoesNotExist": value is None,
    }[expression["operator"]]


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
