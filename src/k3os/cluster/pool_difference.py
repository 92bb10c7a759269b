"""What would change if NodePools were applied: in the objects themselves, and on each node.

Pure: API objects in, records out. It uses the rules by which the operator starts nodes (turns.py)
and computes what a change costs (cost.py). `kubectl k3os diff` asks the API and prints the result.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from k3os.cluster import placeholders
from k3os.cluster.cost import Cost, cost
from k3os.cluster.impact import check
from k3os.cluster.node import FAILED, NodeView
from k3os.cluster.objects import inside, mapping
from k3os.cluster.spec import Pool, read_pool
from k3os.cluster.target import changes, parse_overrides
from k3os.cluster.turns import (
    Cluster,
    conflicts,
    held,
    is_begun,
    is_busy,
    is_free,
    may_begin,
    unfit,
)
from k3os.config.difference import lines
from k3os.config.key import AT_BOOT, NOW, RESTART
from k3os.config.load import Config
from k3os.errors import discreet
from k3os.generation.versions import is_older

WITH_CONFIG = ("config", "overrides")
JOINS, LEAVES = "joins", "leaves"
# the metadata of a NodePool that people write
TOLD = ("labels", "annotations")
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
WHEN = {NOW: "at once", RESTART: "k3s restarts, pods keep running", AT_BOOT: "the node reboots"}
Body = Mapping[str, Any]


@dataclass(frozen=True)
class NodeDifference:
    """member: JOINS, LEAVES or "". changes: what would be done to it, for people; cost: of that,
    None for nothing. moves: its pods are moved away. remark: anything else worth knowing. news: the
    NodePool's new form changes whether several NodePools select the node."""

    name: str
    member: str = ""
    changes: tuple[str, ...] = ()
    cost: Cost | None = None
    moves: bool = False
    remark: str = ""
    news: bool = False

    @property
    def differs(self) -> bool:
        return bool(self.member or self.changes or self.news)


@dataclass(frozen=True)
class PoolDifference:
    """new: there is none of that name yet. fields: a line for each that differs; config: lines of
    its configuration, secrets masked; overrides: each with such lines. problems: errors in its
    spec, which block it. first: the nodes that start first; waiting: why none does. nodes: all
    that it has or had."""

    name: str
    new: bool
    fields: tuple[str, ...] = ()
    config: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    first: tuple[str, ...] = ()
    waiting: str = ""
    nodes: tuple[NodeDifference, ...] = ()
    overrides: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def differs(self) -> bool:
        return bool(
            self.new
            or self.fields
            or self.config
            or self.overrides
            or any(each.differs for each in self.nodes)
        )


@dataclass(frozen=True)
class Sight:
    """The current state. pools: bodies by name. fragments: by hash, as far as known."""

    pools: Mapping[str, Body]
    nodes: Sequence[NodeView]
    fragments: Mapping[str, Mapping[str, Any]]


def differences(applied: Sequence[Body], sight: Sight, now: float) -> list[PoolDifference]:
    """applied: the NodePools as they would be. now: seconds since 1970."""
    wanted = {str(inside(body, "metadata", "name")): body for body in applied}
    pools = {name: read_pool(body) for name, body in {**sight.pools, **wanted}.items()}
    before = {name: read_pool(body) for name, body in sight.pools.items()}
    cluster = Cluster(tuple(sight.nodes), conflicts(sight.nodes, list(pools.values())))
    return [
        _of_pool(body, sight.pools.get(name), name, pools, before, cluster, sight, now)
        for name, body in wanted.items()
    ]


def _of_pool(
    body: Body,
    old: Body | None,
    name: str,
    pools: Mapping[str, Pool],
    before: Mapping[str, Pool],
    cluster: Cluster,
    sight: Sight,
    now: float,
) -> PoolDifference:
    pool = pools[name]
    known = [
        node
        for node in sorted(cluster.nodes, key=lambda node: node.name)
        if pool.matches(node.labels) or (old is not None and before[name].matches(node.labels))
    ]
    first, waiting = _begins(pool, cluster, now)
    return PoolDifference(
        name=name,
        new=old is None,
        fields=tuple(_fields(old, body)) if old is not None else (),
        config=tuple(config_lines(_config(old), _config(body))),
        problems=pool.problems,
        first=tuple(first),
        waiting=waiting,
        nodes=tuple(_of_node(node, pool, pools, before, cluster, sight) for node in known),
        overrides=tuple(_overrides(old, body)),
    )


def _begins(pool: Pool, cluster: Cluster, now: float) -> tuple[list[str], str]:
    """The steps and gates of a canary cannot be predicted: for a canary, only what blocks the whole
    NodePool."""
    if pool.strategy.canary is not None and not pool.strategy.canary.implied:
        return [], held(pool, cluster, now)[0]
    wanting = [
        node
        for node in cluster.of(pool)
        if changes(node, pool.target) and is_free(node, pool.target)
    ]
    chosen, waiting, _ = may_begin(pool, cluster, wanting, now)
    return [node.name for node in chosen], waiting


def _owners(node: NodeView, pools: Mapping[str, Pool]) -> list[str]:
    return sorted(name for name, pool in pools.items() if pool.matches(node.labels))


def _of_node(
    node: NodeView,
    pool: Pool,
    pools: Mapping[str, Pool],
    before: Mapping[str, Pool],
    cluster: Cluster,
    sight: Sight,
) -> NodeDifference:
    owners, former = _owners(node, pools), _owners(node, before)
    stays, was = pool.name in owners, pool.name in former
    member = "" if stays == was else JOINS if stays else LEAVES
    others = [each for each in owners if each != pool.name]
    news = (len(owners) > 1) != (len(former) > 1)
    if len(owners) > 1:
        text = f"{' and '.join(owners)} all select it" if len(owners) > 2 else ""
        text = text or f"{' and '.join(owners)} both select it"
        return NodeDifference(node.name, member, remark=f"{text}: neither changes it", news=news)
    if not owners:
        return NodeDifference(node.name, member, remark="it keeps what it has", news=news)
    owner = pools[owners[0]]
    done = _changes(node, owner)
    charged = cost(node, owner.target, sight.fragments.get(plain_hash(node))) if done else None
    moves = charged is not None and charged.drained and owner.strategy.drain.enabled
    remarks = [f"NodePool {each} has it alone then" for each in others]
    remarks += _remarks(node, owner, done)
    return NodeDifference(
        *(node.name, member, tuple(done), charged),
        moves=moves and len(cluster.nodes) > 1,
        remark="; ".join(remarks),
        news=news,
    )


def _changes(node: NodeView, pool: Pool) -> list[str]:
    """Nothing if the spec is invalid or not resolved yet."""
    known = not pool.problems and not pool.unresolved and not pool.target.of(node).fault
    return changes(node, pool.target) if known else []


def _remarks(node: NodeView, pool: Pool, done: Sequence[str]) -> Iterator[str]:
    state = node.state
    if state is not None and is_busy(node):
        yield f"NodePool {state.pool} is changing it: {state.step}"
    if not done:
        if not pool.problems and (fault := pool.target.of(node).fault):
            yield fault
        return
    if state is not None and state.step == FAILED and is_begun(node, pool.target):
        yield f"it has failed with just this: {state.reason}: {state.message}"
    if older := going_back(pool, node):
        yield f"its check fails: {older[0]} is older, which spec.strategy.rollback forbids"
    if why := unfit(node, pool.target):
        yield why
    elif not node.ready:
        yield f"{node.name} is not ready"


def going_back(pool: Pool, node: NodeView) -> list[str]:
    """The versions that are older than what the node has, if it refuses them."""
    if pool.strategy.rollback:
        return []
    pairs = (("k3OS", pool.target.k3os, node.k3os), ("k3s", pool.target.k3s, node.k3s))
    return [
        f"{name} {wanted.version}"
        for name, wanted, has in pairs
        if wanted is not None and is_older(wanted.version, has)
    ]


# the NodePool itself


def _config(body: Body | None) -> Mapping[str, Any]:
    return mapping(inside(body, "spec", "config")) if body is not None else {}


def _overrides(old: Body | None, new: Body) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each that differs, with lines of its configuration; they are matched by selector."""
    before, after = _by_selector(old), _by_selector(new)
    for name in [*after, *(name for name in before if name not in after)]:
        found = config_lines(before.get(name, {}), after.get(name, {}))
        if found:
            yield f"spec.overrides of {name}", tuple(found)
    both = [
        [name for name in one if name in other] for one, other in ((before, after), (after, before))
    ]
    if both[0] != both[1]:
        yield "spec.overrides", ("another order: the later ones win",)


def _by_selector(body: Body | None) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    for each in parse_overrides(inside(body, "spec", "overrides")):
        name = json.dumps(each.selector, sort_keys=True)
        # a repeated selector is a later override
        found[f"{name} again" if name in found else name] = each.config
    return found


def config_lines(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """In the form of `k3os config diff`, with placeholders as they are written."""
    old, new = (Config(check(dict(each))[0]) for each in (before, after))
    shown, wanted = (placeholders.shown(dict(each)) for each in (before, after))
    paths = [path for path in {**shown, **wanted} if shown.get(path) != wanted.get(path)]
    return [
        *lines(old, new, WHEN),
        *(f"{path}: {shown.get(path, '(none)')} -> {wanted.get(path, '(none)')}" for path in paths),
    ]


def _fields(before: Body, after: Body) -> Iterator[str]:
    """Each field that differs, except the configuration; a list counts as one."""
    old, new = dict(_leaves(before)), dict(_leaves(after))
    for path in sorted(old.keys() | new.keys()):
        if old.get(path) != new.get(path):
            yield f"{path}: {_shown(old, path)} -> {_shown(new, path)}"


def _shown(fields: Mapping[str, object], path: str) -> str:
    found = fields.get(path, "(none)")
    return discreet(found if isinstance(found, str) else json.dumps(found, ensure_ascii=False))


def _leaves(body: Body) -> Iterator[tuple[str, object]]:
    meta = mapping(body.get("metadata"))
    for name in TOLD:
        found = mapping(meta.get(name))
        yield from (
            (f"metadata.{name}.{key}", text) for key, text in found.items() if key != LAST_APPLIED
        )
    spec = {
        name: value for name, value in mapping(body.get("spec")).items() if name not in WITH_CONFIG
    }
    yield from _below("spec", spec)


def _below(path: str, value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping) and value:
        for name, each in value.items():
            yield from _below(f"{path}.{name}", each)
    else:
        yield path, value


def unknown_fragments(nodes: Iterable[NodeView], known: Iterable[str]) -> set[str]:
    """Hashes of the nodes' fragments whose text is not known yet."""
    return {plain_hash(node) for node in nodes} - set(known)


def plain_hash(node: NodeView) -> str:
    """The hash of a node's fragment, without the seal of its secrets."""
    return node.config_hash.partition("-")[0]
