"""Asks the gates of a canary: a condition of an object, pods, a Job, a Prometheus query.

It decides nothing: canary.proceed judges by the verdicts. Gates are asked in the background,
repeatedly while the canary waits for them. Nothing is stored: an operator that restarts asks
again. A Job has its own name for each attempt at a step's gates, so it is created once and never
confused with an older one. The permissions are those of operator/manifests.py; for a condition of
any other object, the user has to grant access.
Formats: prometheus.io, "HTTP API", instant queries; batch/v1 CronJob and Job.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

import httpx2
from lightkube import ApiError
from lightkube.core.exceptions import LoadResourceError
from lightkube.core.resource_registry import resource_registry
from lightkube.generic_resource import create_global_resource, create_namespaced_resource
from lightkube.resources.core_v1 import Pod

from k3os import names
from k3os.cluster.canary_spec import CONDITION, JOB, PODS, PROMETHEUS, Gate
from k3os.cluster.objects import conditions, inside, mapping, maps, text
from k3os.cluster.spec import Pool
from k3os.operator.api import CONFLICT, NOT_FOUND, Api, ApiFailure, Job, count
from k3os.operator.canary import State, Verdict
from k3os.operator.outage import words
from k3os.system.json_text import parsed

log = logging.getLogger("k3os.operator")

INTERVAL = 5.0  # seconds between two questions to a gate
DEADLINE = 20.0  # for each answer
LONGEST = 65536  # bytes of Prometheus' answer
KEEP_SECONDS = 86400  # how long a finished Job stays, for its logs
FORBIDDEN = 403
LABEL = f"{names.GROUP}/gate"
CronJob: Any = create_namespaced_resource("batch", "v1", "CronJob", "cronjobs")
# NodePool, target, step, attempt, since when it is asked, gate, what it asks
Key = tuple[str, str, int, int, int, str, str]


class Gates:
    """changed: called when a verdict changes."""

    def __init__(self, api: Api, changed: Callable[[], None]) -> None:
        self._api, self._changed = api, changed
        self._verdicts: dict[Key, Verdict] = {}
        self._tasks: dict[Key, asyncio.Task[None]] = {}

    def ask(self, pool: Pool, state: State) -> list[Verdict]:
        """The known verdicts of this step's gates; starts asking them if needed."""
        assert pool.strategy.canary is not None
        keys = {key_of(pool, state, gate): gate for gate in pool.strategy.canary.gates}
        self._end(lambda key: key[0] == pool.uid and key not in keys)
        for key, gate in keys.items():
            if key not in self._tasks:
                following = self._follow(key, gate, pool)
                self._tasks[key] = asyncio.create_task(following, name=f"gate {gate.name}")
        return [
            self._verdicts.get(key, Verdict(gate.name, None, asked=False))
            for key, gate in keys.items()
        ]

    def only(self, pools: set[str]) -> None:
        """Stop asking for all NodePools but these, by uid."""
        self._end(lambda key: key[0] not in pools)

    def close(self) -> None:
        self._end(lambda _: True)

    def _end(self, ends: Callable[[Key], bool]) -> None:
        for key in [key for key in self._tasks if ends(key)]:
            self._tasks.pop(key).cancel()
            self._verdicts.pop(key, None)

    async def _follow(self, key: Key, gate: Gate, pool: Pool) -> None:
        while True:
            verdict = await self.verdict(key, gate, pool)
            if self._verdicts.get(key) != verdict:
                self._verdicts[key] = verdict
                log.info("%s: gate %s: %s", pool.name, gate.name, verdict.message or "passed")
                self._changed()
            if verdict.final:
                return
            await asyncio.sleep(INTERVAL)

    async def verdict(self, key: Key, gate: Gate, pool: Pool) -> Verdict:
        """Never raises: if a gate cannot be asked, its verdict is unknown."""
        try:
            async with asyncio.timeout(DEADLINE):
                return await self._verdict(key, gate, pool)
        except TimeoutError:
            return Verdict(gate.name, None, f"no answer within {DEADLINE:.0f} s")
        except (httpx2.InvalidURL, ValueError, LookupError) as error:
            return Verdict(gate.name, None, f"no answer that can be read: {words(error)}")
        except ApiError as error:
            hint = ""
            if error.status.code == FORBIDDEN:
                hint = "; grant it to the ServiceAccount k3os-operator in k3os-system"
            return Verdict(gate.name, None, f"{words(error)}{hint}")
        except ApiFailure as error:
            return Verdict(gate.name, None, words(error))
        except Exception as error:  # our bug; without a verdict it would never time out
            log.exception("%s: gate %s", pool.name, gate.name)
            return Verdict(gate.name, None, f"a bug in the operator: {error!r}")

    async def _verdict(self, key: Key, gate: Gate, pool: Pool) -> Verdict:
        if gate.kind == CONDITION:
            return condition_of(gate, await self._object(gate.given))
        if gate.kind == PODS:
            given = gate.given
            count("list", "pods")
            listing = self._api.client.list(
                Pod, namespace=given["namespace"], labels=dict(given["labels"])
            )
            return pods_of(gate, [each.to_dict() async for each in listing])
        if gate.kind == JOB:
            return job_of(gate, await self._job(key, gate, pool))
        assert gate.kind == PROMETHEUS
        return prometheus_of(gate, await query(gate.given["address"], gate.given["query"]))

    async def _object(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        kind = resource(given["apiVersion"], given["kind"], bool(given["namespace"]))
        where = {"namespace": given["namespace"]} if given["namespace"] else {}
        count("get", "objects of gates")
        found = await self._api.client.get(kind, given["name"], **where)
        return mapping(found.to_dict() if hasattr(found, "to_dict") else dict(found))

    async def _job(self, key: Key, gate: Gate, pool: Pool) -> Mapping[str, Any]:
        """The Job of this attempt, created from its CronJob if needed."""
        client, where = self._api.client, names.NAMESPACE
        name = job_name(key)
        try:
            count("get", "jobs")
            return dict(await client.get(Job, name, namespace=where))
        except ApiError as error:
            if error.status.code != NOT_FOUND:
                raise
        count("get", "cronjobs")
        template = dict(await client.get(CronJob, gate.given["cronjob"], namespace=where))
        count("create", "jobs")
        try:
            return dict(await client.create(Job(job(name, template, pool)), namespace=where))
        except ApiError as error:
            if error.status.code != CONFLICT:
                raise
            return {}


def key_of(pool: Pool, state: State, gate: Gate) -> Key:
    """Another attempt or a changed gate gives another key."""
    asked = (pool.uid, state.target, state.step, state.attempt, state.since)
    return (*asked, gate.name, json.dumps([gate.kind, dict(gate.given)], sort_keys=True))


def resource(version: str, kind: str, namespaced: bool) -> Any:
    """A lightkube class for the kind. The plural is guessed, as kubectl does when it cannot ask
    (Kubernetes, meta.UnsafeGuessKindToResource)."""
    try:
        if (known := resource_registry.get(version, kind)) is not None:
            return known
    except (LoadResourceError, ImportError):
        pass  # not one of Kubernetes' own
    group, _, short = version.rpartition("/")
    low = kind.lower()
    plural = f"{low[:-1]}ies" if low.endswith("y") else f"{low}es" if low[-1] == "s" else f"{low}s"
    made = create_namespaced_resource if namespaced else create_global_resource
    return made(group, short, kind, plural)


def condition_of(gate: Gate, body: Mapping[str, Any]) -> Verdict:
    wanted = gate.given
    found = conditions(body).get(wanted["type"], {})
    status = text(found.get("status"))
    if status == wanted["status"]:
        return Verdict(gate.name, True)
    told = text(found.get("message"), 400)
    what = f"{wanted['kind']} {wanted['name']}: {wanted['type']} is {status or 'not there'}"
    return Verdict(gate.name, False, f"{what}{f': {told}' if told else ''}")


def pods_of(gate: Gate, bodies: list[Mapping[str, Any]]) -> Verdict:
    """Pods that have finished or are terminating do not count."""
    there = [
        each
        for each in bodies
        if inside(each, "status", "phase") not in ("Succeeded", "Failed")
        and not inside(each, "metadata", "deletionTimestamp")
    ]
    unready = [
        text(inside(each, "metadata", "name"))
        for each in there
        if conditions(each).get("Ready", {}).get("status") != "True"
    ]
    if not there:
        return Verdict(gate.name, False, f"no pod in {gate.given['namespace']} has these labels")
    if unready:
        more = f" and {len(unready) - 3} more" if len(unready) > 3 else ""
        return Verdict(gate.name, False, f"not ready: {', '.join(unready[:3])}{more}")
    return Verdict(gate.name, True)


def job_name(key: Key) -> str:
    return f"k3os-gate-{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:20]}"


def job(name: str, cronjob: Mapping[str, Any], pool: Pool) -> dict[str, Any]:
    """From a CronJob's template, like `kubectl create job --from=cronjob/NAME`."""
    template = mapping(inside(cronjob, "spec", "jobTemplate"))
    meta = mapping(template.get("metadata"))
    owner = {"apiVersion": f"{names.GROUP}/{names.VERSION}", "kind": names.KIND}
    owner |= {"name": pool.name, "uid": pool.uid}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": names.NAMESPACE,
            "labels": {**mapping(meta.get("labels")), LABEL: "true"},
            "annotations": dict(mapping(meta.get("annotations"))),
            "ownerReferences": [owner],
        },
        # overrides the template: we need the result, and users the logs
        "spec": {**mapping(template.get("spec")), "ttlSecondsAfterFinished": KEEP_SECONDS},
    }


def job_of(gate: Gate, body: Mapping[str, Any]) -> Verdict:
    name = text(inside(body, "metadata", "name"))
    found = {kind for kind, each in conditions(body).items() if each.get("status") == "True"}
    if "Complete" in found:
        return Verdict(gate.name, True, final=True)
    if "Failed" in found:
        logs = f"`kubectl -n {names.NAMESPACE} logs job/{name}` says more"
        return Verdict(gate.name, False, f"the Job {name} failed; {logs}", final=True)
    return Verdict(gate.name, None, f"the Job {name} is not over")


async def query(address: str, expression: str) -> Mapping[str, Any]:
    """Prometheus' answer. Raises httpx2.HTTPError, ValueError. Reads at most LONGEST bytes."""
    client = httpx2.AsyncClient(timeout=DEADLINE, follow_redirects=False)
    headers = {"Accept-Encoding": "identity", "Accept": "application/json"}
    url = f"{address}/api/v1/query"
    async with (
        client,
        client.stream("GET", url, params={"query": expression}, headers=headers) as answer,
    ):
        data = b""
        async for part in answer.aiter_raw(4096):
            data += part
            if len(data) > LONGEST:
                raise ValueError(f"it is longer than {LONGEST} bytes: aggregate the query")
        if not answer.is_success:
            raise ValueError(f"status {answer.status_code}: {data[:200].decode(errors='replace')}")
    return mapping(parsed(data))


def prometheus_of(gate: Gate, answer: Mapping[str, Any]) -> Verdict:
    """Each value of the answer, a scalar or a vector, must be within the range."""
    result, kind = inside(answer, "data", "result"), inside(answer, "data", "resultType")
    rows = [result] if kind == "scalar" else [each.get("value") for each in maps(result)]
    values = [float(text(row[1])) for row in rows if isinstance(row, list) and len(row) == 2]
    if not values:
        return Verdict(gate.name, False, "the query has no result")
    low, high = gate.given.get("min"), gate.given.get("max")
    for value in values:
        if not (low is None or value >= low):
            return Verdict(gate.name, False, f"{value:g} is below {low:g}")
        if not (high is None or value <= high):
            return Verdict(gate.name, False, f"{value:g} is above {high:g}")
    return Verdict(gate.name, True)
