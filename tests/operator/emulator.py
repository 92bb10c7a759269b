"""An API server for tests: kmock's discovery and requests, with the parts of Kubernetes' own
behaviour that the operator relies on.

Those are: resource versions and conflicts, watches that resume from a version, label and field
selectors, merge patches, eviction with disruption budgets, Jobs that create a pod and end with it,
deletion of owned objects, and rights (RBAC). It is a stub: it does not validate objects.
kubernetes.io, "Kubernetes API Concepts".
"""

import asyncio
import base64
import copy
import json
import threading
import uuid
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp.test_utils
import aiohttp.web
import kmock
from kmock import KubernetesError, KubernetesScaffold

from tests.operator import disruption
from tests.operator.semantics import fits, merged

SHUTDOWN_SECONDS = 1.0
OPERATOR, TESTER = "operator", "tester"  # bearer tokens
# plural: (group/version, kind, namespaced, subresources)
RESOURCES = {
    "nodes": ("v1", "Node", False, {"status"}),
    "pods": ("v1", "Pod", True, {"status", "eviction"}),
    "secrets": ("v1", "Secret", True, set()),
    "configmaps": ("v1", "ConfigMap", True, set()),
    "events": ("v1", "Event", True, set()),
    "namespaces": ("v1", "Namespace", False, set()),
    "serviceaccounts": ("v1", "ServiceAccount", True, set()),
    "jobs": ("batch/v1", "Job", True, {"status"}),
    "cronjobs": ("batch/v1", "CronJob", True, set()),
    "deployments": ("apps/v1", "Deployment", True, {"status", "scale"}),
    "daemonsets": ("apps/v1", "DaemonSet", True, {"status"}),
    "replicasets": ("apps/v1", "ReplicaSet", True, {"status"}),
    "statefulsets": ("apps/v1", "StatefulSet", True, {"status"}),
    "controllerrevisions": ("apps/v1", "ControllerRevision", True, set()),
    "leases": ("coordination.k8s.io/v1", "Lease", True, set()),
    "poddisruptionbudgets": ("policy/v1", "PodDisruptionBudget", True, {"status"}),
    "volumeattachments": ("storage.k8s.io/v1", "VolumeAttachment", False, {"status"}),
    "persistentvolumes": ("v1", "PersistentVolume", False, set()),
    "validatingadmissionpolicies": (
        *("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy", False, {"status"}),
    ),
    "validatingadmissionpolicybindings": (
        *("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding", False, set()),
    ),
    "nodepools": ("k3os.io/v1alpha1", "NodePool", False, {"status"}),
    "customresourcedefinitions": (
        *("apiextensions.k8s.io/v1", "CustomResourceDefinition", False, set()),
    ),
}
PRIORITIES = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}
VERBS = {"get", "list", "watch", "create", "update", "patch", "delete"}
HISTORY = 20_000  # number of changes from which a watch can resume
Key = tuple[str, str, str]


class Emulator(KubernetesScaffold):
    """kept: (plural, namespace, name) -> body. Other attributes are for tests to read or set."""

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.kept: dict[Key, dict[str, Any]] = {}
        self.version = 1
        self.changes: deque[tuple[int, str, str, dict[str, Any]]] = deque(maxlen=HISTORY)
        self.waiting: set[asyncio.Event] = set()  # one for each watch
        self.closing = False  # watches end
        self.forgotten = 0  # no watch can resume from versions before this one
        self.counts: Counter[tuple[str, str]] = Counter()  # the operator's requests: verb, resource
        self.rules: list[dict[str, Any]] | None = None  # what the operator may; None: all
        self.forbidden: list[str] = []
        self.old_evictions = False  # policy/v1beta1 only, as before Kubernetes 1.22
        self.has_policies = True  # as since Kubernetes 1.30
        self.written: list[tuple[str, str, str]] = []  # by the operator: plural, name, body
        # called for each of the operator's writes, after it is done and before it is answered
        self.on_write: Callable[[str, str], None] | None = None
        for plural, (group, kind, namespaced, more) in RESOURCES.items():
            self.resources[f"{group}/{plural}"] = {
                "kind": kind,
                "namespaced": namespaced,
                "verbs": VERBS,
                "subresources": more,
            }
        for action, handler in (
            (kmock.action.LIST, self._list),
            (kmock.action.WATCH, self._watch),
            (kmock.action.FETCH, self._fetch),
            (kmock.action.CREATE, self._create),
            (kmock.action.UPDATE, self._update),
            (kmock.action.DELETE, self._delete),
        ):
            self.fallback[action] << handler

    # what every request goes through

    async def __call__(self, raw_request: Any) -> aiohttp.web.StreamResponse:
        if raw_request.path == "/api/v1/namespaces":  # kmock considers it an incomplete path
            if raw_request.method == "POST":
                answer = {"kind": "Status", "apiVersion": "v1", "code": 409, "message": "exists"}
                refusal = aiohttp.web.json_response(answer, status=409)
                refusal.headers["Content-Type"] = "application/json"
                return refusal
            if "watch" in raw_request.query:
                stream = aiohttp.web.StreamResponse()
                await stream.prepare(raw_request)
                while not self.closing:
                    await self._news(3600)
                return stream
            items = [
                {"metadata": {"name": name, "uid": name, "resourceVersion": "1"}}
                for name in ("default", "k3os-system")
            ]
            listing = {"kind": "NamespaceList", "apiVersion": "v1", "items": items}
            return aiohttp.web.json_response({**listing, "metadata": {"resourceVersion": "1"}})
        return await super().__call__(raw_request)

    async def _handle(self, request: Any) -> aiohttp.web.StreamResponse:
        try:
            # kmock has no action for these two
            if request.resource and request.method == kmock.method.PUT:
                return aiohttp.web.json_response(await self._update(request))
            if request.subresource == "eviction":
                return aiohttp.web.json_response(await self._create(request))
            return await super()._handle(request)
        except KubernetesError as error:
            return await self._render_error(error)

    async def _render_error(self, exc: Exception) -> aiohttp.web.StreamResponse:
        answer = await super()._render_error(exc)
        # clients look for exactly this, without a charset
        answer.headers["Content-Type"] = "application/json"
        return answer

    def _allow(self, request: Any, verb: str) -> None:
        """Count the operator's request. Raises KubernetesError if it has no right to it."""
        if request.headers.get("Authorization") != f"Bearer {OPERATOR}":
            return
        wanted = request.resource.plural
        if wanted.startswith("validatingadmission") and not self.has_policies:
            raise KubernetesError(status=404, reason="NotFound", message="404 page not found")
        wanted += f"/{request.subresource}" if request.subresource else ""
        self.counts[verb, wanted] += 1
        if self.rules is None:
            return
        namespace = request.namespace or ""
        for rule in self.rules:
            if (
                request.resource.group in rule["apiGroups"]
                and wanted in rule["resources"]
                and verb in rule["verbs"]
                and rule.get("namespace", namespace) == namespace
            ):
                return
        text = f"{verb} {wanted} in {namespace or 'the cluster'}"
        self.forbidden.append(text)
        raise KubernetesError(status=403, reason="Forbidden", message=f"no right to {text}")

    def _told(self, request: Any, verb: str) -> None:
        """Record a write of the operator."""
        if request.headers.get("Authorization") != f"Bearer {OPERATOR}":
            return
        body = copy.deepcopy(request.data) if isinstance(request.data, dict) else {}
        name = str(request.name or (body.get("metadata") or {}).get("name"))
        self.written.append((request.resource.plural, name, json.dumps(body)))
        if self.on_write:
            self.on_write(verb, request.resource.plural)

    def _key(self, request: Any) -> Key:
        return request.resource.plural, request.namespace or "", request.name or ""

    def _known(self, request: Any) -> dict[str, Any]:
        found = self.kept.get(self._key(request))
        if found is None:
            text = f"{request.resource.plural} {request.name!r} not found"
            raise KubernetesError(status=404, reason="NotFound", message=text)
        return found

    # reading

    async def _list(self, request: Any) -> Any:
        self._allow(request, "list")
        items = list(self._selected(request))
        return {
            "apiVersion": "v1",
            "kind": "List",
            "metadata": {"resourceVersion": str(self.version)},
            "items": items,
        }

    def _selected(self, request: Any) -> Iterator[dict[str, Any]]:
        for (plural, _, _), body in list(self.kept.items()):
            if plural == request.resource.plural and _fits(request, body):
                yield body

    async def _fetch(self, request: Any) -> Any:
        self._allow(request, "get")
        return self._known(request)

    async def _watch(self, request: Any) -> AsyncIterator[Any]:
        self._allow(request, "watch")
        yield b""
        wanted, plural = request.params.get("resourceVersion"), request.resource.plural
        if wanted in (None, "", "0"):
            seen = self.version
            for body in list(self._selected(request)):
                yield {"type": "ADDED", "object": body}
        elif int(wanted) < self.forgotten:
            status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
            yield {"type": "ERROR", "object": status}
            return
        else:
            seen = int(wanted)
        clock = asyncio.get_running_loop().time
        end = clock() + float(request.params.get("timeoutSeconds") or 3600)
        inside: set[Any] = {body["metadata"]["uid"] for body in self._selected(request)}
        while True:
            news = [each for each in self.changes if each[0] > seen and each[1] == plural]
            seen = max(seen, self.version)
            for _, _, kind, body in news:
                is_chosen, uid = _fits(request, body), body["metadata"]["uid"]
                if kind != "DELETED" and is_chosen:
                    inside.add(uid)
                    yield {"type": kind, "object": body}
                elif uid in inside:
                    inside.discard(uid)
                    yield {"type": "DELETED", "object": body}
            if self.closing or clock() >= end:
                return
            if self.version == seen:
                await self._news(end - clock())

    async def _news(self, seconds: float) -> None:
        """Wait for a change or the shutdown, at most this long."""
        news = asyncio.Event()
        self.waiting.add(news)
        try:
            await asyncio.wait_for(news.wait(), max(0.0, seconds))
        except TimeoutError:
            return
        finally:
            self.waiting.discard(news)

    def _tell(self) -> None:
        for news in self.waiting:
            news.set()

    # writing

    async def keep(self, key: Key, body: dict[str, Any] | None, kind: str = "") -> dict[str, Any]:
        """Store an object, or drop it if body is None, and notify the watches."""
        self.version += 1
        old = self.kept.get(key)
        if body is None:
            assert old is not None
            body = copy.deepcopy(old)
            kind = "DELETED"
            del self.kept[key]
        else:
            kind = "ADDED" if old is None else "MODIFIED"
            body = copy.deepcopy(body)
            self.kept[key] = body
        body["metadata"]["resourceVersion"] = str(self.version)
        self.changes.append((self.version, key[0], kind, body))
        self._tell()
        if key[0] in ("pods", "poddisruptionbudgets"):
            await self._count_disruptions(key[1])
        return body

    async def _count_disruptions(self, namespace: str) -> None:
        """The disruption controller."""
        for key, budget in list(self.kept.items()):
            if key[:2] == ("poddisruptionbudgets", namespace):
                status = disruption.status(budget, self.pods_in(namespace))
                if status != budget.get("status"):
                    await self.keep(key, {**budget, "status": status})

    def pods_in(self, namespace: str) -> list[dict[str, Any]]:
        return [body for key, body in self.kept.items() if key[:2] == ("pods", namespace)]

    async def _create(self, request: Any) -> Any:
        self._allow(request, "create")
        if request.subresource == "eviction":
            answer = await self._evict(request)
            self._told(request, "create")
            return answer
        body = copy.deepcopy(request.data)
        meta = body.setdefault("metadata", {})
        meta["name"] = meta.get("name") or meta["generateName"] + uuid.uuid4().hex[:5]
        plural = request.resource.plural
        group, kind, namespaced, _ = RESOURCES[plural]
        if namespaced:
            meta["namespace"] = request.namespace or meta.get("namespace") or "default"
        key = (plural, meta.get("namespace", ""), meta["name"])
        if key in self.kept:
            text = f"{plural} {meta['name']!r} already exists"
            raise KubernetesError(status=409, reason="AlreadyExists", message=text)
        body |= {"apiVersion": group, "kind": kind}
        if "stringData" in body:
            body["data"] = {
                name: base64.b64encode(text.encode()).decode()
                for name, text in body.pop("stringData").items()
            }
        meta |= {"uid": str(uuid.uuid4()), "generation": 1, "creationTimestamp": _now()}
        if "spec" in body:
            meta["managedFields"] = _managed(request)
        if plural == "pods":  # as the admission plugin Priority
            body["spec"]["priority"] = PRIORITIES.get(body["spec"].get("priorityClassName", ""), 0)
        if plural == "customresourcedefinitions":
            body["status"] = {"conditions": [{"type": "Established", "status": "True"}]}
        made = await self.keep(key, body)
        if plural == "jobs":
            await self._start_job(made)
        self._told(request, "create")
        return made

    async def _update(self, request: Any) -> Any:
        verb = "patch" if request.method == kmock.method.PATCH else "update"
        self._allow(request, verb)
        old, change = self._known(request), request.data
        wanted = change.get("metadata", {}).get("resourceVersion")
        if wanted and wanted != old["metadata"]["resourceVersion"]:
            text = "the object has been modified; please apply your changes to the latest version"
            raise KubernetesError(status=409, reason="Conflict", message=text)
        body = merged(old, change) if verb == "patch" else {**change, "metadata": old["metadata"]}
        if body.get("spec") != old.get("spec"):
            body["metadata"] = {**body["metadata"]}
            body["metadata"]["generation"] = old["metadata"].get("generation", 1) + 1
            body["metadata"]["managedFields"] = _managed(request)
        if {**body, "metadata": {**body["metadata"], "resourceVersion": ""}} == {
            **old,
            "metadata": {**old["metadata"], "resourceVersion": ""},
        }:
            return old  # like the real one: no new version without a change
        made = await self.keep(self._key(request), body)
        if request.resource.plural == "pods":
            await self._end_job(made)
        self._told(request, verb)
        return made

    async def _delete(self, request: Any) -> Any:
        self._allow(request, "delete")
        old = self._known(request)
        grace = request.params.get("gracePeriodSeconds") or (request.data or {}).get(
            "gracePeriodSeconds"
        )
        if request.resource.plural == "pods" and str(grace) != "0" and not _is_over(old):
            await self._mark(self._key(request), old)
        else:
            await self._drop(self._key(request))
        self._told(request, "delete")
        return old

    async def _mark(self, key: Key, old: dict[str, Any]) -> None:
        """Mark a pod as terminating; the kubelet, here the test, deletes it later."""
        if not old["metadata"].get("deletionTimestamp"):
            await self.keep(key, merged(old, {"metadata": {"deletionTimestamp": _now()}}))

    async def _drop(self, key: Key) -> None:
        gone = await self.keep(key, None)
        for other, body in list(self.kept.items()):
            owners = body["metadata"].get("ownerReferences") or []
            if any(each["uid"] == gone["metadata"]["uid"] for each in owners):
                await self._drop(other)

    async def _evict(self, request: Any) -> Any:
        version = request.data["apiVersion"]
        if version != ("policy/v1beta1" if self.old_evictions else "policy/v1"):
            text = f'no kind "Eviction" is registered for version "{version}"'
            raise KubernetesError(status=400, reason="BadRequest", message=text)
        key = ("pods", request.namespace, request.name)
        pod = self.kept.get(key)
        if pod is None:
            raise KubernetesError(status=404, reason="NotFound", message="no such pod")
        for (plural, namespace, name), budget in self.kept.items():
            if plural == "poddisruptionbudgets" and namespace == request.namespace:
                if disruption.forbids(budget, pod):
                    text = (
                        f"Cannot evict pod as it would violate the pod's disruption budget {name}."
                    )
                    raise KubernetesError(status=429, reason="TooManyRequests", message=text)
        await self._mark(key, pod)
        return {"kind": "Status", "apiVersion": "v1", "status": "Success", "metadata": {}}

    # the Job controller

    async def _start_job(self, job: dict[str, Any]) -> None:
        meta, template = job["metadata"], copy.deepcopy(job["spec"]["template"])
        owner = {"apiVersion": "batch/v1", "kind": "Job", "controller": True}
        owner |= {"name": meta["name"], "uid": meta["uid"]}
        pod = {"apiVersion": "v1", "kind": "Pod", **template, "status": {"phase": "Pending"}}
        pod["metadata"] |= {
            "name": f"{meta['name']}-{uuid.uuid4().hex[:5]}",
            "namespace": meta["namespace"],
            "uid": str(uuid.uuid4()),
            "ownerReferences": [owner],
        }
        await self.keep(("pods", meta["namespace"], pod["metadata"]["name"]), pod)

    async def _end_job(self, pod: dict[str, Any]) -> None:
        phase = pod.get("status", {}).get("phase")
        for owner in pod["metadata"].get("ownerReferences") or []:
            key = ("jobs", pod["metadata"].get("namespace", ""), owner["name"])
            job = self.kept.get(key)
            if owner["kind"] != "Job" or job is None or phase not in ("Succeeded", "Failed"):
                continue
            kind = "Complete" if phase == "Succeeded" else "Failed"
            ended = {"type": kind, "status": "True", "lastTransitionTime": _now()}
            if kind == "Failed":
                ended |= {"reason": "BackoffLimitExceeded", "message": "it has failed"}
            await self.keep(key, merged(job, {"status": {"conditions": [ended]}}))


def _fits(request: Any, body: dict[str, Any]) -> bool:
    labels, fields = (request.params.get(name) or "" for name in ("labelSelector", "fieldSelector"))
    return fits(body, request.namespace or "", labels, fields)


def _managed(request: Any) -> list[dict[str, Any]]:
    """The manager that changed the spec; by default named after its program."""
    agent = request.headers.get("User-Agent") or "unknown"
    manager = request.params.get("fieldManager") or agent.partition("/")[0]
    fields = {"apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {}}}
    return [{"manager": manager, "operation": "Update", "time": _now(), **fields}]


def _is_over(pod: dict[str, Any]) -> bool:
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Listener(aiohttp.test_utils.RawTestServer):
    """Does not wait for half-read requests when it stops: aiohttp's own server does, for a minute,
    without ever reading the rest."""

    def __init__(self, handler: Any, **given: Any) -> None:
        super().__init__(handler, **given)
        self._answers = handler

    async def _make_runner(self, **given: Any) -> aiohttp.web.ServerRunner:
        server = aiohttp.web.Server(self._answers, **given)
        return aiohttp.web.ServerRunner(server, shutdown_timeout=SHUTDOWN_SECONDS)


class Running:
    """The emulator with its own thread and port; `down` and `up` are a restart of the API."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.server = self.run(_made())
        self._site: Any = None
        self._port = 0
        self.up()

    def run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def up(self) -> None:
        self.server.closing = False
        self._site = kmock.Server(self.server, port=self._port or None, server_cls=Listener)
        self.run(self._site.__aenter__())
        self._port = self._site.port

    def down(self) -> None:
        """End the watches, and stop answering."""
        self.run(self._down())

    def hang_up(self) -> None:
        """End the watches."""
        self.run(self._hang_up())

    async def _hang_up(self) -> None:
        self.server.closing = True
        self.server._tell()

    async def _down(self) -> None:
        await self._hang_up()
        await self._site.__aexit__(None, None, None)

    @property
    def port(self) -> int:
        return self._port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def kubeconfig(self, path: Path, token: str) -> Path:
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "stub",
            "clusters": [{"name": "stub", "cluster": {"server": self.url}}],
            "users": [{"name": "stub", "user": {"token": token}}],
            "contexts": [{"name": "stub", "context": {"cluster": "stub", "user": "stub"}}],
        }
        path.write_text(json.dumps(config))
        return path

    def close(self) -> None:
        self.down()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5)
        self.loop.close()


async def _made() -> Emulator:
    return Emulator()


@contextmanager
def emulated() -> Iterator[Running]:
    running = Running()
    try:
        yield running
    finally:
        running.close()
