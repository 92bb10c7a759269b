"""What a NodePool wants of its nodes: for each one with its overrides and values, what differs,
and labels that would change it back and forth.

Parsed from a NodePool's spec (operator/crd.py is its schema); nothing is asked. The operator and
`kubectl k3os` use the same rules.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from k3os.cluster import placeholders
from k3os.cluster.fragments import labels_given, merged, same_where_shown
from k3os.cluster.impact import fragment_hash
from k3os.cluster.node import NodeView
from k3os.cluster.objects import inside, mapping, maps, text
from k3os.cluster.request import Wanted
from k3os.cluster.secret_refs import SecretRef, parse_refs, sealed, written_refs
from k3os.cluster.selector import keys_of, matches, selector_of


@dataclass(frozen=True)
class Override:
    """More configuration for the nodes that a LabelSelector matches. where: the field's path."""

    where: str
    selector: Mapping[str, Any]
    config: Mapping[str, Any]


@dataclass(frozen=True)
class Target:
    """What each node of the pool should have; None: whatever it has. With overrides or placeholders
    it differs between nodes: see `of`. fault: why there is none for that node. refs: to the secrets
    in it, which a node's config has marks for; seals: of their values by name, None if unknown
    (`kubectl k3os`). is_own: it is for one node, and anything in it that looks like a placeholder
    is plain text."""

    k3os: Wanted | None = None
    k3s: Wanted | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    overrides: tuple[Override, ...] = ()
    fault: str = ""
    refs: tuple[SecretRef, ...] = ()
    seals: Mapping[str, str] | None = None
    is_own: bool = False
    _known: dict[Any, tuple[Any, Target]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @cached_property
    def seal(self) -> str | None:
        """Of all values of secrets; "" if there are none, None if unknown."""
        if self.refs and self.seals is None:
            return None
        known = self.seals or {}
        return sealed({each.name: known.get(each.name, "") for each in self.refs})

    @cached_property
    def config_hash(self) -> str:
        """What a node with this configuration reports, as far as it is known."""
        found = fragment_hash(dict(self.config))
        return f"{found}-{self.seal}" if self.seal else found

    @cached_property
    def overrides_hash(self) -> str:
        return fragment_hash(written(self.overrides))

    @cached_property
    def plain_digest(self) -> str:
        """Identifies the contents of a spec: 16 hexadecimal digits that change with them."""
        parts: list[Any] = [
            [component.version, component.url] if component else None
            for component in (self.k3os, self.k3s)
        ]
        parts.append(fragment_hash(dict(self.config)))
        parts += [each for each in (self.overrides_hash, self.fault) if each]
        parts += [written_refs(self.refs)] if self.refs else []
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]

    @cached_property
    def digest(self) -> str:
        """Identifies this target, including the values of its secrets."""
        return f"{self.plain_digest}x{self.seal}" if self.seal else self.plain_digest

    def is_named(self, digest: str) -> bool:
        """Whether a digest is that of this target, as far as it is known."""
        return digest == self.digest or (self.seal is None and plain(digest) == self.plain_digest)

    def is_had_by(self, node: NodeView) -> bool:
        """Whether the node has this configuration, as far as it is known."""
        has = node.config_hash if self.seal is not None else node.config_hash.partition("-")[0]
        return not self.fault and has == self.config_hash

    @cached_property
    def _differs(self) -> bool:
        """Whether it differs between nodes."""
        configs = (self.config, *(each.config for each in self.overrides))
        return not self.is_own and any(map(placeholders.has_any, configs))

    @cached_property
    def _used(self) -> tuple[tuple[str, str], ...]:
        """The values of a node that it uses: ("labels", KEY), ("name", "")."""
        configs = (self.config, *(each.config for each in self.overrides))
        return tuple(sorted({used for each in configs for used in placeholders.of_node(each)}))

    @cached_property
    def _looked_at(self) -> frozenset[str]:
        """The labels that it depends on, if it may set one of them itself; else none."""
        labels = {key for each in self.overrides for key in keys_of(each.selector)}
        labels |= {name for kind, name in self._used if kind == "labels"}
        configs = (self.config, *(each.config for each in self.overrides))
        moves = any(placeholders.mentions(each, labels) for each in configs)
        return frozenset(labels if moves else ())

    def _chosen(self, node: NodeView) -> tuple[Override, ...]:
        return tuple(each for each in self.overrides if matches(each.selector, node.labels))

    def of(self, node: NodeView) -> Target:
        """What this node should have; the same object for the same labels and annotations."""
        if not self.overrides and not self._differs:
            return self
        chosen = self._chosen(node)
        wheres = tuple(each.where for each in chosen)
        values = tuple(
            getattr(node, kind).get(name) if name else node.name for kind, name in self._used
        )
        values += tuple(node.labels.get(name) for name in sorted(self._looked_at))
        key = (wheres, values)
        # one per node: endless changes of annotations must not use up memory
        place = node.name if values else wheres
        known = self._known.get(place)
        if known is None or known[0] != key:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            config, fault = self._made(node)
            fault = fault or self._circle(node, config)
            configs = (self.config, *(each.config for each in chosen))
            used = {name for each in configs for name in placeholders.secrets_in(each)}
            refs = () if fault else tuple(each for each in self.refs if each.name in used)
            known = self._known[place] = (
                key,
                Target(
                    *(self.k3os, self.k3s, config),
                    fault=fault,
                    refs=refs,
                    seals=self.seals,
                    is_own=True,
                ),
            )
        return known[1]

    def _circle(self, node: NodeView, config: Mapping[str, Any]) -> str:
        """Why the node's configuration would change again and again, "" if it settles: with the
        labels that it sets, the node gets another one. Labels that the node has from an earlier
        configuration are noticed one change later."""
        if not self._looked_at:
            return ""
        own = dict(node.labels)
        seen = [own]
        while len(seen) < len(self.overrides) + MOST_CHANGES:
            given, stay = labels_given(config)
            own = {**own, **stay}
            labels = {**own, **given}
            if labels == seen[-1]:
                return ""
            if labels in seen:
                break
            seen.append(labels)
            config, fault = self._made(replace(node, labels=labels))
            if fault:
                return ""  # reported once the node has got there
        moving = [name for name in self._looked_at if len({each.get(name) for each in seen}) > 1]
        listed = ", ".join(sorted(moving))
        return (
            f"node {node.name}: the label {listed} would change back and forth: the node's "
            "configuration depends on it and sets it; select by labels that nothing here sets"
        )

    def filled(self, node: NodeView, secrets: Mapping[str, str]) -> tuple[Mapping[str, Any], str]:
        """A node's configuration with the values of its secrets, and what is wrong with it, without
        any part of a value."""
        config, fault = self._made(node, secrets)
        marked, other = self._made(node)
        if other or not (fault or not same_where_shown(config, marked)):
            return config, other
        return {}, f"node {node.name}: {self._blamed(node, secrets)}"

    def _blamed(self, node: NodeView, secrets: Mapping[str, str]) -> str:
        """Which values make a node's configuration wrong."""
        marks = {name: placeholders.mark(name) for name in secrets}
        marked, _ = self._made(node)
        found = []
        for ref in self.refs:
            if ref.name in secrets:
                config, fault = self._made(node, marks | {ref.name: secrets[ref.name]})
                if fault or not same_where_shown(config, marked):
                    ends = secrets[ref.name].endswith("\n")
                    found.append(f"{ref}, which ends with a line break," if ends else str(ref))
        listed = " and ".join(found) or "several secrets"
        return f"with the value of {listed} the configuration is wrong, or would show a part of it"

    def _made(
        self, node: NodeView, secrets: Mapping[str, str] | None = None
    ) -> tuple[Mapping[str, Any], str]:
        sources = [("spec.config", self.config)]
        sources += [(f"{each.where}.config", each.config) for each in self._chosen(node)]
        fragments = []
        for where, config in sources:
            try:
                fragments.append((where, placeholders.replaced(config, node, secrets)))
            except placeholders.NoValue as error:
                return {}, f"{where}: {error.where}: {error}"
            except RecursionError:
                return {}, f"{where}: is nested too deeply"
        config, problem = merged(fragments)
        if problem := problem or too_large(config):
            return {}, f"node {node.name}: {problem}"
        # with a thousand nodes there are a thousand copies, and file contents are long
        known = placeholders.long_texts([config for _, config in sources])
        return placeholders.with_texts_of(config, known), ""


def too_large(*configs: Any) -> str:
    """Why they are too large to reach a node, "" if they are not."""
    size = sum(len(json.dumps(each)) for each in configs)
    if size <= LARGEST:
        return ""
    return (
        f"the configuration has {size >> 10} KiB, and at most {LARGEST >> 10} can be sent to a "
        "node: let the node fetch what is large (k3os.manifests, k3os.images, a command)"
    )


def plain(digest: str) -> str:
    """The part of a target's digest that stands for its spec."""
    return digest.partition("x")[0]


LARGEST_SECRET = 1 << 20  # bytes, of all values of a Secret
# characters of JSON, of a configuration: it travels in a Secret
LARGEST = LARGEST_SECRET - 16384
MOST_CHANGES = 4  # besides one per override: enough for any labels that settle
MOST_KNOWN = 8192  # nodes, or sets of overrides, whose targets are remembered


def written(overrides: tuple[Override, ...]) -> list[dict[str, Any]]:
    """As they are written in a spec."""
    return [
        {"nodeSelector": dict(each.selector), "config": dict(each.config)} for each in overrides
    ]


COMPONENTS = ("k3os", "k3s")


def parse_target(spec: Mapping[str, Any], status: Mapping[str, Any] | None = None) -> Target:
    """status: of the same NodePool; it holds what a channel last stood for."""
    k3os, k3s = (_component(spec, status or {}, name) for name in COMPONENTS)
    config, overrides = mapping(spec.get("config")), parse_overrides(spec.get("overrides"))
    return Target(
        k3os, k3s, config, overrides, refs=used_refs(spec.get("secrets"), config, overrides)
    )


def used_refs(
    listed: object, config: Mapping[str, Any], overrides: tuple[Override, ...]
) -> tuple[SecretRef, ...]:
    """Unused secrets are never read."""
    try:
        used = {
            name
            for each in (config, *(override.config for override in overrides))
            for name in placeholders.secrets_in(each)
        }
    except RecursionError:  # the target is not used then
        return ()
    return tuple(each for each in parse_refs(listed) if each.name in used)


def parse_overrides(listed: object) -> tuple[Override, ...]:
    """An invalid override selects nothing."""
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
    """The version that a component's channel last stood for, "" for none."""
    known = mapping(inside(status, "channels", name))
    same = text(known.get("channel")) == channel(spec, name)
    return text(known.get("version")) if same else ""


def unresolved(spec: Mapping[str, Any], status: Mapping[str, Any]) -> dict[str, str]:
    """Components whose channel has no known version yet: name to channel."""
    channels = {name: channel(spec, name) for name in COMPONENTS}
    return {
        name: channel
        for name, channel in channels.items()
        if channel and not resolved(spec, status, name)
    }


def is_updated(node: NodeView, target: Target) -> bool:
    """Whether it reports that it runs what it should."""
    return not changes(node, target) and not node.trial


def changes(node: NodeView, target: Target) -> list[str]:
    """What differs from the target, for people: "k3OS v1.0 -> v1.1"."""
    target = target.of(node)
    found = []
    for name, wanted, has in (("k3OS", target.k3os, node.k3os), ("k3s", target.k3s, node.k3s)):
        if wanted is not None and not wanted.is_met_by(has):
            found.append(f"{name} {has or 'unknown'} -> {wanted.version}")
    if not target.is_had_by(node):
        found.append("configuration")
    return found
