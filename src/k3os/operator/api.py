"""What the operator writes to the API, and the watch of one node's pods. kopf reads the rest.

It decides nothing. Patches are JSON merge patches (RFC 7386); a resourceVersion in one makes the
API refuse it with 409 when the object has changed meanwhile, so that an operator that lost its
lease without noticing cannot undo what the next one did. Evictions: policy/v1 Eviction,
policy/v1beta1 before Kubernetes 1.22.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Any

import httpx2
from lightkube import ApiError
from lightkube.core.exceptions import ConfigError
from lightkube.generic_resource import create_global_resource, create_namespaced_resource
from lightkube.models.meta_v1 import DeleteOptions, ObjectMeta
from lightkube.operators import exists
from lightkube.resources.core_v1 import Pod
from lightkube.types import CascadeType, PatchType

from k3os import names
from k3os.cluster.node import State
from k3os.operator import metrics
from k3os.operator.manifests import NAME
from k3os.operator.outage import Outage, pause, words
from k3os.operator.rollout import KEEP, Eviction, NodePatch
from k3os.operator.views import REQUEST_LABEL, PodView, parse_pod

log = logging.getLogger("k3os.operator.api")

# plain dictionaries: their models would cost memory and give nothing
Node: Any = create_global_resource("", "v1", "Node", "nodes")
NodePool: Any = create_global_resource(names.GROUP, names.VERSION, names.KIND, names.PLURAL)
Job: Any = create_namespaced_resource("batch", "v1", "Job", "jobs")
Secret: Any = create_namespaced_resource("", "v1", "Secret", "secrets")
Deployment: Any = create_namespaced_resource("apps", "v1", "Deployment", "deployments")
Lease: Any = create_namespaced_resource("coordination.k8s.io", "v1", "Lease", "leases")

WATCH_SECONDS = 300  # the server ends a watch; the next one goes on where it was
STRAY_SECONDS = 3600.0
BAD_REQUEST, NOT_FOUND, CONFLICT, TOO_MANY = 400, 404, 409, 429

# what the API may answer with, or not answer at all; a token that is renewed may be away for once
ApiFailure = (ApiError, httpx2.HTTPError, ConfigError, OSError)


class Api:
    """client: of lightkube (access.py). outage: what its users tell of failures."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.outage = Outage()
        self.eviction = "policy/v1"

    async def close(self) -> None:
        await self.client.close()

    async def patch_node(self, patch: NodePatch, version: str) -> dict[str, Any]:
        """version: the resourceVersion it was decided on. Raises ApiError, 409 for a new one."""
        body: dict[str, Any] = {"metadata": {"annotations": {names.ROLLOUT: _text(patch.state)}}}
        if version:
            body["metadata"]["resourceVersion"] = version
        if patch.unschedulable is not KEEP:
            body["spec"] = {"unschedulable": True if patch.unschedulable else None}
        count("patch", "nodes")
        return await self._patch(Node, patch.node, body)

    async def patch_status(self, pool: str, status: Mapping[str, Any]) -> dict[str, Any]:
        count("patch", "nodepools/status")
        return await self._patch(NodePool.Status, pool, {"status": dict(status)})

    async def _patch(self, kind: Any, name: str, body: Any, **where: str) -> dict[str, Any]:
        found = await self.client.patch(kind, name, body, patch_type=PatchType.MERGE, **where)
        return dict(found)

    async def scale(self, replicas: int) -> None:
        """The operator's own Deployment. Raises ApiError."""
        count("patch", "deployments/scale")
        body = {"spec": {"replicas": replicas}}
        await self.client.patch(
            Deployment.Scale, NAME, body, patch_type=PatchType.MERGE, namespace=names.NAMESPACE
        )

    async def get_node(self, name: str) -> dict[str, Any]:
        count("get", "nodes")
        return dict(await self.client.get(Node, name))

    async def evict(self, order: Eviction) -> str:
        """Why it is refused for now, "" when the pod goes or is gone. Raises ApiError."""
        try:
            count("create", "pods/eviction")
            await self._evict(order, self.eviction)
        except ApiError as error:
            if error.status.code == BAD_REQUEST and self.eviction == "policy/v1":
                count("create", "pods/eviction")
                await self._evict(order, "policy/v1beta1")
                self.eviction = "policy/v1beta1"
                return ""
            if error.status.code == TOO_MANY:
                return error.status.message or "a PodDisruptionBudget forbids it"
            if error.status.code != NOT_FOUND:
                raise
        return ""

    async def _evict(self, order: Eviction, version: str) -> None:
        pod, grace = order.pod, order.grace_period
        eviction = Pod.Eviction(
            metadata=ObjectMeta(name=pod.name, namespace=pod.namespace),
            deleteOptions=DeleteOptions(gracePeriodSeconds=grace) if grace >= 0 else None,
        )
        eviction.apiVersion = version  # the model knows one only
        await self.client.create(eviction, name=pod.name, namespace=pod.namespace)

    async def create_job(
        self, secret: Mapping[str, Any], job: Mapping[str, Any], owner: Callable[[Any], Any]
    ) -> None:
        """The Secret, then the Job, then who owns the Secret. What is there already is fine: an
        operator that was killed in between is called again with the same. Raises ApiError."""
        name, namespace = job["metadata"]["name"], names.NAMESPACE
        count("create", "secrets")
        await self._create(Secret, secret)
        count("create", "jobs")
        made = await self._create(Job, job)
        if made is None:
            count("get", "jobs")
            made = dict(await self.client.get(Job, name, namespace=namespace))
        count("patch", "secrets")
        await self._patch(Secret, name, owner(made), namespace=namespace)

    async def _create(self, kind: Any, body: Mapping[str, Any]) -> dict[str, Any] | None:
        """None when it is there already."""
        try:
            return dict(await self.client.create(kind(body), namespace=names.NAMESPACE))
        except ApiError as error:
            if error.status.code == CONFLICT:
                return None
            raise

    async def delete_job(self, name: str) -> None:
        """And its pods; what is gone is fine. Raises ApiError."""
        try:
            count("delete", "jobs")
            await self.client.delete(
                Job, name, namespace=names.NAMESPACE, cascade=CascadeType.BACKGROUND
            )
        except ApiError as error:
            if error.status.code != NOT_FOUND:
                raise

    async def drop_stray_secrets(self, jobs: Collection[str]) -> int:
        """Delete old requests that no Job owns: left by an operator that was killed in between,
        and whose rollout was given up before the next one came. Raises ApiError."""
        namespace, dropped = names.NAMESPACE, 0
        count("list", "secrets")
        found = [
            each
            async for each in self.client.list(
                Secret, namespace=namespace, labels={REQUEST_LABEL: exists()}
            )
        ]
        for each in found:
            meta = each["metadata"]
            young = _age(meta["creationTimestamp"]) < STRAY_SECONDS
            if young or meta.get("ownerReferences") or meta["name"] in jobs:
                continue
            count("delete", "secrets")
            await self.client.delete(Secret, meta["name"], namespace=namespace)
            dropped += 1
        return dropped


def _age(stamp: str) -> float:
    """Seconds since a time of the API, RFC 3339."""
    return (datetime.now(UTC) - datetime.fromisoformat(stamp)).total_seconds()


def _text(state: State | None) -> str | None:
    return state.as_json() if state else None


def count(verb: str, resource: str) -> None:
    """A request that is about to be made, for the metrics."""
    metrics.API_REQUESTS.labels(verb, resource).inc()


class NodePods:
    """The pods of one node while it is drained: listed once, then watched.

    pods is None until the first list is there. changed is called after each change.
    """

    def __init__(self, api: Api, node: str, changed: Callable[[], None]) -> None:
        self.pods: dict[tuple[str, str], PodView] | None = None
        self._api, self._node, self._changed = api, node, changed
        self._task = asyncio.create_task(self._follow(), name=f"pods of {node}")

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _follow(self) -> None:
        failures = 0
        while True:
            try:
                await self._list_and_watch()
                failures = 0
            except ApiFailure as error:
                failures += 1
                if failures == 1:
                    log.warning("the pods of %s cannot be watched: %s", self._node, words(error))
            except Exception:  # one of ours: this node's drain waits, others go on
                failures += 1
                log.exception("the pods of %s cannot be read", self._node)
            await asyncio.sleep(pause(failures))

    async def _list_and_watch(self) -> None:
        fields = {"spec.nodeName": self._node}
        count("list", "pods")
        listing = self._api.client.list(Pod, namespace="*", fields=fields)
        found = {}
        async for pod in listing:
            view = parse_pod(pod.to_dict())
            found[view.namespace, view.name] = view
        self.pods = found
        self._changed()
        count("watch", "pods")
        watch = self._api.client.watch(
            Pod,
            namespace="*",
            fields=fields,
            server_timeout=WATCH_SECONDS,
            resource_version=listing.resourceVersion,
        )
        async for event, pod in watch:
            view = parse_pod(pod.to_dict())
            if event == "DELETED":
                found.pop((view.namespace, view.name), None)
            else:
                found[view.namespace, view.name] = view
            self._changed()
