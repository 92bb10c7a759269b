"""Asks the API about the workloads of nodes: before a drain, which have Ready pods; afterwards,
which do not.

It decides nothing (soak.py does), and after a restart it simply asks again. It asks in the
background, workload by workload: a node has a few dozen of them, while a cluster has too many pods
to watch. Formats: kubernetes.io, "API reference", apps/v1.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from lightkube import ApiError
from lightkube.generic_resource import create_namespaced_resource

from k3os.cluster import workload_health as health
from k3os.cluster.drain import Load
from k3os.cluster.node import DRAINING, SOAKING, NodeView
from k3os.cluster.objects import inside, mapping, text, texts
from k3os.cluster.selector import is_selector, matches
from k3os.cluster.spec import Pool
from k3os.cluster.turns import Cluster, is_sick
from k3os.cluster.views import DAEMON_SET, PodView, owner
from k3os.cluster.workloads import (
    DEPLOYMENT,
    KINDS,
    MOST,
    ON_THE_NODE,
    REPLICA_SET,
    STATEFUL_SET,
    STATIC_POD,
    Record,
    key_of,
    parts,
)
from k3os.operator.api import NOT_FOUND, Api, ApiFailure, Deployment, count
from k3os.operator.outage import words
from k3os.operator.soak import record_of
from k3os.operator.watched import Pods

log = logging.getLogger("k3os.operator")

INTERVAL = 5.0  # seconds between two looks at sick workloads, or after a failure
OF_KIND: dict[str, Any] = {
    DEPLOYMENT: Deployment,
    DAEMON_SET: create_namespaced_resource("apps", "v1", DAEMON_SET, "daemonsets"),
    REPLICA_SET: create_namespaced_resource("apps", "v1", REPLICA_SET, "replicasets"),
    STATEFUL_SET: create_namespaced_resource("apps", "v1", STATEFUL_SET, "statefulsets"),
}
# node, its request, whether it is after the change
Key = tuple[str, str, bool]
Work = Callable[[], Coroutine[Any, Any, None]]
Body = Mapping[str, Any]


class WorkloadLooks:
    """changed: called when something new is known, or something has changed."""

    def __init__(self, api: Api, changed: Callable[[], None]) -> None:
        self._api, self._changed = api, changed
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._before: dict[Key, Record] = {}
        self._records: dict[Key, Record] = {}
        self._sick: dict[Key, dict[str, str]] = {}

    def follow(
        self, pools: Iterable[Pool], cluster: Cluster, loads: Mapping[str, Load], now: float
    ) -> dict[str, Load]:
        """loads with what is known of workloads; starts asking for what is not."""
        named, found, wanted = {pool.name: pool for pool in pools}, dict(loads), set()
        for node in cluster.nodes:
            load = found.get(node.name, Load())
            asked = self._wanted(node, named, load, now)
            if asked is None:
                continue
            key, work = asked
            wanted.add(key)
            if key not in self._tasks:
                self._tasks[key] = asyncio.create_task(work(), name=f"workloads of {node.name}")
            found[node.name] = replace(load, before=self._before.get(key), sick=self._sick.get(key))
        self._end(self._tasks.keys() - wanted)
        return found

    def close(self) -> None:
        self._end(set(self._tasks))

    def _end(self, keys: set[Key]) -> None:
        for key in keys:
            self._tasks.pop(key).cancel()
            self._before.pop(key, None)
            self._records.pop(key, None)
            self._sick.pop(key, None)

    def _wanted(
        self, node: NodeView, pools: Mapping[str, Pool], load: Load, now: float
    ) -> tuple[Key, Work] | None:
        """What to ask about a node and how, None for nothing."""
        state, record = node.state, node.workloads

        if state is None:
            if (
                record
                and record.sick
                and not node.unreadable
                and any(map(_selects(node), pools.values()))
            ):
                return self._after(node, record)
            return None
        wanted = pools[state.pool].strategy.workloads if state.pool in pools else None
        if wanted is None:
            return None
        record = record_of(node, state)
        if state.step == DRAINING and record is None and load.pods is not None:
            key, pods = (node.name, state.request, False), load.pods
            return key, lambda: self._remember(key, pods)
        over = state.step == SOAKING and now >= state.since + wanted.soak
        return self._after(node, record) if record and (over or is_sick(node)) else None

    def _after(self, node: NodeView, record: Record) -> tuple[Key, Work]:
        key = (node.name, record.request, True)
        self._records[key] = record
        return key, lambda: self._follow(key)

    async def _remember(self, key: Key, pods: Sequence[PodView]) -> None:
        while True:
            try:
                self._before[key] = await self.record(key[1], pods)
                self._changed()
                return
            except Exception as error:  # its drain waits
                _failed(key, error)
            await asyncio.sleep(INTERVAL)

    async def _follow(self, key: Key) -> None:
        while True:
            try:
                sick = await self.sick(key[0], self._records[key])
                if self._sick.get(key) != sick:
                    self._sick[key] = sick
                    self._changed()
            except Exception as error:  # what was known stays
                _failed(key, error)
            await asyncio.sleep(INTERVAL)

    async def record(self, request: str, pods: Iterable[PodView]) -> Record:
        """Of a node with these pods. Raises ApiFailure."""
        ready: dict[str, int] = {}
        more = 0
        for kind, namespace, name in sorted(set(_owners(pods)), key=_turn):
            if len(ready) >= MOST:
                more += 1
            elif kind in ON_THE_NODE:
                ready[key_of(kind, namespace, name)] = 1
            else:
                found = await self._owner(kind, namespace, name)
                ready |= {found[0]: found[1]} if found else {}
        ready.pop("", None)
        return Record(request, ready, more)

    async def _owner(self, kind: str, namespace: str, name: str) -> tuple[str, int] | None:
        """The workload (for a ReplicaSet, its Deployment), and how many Ready pods it has."""
        body = await self._get(kind, namespace, name)
        above, above_name = owner(body) if body else ("", "")
        if kind == REPLICA_SET and above == DEPLOYMENT:
            kind, name = above, above_name
            body = await self._get(kind, namespace, name)
        # its controller may not have counted the pod yet
        return (key_of(kind, namespace, name), max(1, health.ready(body))) if body else None

    async def sick(self, node: str, record: Record) -> dict[str, str]:
        """Which workloads are not Ready again, and why. Raises ApiFailure."""
        keys = {key: parts(key) for key in record.looked_at()}
        here: list[Body] = []
        if any(kind in ON_THE_NODE for kind, _, _ in keys.values()):
            here = await self._list(namespace="*", fields={"spec.nodeName": node})
        found: dict[str, str] = {}
        for key, (kind, namespace, name) in keys.items():
            before = record.ready.get(key, 1)
            if kind in ON_THE_NODE:
                own = [pod for pod in here if _is_of(pod, kind, namespace, name)]
                why = await self._sick_here(kind, namespace, name, own)
            else:
                why = await self._sick_anywhere(kind, namespace, name, before)
            found |= {key: why} if why else {}
        return found

    async def _sick_here(self, kind: str, namespace: str, name: str, pods: Sequence[Body]) -> str:
        has = sum(map(health.is_ready, pods))
        if has:
            return ""
        if kind == STATIC_POD:  # its file, and so the pod, may have been removed
            ended = [inside(pod, "status", "phase") == "Succeeded" for pod in pods]
            return "" if all(ended) else health.why(0, 1, pods)
        workload = await self._get(kind, namespace, name)
        return health.why(0, health.needed(kind, workload, 1), pods)

    async def _sick_anywhere(self, kind: str, namespace: str, name: str, before: int) -> str:
        workload = await self._get(kind, namespace, name)
        needs = health.needed(kind, workload, before)
        if workload is None or health.ready(workload) >= needs:
            return ""
        selector = mapping(inside(workload, "spec", "selector"))
        labels = texts(selector.get("matchLabels"))
        pods = await self._list(namespace=namespace, labels=labels)
        own = [
            pod
            for pod in pods
            if is_selector(selector) and matches(selector, texts(inside(pod, "metadata", "labels")))
        ]
        return health.why(health.ready(workload), needs, own)

    async def _get(self, kind: str, namespace: str, name: str) -> Body | None:
        """None if it is gone."""
        count("get", f"{kind.lower()}s")
        try:
            return dict(await self._api.client.get(OF_KIND[kind], name, namespace=namespace))
        except ApiError as error:
            if error.status.code != NOT_FOUND:
                raise
            return None

    async def _list(self, **where: Any) -> list[Body]:
        count("list", "pods")
        return [dict(each) async for each in self._api.client.list(Pods, **where)]


def _selects(node: NodeView) -> Callable[[Pool], bool]:
    return lambda pool: pool.matches(node.labels)


def _owners(pods: Iterable[PodView]) -> Iterable[tuple[str, str, str]]:
    """Owners of Ready pods, without the operator's own: it runs, so it is fine."""
    for pod in pods:
        if not pod.ready or pod.finished or pod.leaving or pod.ours:
            continue
        if pod.mirror:
            yield STATIC_POD, pod.namespace, pod.name
        elif pod.owner in OF_KIND:
            yield pod.owner, pod.namespace, pod.owner_name


def _turn(owner: tuple[str, str, str]) -> tuple[int, str, str]:
    """First those that run on this node only: its upgrade is most likely to break them."""
    kind, namespace, name = owner
    return KINDS.index(kind), namespace, name


def _is_of(pod: Body, kind: str, namespace: str, name: str) -> bool:
    meta = mapping(pod.get("metadata"))
    if text(meta.get("namespace")) != namespace:
        return False
    if kind == STATIC_POD:
        return text(meta.get("name")) == name
    return owner(pod) == (kind, name)


def _failed(key: Key, error: Exception) -> None:
    if isinstance(error, ApiFailure):
        log.warning("%s: its workloads cannot be read: %s", key[0], words(error))
    else:  # our bug
        log.error("%s: its workloads", key[0], exc_info=error)
