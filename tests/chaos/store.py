"""The objects of an API server, in memory, with what the operator relies on (kubernetes.io,
"Kubernetes API Concepts"): versions, refusals of old ones, generations, watches that go on from a
version or are told that it is forgotten, selectors, merge patches.

Bodies are never changed in place: who has one keeps what it was.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from k3os.system.stamps import utc
from tests.operator.semantics import fits, merged

Key = tuple[str, str, str]  # plural, namespace, name
Body = dict[str, Any]
# plural: group/version, kind, namespaced
KINDS = {
    "nodes": ("v1", "Node", False),
    "pods": ("v1", "Pod", True),
    "secrets": ("v1", "Secret", True),
    "jobs": ("batch/v1", "Job", True),
    "cronjobs": ("batch/v1", "CronJob", True),
    "deployments": ("apps/v1", "Deployment", True),
    "replicasets": ("apps/v1", "ReplicaSet", True),
    "controllerrevisions": ("apps/v1", "ControllerRevision", True),
    "leases": ("coordination.k8s.io/v1", "Lease", True),
    "poddisruptionbudgets": ("policy/v1", "PodDisruptionBudget", True),
    "volumeattachments": ("storage.k8s.io/v1", "VolumeAttachment", False),
    "nodepools": ("k3os.io/v1alpha1", "NodePool", False),
}


class Refused(Exception):
    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason = code, reason

    @property
    def status(self) -> Body:
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "code": self.code,
            "reason": self.reason,
            "message": str(self),
        }


class Store:
    """clock: seconds since 1970, of the API server. told: called with each change: its kind (as
    of a watch), the key, what was and what is there."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.kept: dict[Key, Body] = {}
        self.version = 1
        self.changes: list[tuple[int, str, str, Body]] = []
        self.forgotten = 0  # versions up to it are
        self.told: list[Callable[[str, Key, Body | None, Body | None], None]] = []
        self._uid = 0

    def stamp(self) -> str:
        return utc(self.clock())

    # reading

    def get(self, key: Key) -> Body:
        """Raises Refused."""
        found = self.kept.get(key)
        if found is None:
            raise Refused(404, "NotFound", f"{key[0]} {key[2]!r} not found")
        return found

    def all(self, plural: str) -> list[Body]:
        return [body for key, body in self.kept.items() if key[0] == plural]

    def select(self, plural: str, namespace: str = "", labels: str = "", fields: str = "") -> Any:
        return [each for each in self.all(plural) if fits(each, namespace, labels, fields)]

    def since(self, version: int, plural: str) -> Iterator[tuple[str, Body]]:
        """Raises Refused for what is forgotten."""
        if version < self.forgotten:
            text = f"too old resource version: {version} ({self.forgotten})"
            raise Refused(410, "Expired", text)
        low, high = 0, len(self.changes)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self.changes[middle][0] <= version else (low, middle)
        return ((kind, body) for _, what, kind, body in self.changes[low:] if what == plural)

    def forget(self) -> None:
        """As an API server that restarts, or etcd when it is compacted."""
        self.forgotten = self.version
        self.changes.clear()

    # writing

    def keep(self, key: Key, body: Body | None) -> Body:
        old = self.kept.get(key)
        self.version += 1
        if body is None:
            assert old is not None
            kind, body = "DELETED", dict(old)
            del self.kept[key]
        else:
            kind = "ADDED" if old is None else "MODIFIED"
            self.kept[key] = body
        body["metadata"] = {**body["metadata"], "resourceVersion": str(self.version)}
        self.changes.append((self.version, key[0], kind, body))
        for tell in self.told:
            tell(kind, key, old, None if kind == "DELETED" else body)
        return body

    def create(self, plural: str, body: Mapping[str, Any], namespace: str = "") -> Body:
        """Raises Refused."""
        group, kind, _ = KINDS[plural]
        name = body["metadata"]["name"]
        key = (plural, namespace, name)
        if key in self.kept:
            raise Refused(409, "AlreadyExists", f"{plural} {name!r} already exists")
        self._uid += 1
        meta = {**body["metadata"], "uid": f"uid-{self._uid}", "creationTimestamp": self.stamp()}
        meta |= {"generation": 1} | ({"namespace": namespace} if namespace else {})
        return self.keep(key, {**body, "apiVersion": group, "kind": kind, "metadata": meta})

    def patch(self, key: Key, change: Mapping[str, Any], subresource: str = "") -> Body:
        """A JSON merge patch (RFC 7386), of a subresource that part alone. Raises Refused."""
        old = self.get(key)
        wanted = (change.get("metadata") or {}).get("resourceVersion")
        if wanted and wanted != old["metadata"]["resourceVersion"]:
            text = "the object has been modified; please apply your changes to the latest version"
            raise Refused(409, "Conflict", text)
        if subresource:
            body = {**old, "status": merged(old.get("status"), change.get("status"))}
        else:
            given = {name: each for name, each in change.items() if name != "status"}
            body = {**merged(old, given)}
        body["metadata"] = {**body["metadata"], "uid": old["metadata"]["uid"]}
        body["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
        if body == old:
            return old  # no change, no new version
        if body.get("spec") != old.get("spec"):
            generation = old["metadata"].get("generation", 1) + 1
            body["metadata"]["generation"] = generation
        return self.keep(key, body)

    def replace(self, key: Key, body: Mapping[str, Any]) -> Body:
        old = self.get(key)
        if body["metadata"].get("resourceVersion") not in (
            None,
            old["metadata"]["resourceVersion"],
        ):
            raise Refused(409, "Conflict", "the object has been modified")
        return self.keep(key, {**body, "metadata": dict(old["metadata"])})

    def delete(self, key: Key) -> Body:
        self.get(key)
        return self.keep(key, None)


def note(body: Body | None, name: str) -> str:
    """An annotation, "" for none."""
    return str(((body or {}).get("metadata", {}).get("annotations") or {}).get(name) or "")


def state_of(body: Body | None, name: str) -> dict[str, Any]:
    """An annotation that holds a JSON object, {} for none."""
    return dict(json.loads(note(body, name) or "{}"))
