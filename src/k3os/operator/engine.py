"""The loop around the decisions: observe, decide, write; again when something changes.

It observes through kopf's indices, which kopf's watches keep up to date; what we wrote ourselves
counts at once, before the watch reports it. All state is in the API: the engine may be killed
between any two writes.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from lightkube import ApiError

from k3os import names
from k3os.cluster.node import NodeView, parse_node
from k3os.cluster.objects import mapping
from k3os.cluster.pulled_image import Pulled
from k3os.cluster.spec import Pool
from k3os.cluster.turns import Cluster, conflicts
from k3os.cluster.views import JobView
from k3os.operator import crd, metrics
from k3os.operator.admission_sync import AdmissionSync
from k3os.operator.api import CONFLICT, NOT_FOUND, STRAY_SECONDS, Api, ApiFailure
from k3os.operator.canary_engine import CanaryEngine, Look
from k3os.operator.decisions import Decision, Eviction, NewJob, NodePatch, NoJob, Outcome, Said
from k3os.operator.followed_channels import Followed, Say
from k3os.operator.job import name_of, parse_job
from k3os.operator.job_maker import make_job
from k3os.operator.loads import Loads
from k3os.operator.outage import words
from k3os.operator.refusals import Refusals, is_refusal
from k3os.operator.replicas import replicas
from k3os.operator.revisions import Revisions
from k3os.operator.rollout import decide_all, finished, orphans
from k3os.operator.secret_reader import Changed, SecretReader
from k3os.operator.seen_pools import SeenPools, version_of
from k3os.operator.status import failed_and_busy, status
from k3os.operator.workload_looks import WorkloadLooks

log = logging.getLogger("k3os.operator")

BURST = 0.02  # seconds: changes that come together are handled as one
LONGEST_SLEEP = 30.0
FIRST_RETRY, LAST_RETRY = 1.0, 30.0
AT_ONCE = 20  # nodes that are written to at the same time
SCALE_SECONDS = 600.0
ANSWER_SECONDS = 10.0  # how long after a Job's end to wait for its pod's answer

# a resourceVersion as a number, and the node at that version
Seen = tuple[int, NodeView]


@dataclass(frozen=True)
class Sight:
    """kopf's indices: by name, the latest body or view of each object."""

    pools: Mapping[str, Iterable[Mapping[str, Any]]]
    nodes: Mapping[str, Iterable[Seen]]
    jobs: Mapping[str, Iterable[Mapping[str, Any]]]
    answers: Mapping[str, Iterable[Mapping[str, Any]]]


def seen(body: Mapping[str, Any], image: Pulled | None = None) -> Seen:
    """The part of a Node that is kept. image: the operator's, if nodes can pull it. Versions are
    compared as numbers: Kubernetes allows it since 1.35, and etcd's always were."""
    return version_of(body), parse_node(body, image)


@dataclass
class Engine:
    """home: the node it runs on, "" outside of the cluster. image: its own, if nodes can pull it.
    beat: when the loop last turned, time.monotonic()."""

    api: Api
    sight: Sight
    say: Say
    home: str = ""
    image: Pulled | None = None
    beat: float = field(default_factory=time.monotonic)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _written: dict[str, Seen] = field(default_factory=dict)
    _gone: dict[str, int] = field(default_factory=dict)
    _refused: set[str] = field(default_factory=set)
    _scaled: tuple[int, float] = (0, 0.0)
    _ended: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.pools = SeenPools(self.api, self.sight.pools)
        self.channels = Followed(self.api, self.say)
        self.revisions = Revisions(self.api)
        self.secrets = SecretReader(self.api)
        self.canaries = CanaryEngine(self.api, self.revisions, self.secrets, self.changed)
        self.loads = Loads(self.api, self.changed)
        self.workloads = WorkloadLooks(self.api, self.changed)
        self.admission = AdmissionSync(self.api)
        self.refusals = Refusals()

    def changed(self) -> None:
        """Something changed: decide again."""
        self._wake.set()

    async def run(self) -> None:
        """Forever."""
        retry, tidied = FIRST_RETRY, -math.inf
        while True:
            self.beat = time.monotonic()
            self._wake.clear()
            try:
                if self.beat - tidied >= STRAY_SECONDS:
                    tidied = self.beat
                    await self._drop_strays()
                with metrics.RECONCILE_SECONDS.time():
                    wait = await self.reconcile()
                retry = FIRST_RETRY
            except ApiFailure as error:
                log.warning("not written, tried again in %.0f s: %s", retry, words(error))
                wait, retry = retry, min(2 * retry, LAST_RETRY)
            except Exception:  # our bug: whatever can be decided without it goes on
                log.exception("a round broke, the next one comes in %.0f s", retry)
                wait, retry = retry, min(2 * retry, LAST_RETRY)
            try:
                await asyncio.wait_for(self._wake.wait(), min(wait, LONGEST_SLEEP))
                await asyncio.sleep(BURST)
            except TimeoutError:
                continue

    async def close(self) -> None:
        await self.loads.close()
        self.workloads.close()
        self.channels.close()
        self.canaries.close()

    async def _drop_strays(self) -> None:
        try:
            if dropped := await self.api.drop_stray_secrets(
                {str(name) for name in self.sight.jobs}
            ):
                log.info("deleted %d requests that no Job owns", dropped)
        except ApiFailure as error:
            log.warning("requests that no Job owns are left: %s", words(error))

    async def reconcile(self) -> float:
        """One round over all pools; returns seconds until the next one. Raises ApiFailure: what
        could be written was, the rest is decided again."""
        now = time.time()
        pools = await self.secrets.look(self.pools.all(), self.canaries.targets, time.monotonic())
        cluster = self.cluster(pools)
        metrics.UNHEALTHY.set(sum(node.healthy is False for node in cluster.nodes))
        jobs, wait = self.jobs(time.monotonic())
        drained = await self.loads.follow(cluster)
        self.channels.look_up(pools, now)
        looks = await self.canaries.look(pools, cluster, now)
        allowed = [look.pool for look in looks]
        loads = self.workloads.follow(allowed, cluster, drained, now)
        outcomes = decide_all(allowed, cluster, loads, jobs, now)
        writes: list[Awaitable[Exception | None]] = []
        room = asyncio.Semaphore(AT_ONCE)
        for (body, pool), look, outcome in zip(pools, looks, outcomes, strict=True):
            wait = min(
                wait, *(each for each in (outcome.wake, look.wake, wait) if each is not None)
            )
            writes += self._by_node(outcome.decisions, look.pool, room)
            for name, fault in outcome.faults.items():
                log.error("%s: %s", pool.name, name or "all of it", exc_info=fault)
            writes.append(self._show(pool, body, cluster, outcome, now, look))
            writes.append(self.revisions.keep(pool, body, now, *look.kept))
        left = orphans(cluster, [pool.name for _, pool in pools])
        writes += self._by_node([*left, *finished(cluster, jobs)], None, room)
        writes.append(self._scale(cluster, time.monotonic()))
        writes.append(self.admission.keep(time.monotonic()))
        wait = min(wait, self.secrets.wake(time.monotonic()))
        self._forget({(pool.name, pool.uid) for _, pool in pools})
        self.revisions.forget({pool.uid for _, pool in pools})
        self._refused.clear()
        failures = [each for each in await asyncio.gather(*writes) if each is not None]
        if self.refusals.only(self._refused):
            self.changed()
        for failure in failures[1:]:
            log.warning("%s", words(failure))
        if failures:
            raise failures[0]
        return max(wait, 0.0)

    def cluster(self, pools: Iterable[tuple[Mapping[str, Any], Pool]]) -> Cluster:
        """All nodes, from the watch or our own last write, whichever is newer."""
        nodes, known = [], set()
        for name in self.sight.nodes:
            known.add(name)
            for version, node in self.sight.nodes[name]:
                if version <= self._gone.get(name, -1):
                    continue
                own = self._written.get(name)
                if own is not None and version >= own[0]:
                    del self._written[name]
                    own = None
                nodes.append(own[1] if own else node)
        for name in self._written.keys() - known:
            del self._written[name]
        self._gone = {name: version for name, version in self._gone.items() if name in known}
        return Cluster(tuple(nodes), conflicts(nodes, [pool for _, pool in pools]))

    def jobs(self, now: float) -> tuple[dict[str, JobView], float]:
        """By request, and seconds until one of them needs another look. now: monotonic."""
        found: dict[str, JobView] = {}
        wait = LONGEST_SLEEP
        for name in self.sight.jobs:
            for body in self.sight.jobs[name]:
                pod = next(iter(self.sight.answers.get(name, ())), None)
                view = parse_job(body, pod)
                if view is None:
                    continue
                if view.done is not None and not view.told:
                    # the Job and its pod come by two watches: the answer may still be on its way
                    patience = self._ended.setdefault(str(name), now) + ANSWER_SECONDS - now
                    if patience > 0:
                        view, wait = replace(view, done=None), min(wait, patience)
                found[view.request] = view
        return found, wait

    def _by_node(
        self,
        decisions: Iterable[Decision],
        pool: Pool | None,
        room: asyncio.Semaphore,
    ) -> list[Awaitable[Exception | None]]:
        """Writes for one node happen in order, those for different nodes in parallel."""
        groups: dict[str, list[Decision]] = {}
        last = ""
        for decision in decisions:
            if isinstance(decision, (NodePatch, NewJob, Said)):
                last = decision.node
            groups.setdefault(last, []).append(decision)
        return [self._write(node, group, pool, room) for node, group in groups.items()]

    async def _write(
        self,
        node: str,
        decisions: Iterable[Decision],
        pool: Pool | None,
        room: asyncio.Semaphore,
    ) -> Exception | None:
        async with room:
            try:
                for decision in decisions:
                    await self._perform(decision, pool)
            except ApiError as error:
                if node and is_refusal(error):
                    self._refused.add(node)
                    if self.refusals.note(node, error):
                        self.changed()
                    return None
                if error.status.code not in (CONFLICT, NOT_FOUND):
                    return error
                await self._refresh(decision)
            except Exception as error:  # our bug or not: other nodes are still written
                if not isinstance(error, ApiFailure):
                    log.exception("not done: %s", type(decision).__name__)
                return error
        return None

    async def _refresh(self, decision: Decision) -> None:
        """The decision was based on outdated state: read it, then decide again."""
        log.info("changed meanwhile, decided again: %s", decision)
        if isinstance(decision, NodePatch):
            try:
                body = await self.api.get_node(decision.node)
                self._written[decision.node] = seen(body, self.image)
            except ApiError as error:
                self._written.pop(decision.node, None)
                if error.status.code == NOT_FOUND:  # the watch will report it, too
                    self._gone[decision.node] = self._node(decision.node)[0]
            except ApiFailure:
                self._written.pop(decision.node, None)
        self.changed()

    async def _perform(self, decision: Decision, pool: Pool | None) -> None:
        """Raises ApiFailure."""
        if isinstance(decision, NodePatch):
            version, before = self._node(decision.node)
            body = await self.api.patch_node(decision, str(version or ""))
            self._written[decision.node] = seen(body, self.image)
            metrics.count_change(before, decision)
            state = decision.state
            log.info(
                "%s: %s",
                decision.node,
                state.step if state else "done",
                extra=_fields(pool, decision),
            )
            self.changed()
        elif isinstance(decision, NewJob):
            assert pool is not None
            node = self._node(decision.node)[1]
            if node is None:  # deleted in the meantime
                self.changed()
                return
            try:
                instead = await make_job(self.api, self.secrets, decision, pool, node)
            except Changed:
                self.changed()
                return
            for each in instead:
                await self._perform(each, pool)
        elif isinstance(decision, NoJob):
            await self.api.delete_job(name_of(decision.request))
        elif isinstance(decision, Eviction):
            await self._evict(decision)
        else:
            self._tell(decision, pool)

    def _tell(self, said: Said, pool: Pool | None) -> None:
        """Events of a node are also posted on its pool."""
        if said.node:
            self.say("Node", said.node, said.node, said)
            said = replace(said, node="", message=f"{said.node}: {said.message}")
        if pool is not None:
            self.say(names.KIND, pool.name, pool.uid, said)

    def _node(self, name: str) -> Seen | tuple[int, None]:
        """As it was when the decision was made."""
        own = self._written.get(name)
        return own or next(iter(self.sight.nodes.get(name, ())), (0, None))

    async def _evict(self, order: Eviction) -> None:
        why = await self.api.evict(order)
        metrics.EVICTIONS.labels("refused" if why else "evicted").inc()
        self.loads.said(order.pod, why)

    async def _show(
        self,
        pool: Pool,
        body: Mapping[str, Any],
        cluster: Cluster,
        outcome: Outcome,
        now: float,
        look: Look,
    ) -> Exception | None:
        """Write the pool's status if it has changed."""
        before = dict(mapping(body.get("status")))
        after = status(
            *(pool, cluster, outcome.waiting, now, before, outcome.faults, look.shown),
            refused=self.refusals.told,
        )
        failed, busy = failed_and_busy(pool, cluster, look.shown)
        metrics.show_pool(pool.name, after, crd.PHASES, failed=len(failed), changing=len(busy))
        if {**before, **after} == before:
            return None
        try:
            if not await self.pools.write(body, after):
                return None
        except Changed:
            self.changed()
            return None
        except ApiFailure as error:
            return error
        if look.said is not None:
            self._tell(look.said, pool)
            self.changed()
        return None

    async def _scale(self, cluster: Cluster, now: float) -> Exception | None:
        """As many replicas as there are nodes for them; set again now and then, since somebody may
        have changed it. now: monotonic."""
        wanted = replicas(cluster.nodes, self.home, pulled=self.image is not None)
        if not wanted or (self._scaled[0] == wanted and now - self._scaled[1] < SCALE_SECONDS):
            return None
        try:
            await self.api.scale(wanted)
        except ApiError as error:
            if error.status.code != NOT_FOUND:  # started by hand, without a Deployment
                return error
        except ApiFailure as error:
            return error
        self._scaled = (wanted, now)
        return None

    def _forget(self, pools: set[tuple[str, str]]) -> None:
        """All but these, by name and uid: a new one may have the name of a deleted one."""
        for name in self.pools.forget(pools):
            self.channels.forget(name)
            metrics.forget_pool(name, crd.PHASES)
        self._ended = {
            name: since for name, since in self._ended.items() if name in self.sight.jobs
        }


def _fields(pool: Pool | None, patch: NodePatch) -> dict[str, str]:
    """Fields of a log line, for machines."""
    state = patch.state
    found = {"pool": pool.name if pool else "", "node": patch.node}
    return found | ({"step": state.step, "request": state.request} if state else {})
