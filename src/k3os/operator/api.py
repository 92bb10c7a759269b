"""What the operator writes to the API, and what it reads once. kopf and watched.py do the rest.

It decides nothing. Patches are JSON merge patches (RFC 7386). With a resourceVersion in it, the
API refuses a patch with 409 if the object has changed, so an operator that lost its lease without
noticing cannot undo what its successor did. Evictions: policy/v1 Eviction, policy/v1beta1 before
Kubernetes 1.22.
"""

from __future__ import annotations

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
from k3os.cluster.views import REQUEST_LABEL, parse_claim
from k3os.operator import metrics
from k3os.operator.decisions import KEEP, Eviction, NodePatch
from k3os.operator.manifests import NAME
from k3os.operator.outage import Outage

# plain dictionaries: lightkube's models would cost memory for no benefit
Node: Any = create_global_resource("", "v1", "Node", "nodes")
NodePool: Any = create_global_resource(names.GROUP, names.VERSION, names.KIND, names.PLURAL)
Job: Any = create_namespaced_resource("batch", "v1", "Job", "jobs")
Secret: Any = create_namespaced_resource("", "v1", "Secret", "secrets")
Deployment: Any = create_namespaced_resource("apps", "v1", "Deployment", "deployments")
Lease: Any = create_namespaced_resource("coordination.k8s.io", "v1", "Lease", "leases")
Volume: Any = create_global_resource("", "v1", "PersistentVolume", "persistentvolumes")

STRAY_SECONDS = 3600.0
BAD_REQUEST, NOT_FOUND, CONFLICT, TOO_MANY, BROKEN = 400, 404, 409, 429, 500

# the API's errors, no answer at all, or a token that is missing for a moment while it is renewed
ApiFailure = (ApiError, httpx2.HTTPError, ConfigError, OSError)


class Api:
    """client: lightkube's (access.py). outage: where callers report failures."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.outage = Outage()
        self.eviction = "policy/v1"

    async def close(self) -> None:
        await self.client.close()

    async def patch_node(self, patch: NodePatch, version: str) -> dict[str, Any]:
        """version: the resourceVersion this was decided on. Raises ApiError, 409 if it changed."""
        notes = {names.ROLLOUT: _text(patch.state)}
        if patch.record is not KEEP:
            notes[names.WORKLOADS] = patch.record.as_json() if patch.record.request else None
        body: dict[str, Any] = {"metadata": {"annotations": notes}}
        if version:
            body["metadata"]["resourceVersion"] = version
        if patch.unschedulable is not KEEP:
            body["spec"] = {"unschedulable": True if patch.unschedulable else None}
        count("patch", "nodes")
        return await self._patch(Node, patch.node, body)

    async def patch_status(
        self, pool: str, status: Mapping[str, Any], version: str = ""
    ) -> dict[str, Any]:
        """version: the resourceVersion this was decided on. Raises ApiError, 409 if it changed."""
        body: dict[str, Any] = {"status": dict(status)}
        if version:
            body["metadata"] = {"resourceVersion": version}
        count("patch", "nodepools/status")
        return await self._patch(NodePool.Status, pool, body)

    async def get_pool(self, name: str) -> dict[str, Any]:
        count("get", "nodepools")
        return dict(await self.client.get(NodePool, name))

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

    async def claim_of(self, volume: str) -> str:
        """The PersistentVolumeClaim that a volume is bound to, as namespace/name, "" for none.
        Raises ApiError."""
        count("get", "persistentvolumes")
        try:
            return parse_claim(await self.client.get(Volume, volume))
        except ApiError as error:
            if error.status.code != NOT_FOUND:
                raise
            return ""

    async def evict(self, order: Eviction) -> str:
        """Why the eviction is refused for now, "" if the pod goes or is gone. Raises ApiError."""
        count("create", "pods/eviction")
        try:
            await self._evict(order, self.eviction)
        except ApiError as error:
            if error.status.code == BAD_REQUEST and self.eviction == "policy/v1":
                self.eviction = "policy/v1beta1"
                try:
                    return await self.evict(order)
                except ApiError:
                    self.eviction = "policy/v1"
                    raise
            # 500 also means that two budgets select the same pod
            if error.status.code in (TOO_MANY, BROKEN):
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
        eviction.apiVersion = version  # the model only knows one version
        await self.client.create(eviction, name=pod.name, namespace=pod.namespace)

    async def create_job(
        self, secret: Mapping[str, Any], job: Mapping[str, Any], owner: Callable[[Any], Any]
    ) -> None:
        """Create the Secret, then the Job, then make the Job own the Secret. Existing ones are
        fine: after a crash in between, this is called again with the same. Raises ApiError."""
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
        """None if it already exists."""
        try:
            return dict(await self.client.create(kind(body), namespace=names.NAMESPACE))
        except ApiError as error:
            if error.status.code == CONFLICT:
                return None
            raise

    async def delete_job(self, name: str) -> None:
        """And its pods; no error if it is gone. Raises ApiError."""
        try:
            count("delete", "jobs")
            await self.client.delete(
                Job, name, namespace=names.NAMESPACE, cascade=CascadeType.BACKGROUND
            )
        except ApiError as error:
            if error.status.code != NOT_FOUND:
                raise

    async def drop_stray_secrets(self, jobs: Collection[str]) -> int:
        """Delete old requests that no Job owns: left by an operator that was killed in between, if
        the rollout was abandoned before the next one started. Raises ApiError."""
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
    """Seconds since a time in the API's format, RFC 3339."""
    return (datetime.now(UTC) - datetime.fromisoformat(stamp)).total_seconds()


def _text(state: State | None) -> str | None:
    return state.as_json() if state else None


def count(verb: str, resource: str) -> None:
    """Count a request that is about to be made."""
    metrics.API_REQUESTS.labels(verb, resource).inc()
