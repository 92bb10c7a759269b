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
from k3os.cluster import node_values
from k3os.cluster.fragments import merged
from k3os.cluster.impact import fragment_hash
from k3os.cluster.node import NodeView
from k3os.cluster.objects import inside, mapping, maps, text
from k3os.cluster.request import Wanted


@dataclass(frozen=True)
class Override:
    """More configuration for the nodes that a LabelSelector matches. where: the field's path."""

    where: str
    selector: Mapping[str, Any]
    config: Mapping[str, Any]


@dataclass(frozen=True)
class Target:
    """What each node of the pool is to have; None: whatever it has. With overrides or values of
    the node in config it is another one for each: `of`. fault: why there is none for that node."""

    k3os: Wanted | None = None
    k3s: Wanted | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    overrides: tuple[Override, ...] = ()
    fault: str = ""
    _known: dict[Any, Target] = field(default_factory=dict, init=False, repr=False, compare=False)

    @cached_property
    def config_hash(self) -> str:
        return fragment_hash(dict(self.config))

    @cached_property
    def overrides_hash(self) -> str:
        return fragment_hash(written(self.overrides))

    @cached_property
    def digest(self) -> str:
        """Names this target: 16 hexadecimal digits that change when anything in it does."""
        parts: list[Any] = [
            [component.version, component.url] if component else None
            for component in (self.k3os, self.k3s)
        ]
        parts.append(self.config_hash)
        parts += [each for each in (self.overrides_hash, self.fault) if each]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]

    @cached_property
    def _has_values(self) -> bool:
        return any(
            node_values.has_values(each)
            for each in (self.config, *(override.config for override in self.overrides))
        )

    def of(self, node: NodeView) -> Target:
        """What this node is to have; the same one for the same labels and annotations."""
        if not self.overrides and not self._has_values:
            return self
        chosen = tuple(
            number
            for number, each in enumerate(self.overrides)
            if matches(each.selector, node.labels)
        )
        values: tuple[object, ...] = ()
        if self._has_values:
            maps = (node.labels, node.annotations)
            values = (node.name, *(tuple(sorted(each.items())) for each in maps))
        key = (chosen, values)
        if key not in self._known:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[key] = self._made(node, [self.overrides[number] for number in chosen])
        return self._known[key]

    def _made(self, node: NodeView, chosen: list[Override]) -> Target:
        sources = [("spec.config", self.config)]
        sources += [(f"{each.where}.config", each.config) for each in chosen]
        fragments = []
        for where, config in sources:
            try:
                fragments.append((where, node_values.replaced(config, node)))
            except node_values.NoValue as error:
                fault = f"{where}: {error.where}: {error}"
                return Target(self.k3os, self.k3s, fault=fault)
            except RecursionError:
                fault = f"{where}: is nested too deeply"
                return Target(self.k3os, self.k3s, fault=fault)
        config, problem = merged(fragments)
        fault = f"node {node.name}: {problem}" if problem else ""
        return Target(self.k3os, self.k3s, {} if fault else config, fault=fault)


MOST_KNOWN = 4096  # nodes whose targets are remembered


def written(overrides: tuple[Override, ...]) -> list[dict[str, Any]]:
    """As they stand in a spec."""
    return [
        {"nodeSelector": dict(each.selector), "config": dict(each.config)} for each in overrides
    ]


COMPONENTS = ("k3os", "k3s")
OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")
NOTHING = {"matchExpressions": [{"key": f"{names.GROUP}/none", "operator": "In", "values": []}]}


def parse_target(spec: Mapping[str, Any], status: Mapping[str, Any] | None = None) -> Target:
    """status: of the same NodePool; it remembers what a channel was found to mean."""
    k3os, k3s = (_component(spec, status or {}, name) for name in COMPONENTS)
    return Target(k3os, k3s, mapping(spec.get("config")), parse_overrides(spec.get("overrides")))


def parse_overrides(listed: object) -> tuple[Override, ...]:
    """What cannot be understood selects nothing."""
    return tuple(
        Override(f"spec.overrides[{number}]", selector_of(each), mapping(each.get("config")))
        for number, each in enumerate(maps(listed))
    )


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
    target = target.of(node)
    found = []
    for name, wanted, has in (("k3OS", target.k3os, node.k3os), ("k3s", target.k3s, node.k3s)):
        if wanted is not None and not wanted.is_met_by(has):
            found.append(f"{name} {has or 'unknown'} -> {wanted.version}")
    if target.fault or node.config_hash != target.config_hash:
        found.append("configuration")
    return found
