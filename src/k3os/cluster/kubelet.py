"""Talks to the cluster as this node, with the kubelet's own identity, which k3s creates.

It may change its own Node, read and delete its own pods, and nothing else (kubernetes.io, "Using
Node Authorization"; the admission plugin NodeRestriction), so a node needs no other secret. Format:
a kubeconfig ("Organizing Cluster Access Using kubeconfig Files") that refers to files.
"""

from __future__ import annotations

import json

from k3os.cluster.objects import maps
from k3os.errors import UserError
from k3os.paths import K3S_DATA
from k3os.system.http_mutual import Connection, Identity, NoAnswer, request
from k3os.system.json_text import WRONG_SHAPE, repaired

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeGuard

# k3os-report.service uses the same path
KUBECONFIG = f"{K3S_DATA}/agent/kubelet.kubeconfig"
MERGE = "application/merge-patch+json"
# merges a list of maps by their `type`
STRATEGIC = "application/strategic-merge-patch+json"
# while k3s starts, it may not know our certificate or our node yet
UNAUTHORIZED, FORBIDDEN, NOT_FOUND = 401, 403, 404
# k8s.io/apiserver: the caches of the admission plugins are still empty; and the authorizer's
# message, whose rules may be missing yet, too
NOT_READY, NOT_ALLOWED = "not yet ready to handle request", '" cannot '
BUSY = frozenset((408, 409, 425, 429))


class NotYet(UserError):
    """The API server answers that it is not ready."""

    exit_code = NoAnswer.exit_code


class Unfinished(UserError):
    """k3s may still be working on it; or something is misconfigured."""


# worth another try
LATER = (NoAnswer, NotYet, Unfinished)

# the priority of system-cluster-critical, the lower of the two
CRITICAL = 2_000_000_000
# reasons of pods that the kubelet ended or refused during a shutdown
SHUTDOWN = ("Terminated", "Shutdown", "NodeShutdown")


class Api:
    """The API server and our identity. As a context manager, it uses one connection for all."""

    __slots__ = ("connection", "identity", "server")

    def __init__(self, server: str, identity: Identity) -> None:
        self.server = server.rstrip("/")
        self.identity = identity
        self.connection: Connection | None = None

    def __enter__(self) -> Api:
        """Connect first, so that nothing is collected for a server that is not there. Raises
        UserError, one of LATER if another try is worth it."""
        connection = Connection(self.server, self.identity)
        connection.open()
        self.connection = connection
        return self

    def __exit__(self, *_: object) -> None:
        if self.connection is not None:
            self.connection.close()
        self.connection = None

    def node(self, name: str) -> dict[str, Any]:
        """A Node as it is. Raises UserError like patch_node."""
        return self._node("GET", f"/api/v1/nodes/{name}", name)

    def patch_node(self, name: str, change: object, *, status: bool = False) -> dict[str, Any]:
        """Change a Node and return the result. Raises UserError with the API server's own message,
        one of LATER if another try is worth it."""
        path = f"/api/v1/nodes/{name}/status" if status else f"/api/v1/nodes/{name}"
        headers = {"Content-Type": STRATEGIC if status else MERGE, "Accept": "application/json"}
        return self._node("PATCH", path, name, json.dumps(change).encode(), headers)

    def _node(
        self,
        method: str,
        path: str,
        name: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        url = self.server + path
        code, answer = request(method, url, self.identity, body, headers, over=self.connection)
        words = _words(answer)
        coming_up = code == FORBIDDEN and NOT_READY in words
        if code in (UNAUTHORIZED, *BUSY) or code >= 500 or coming_up:
            raise NotYet(
                f"the API server is not ready: {code} {words}".rstrip(),
                "is k3s running? `journalctl -u k3s`",
            )
        if code >= 300:
            verb = "show" if method == "GET" else "change"
            unfinished = code == NOT_FOUND or (code == FORBIDDEN and NOT_ALLOWED in words)
            raise (Unfinished if unfinished else UserError)(
                f"the API server refused to {verb} the node {name}: {code} {words}",
                "did the node register under another name? `kubectl get nodes`",
            )
        try:
            return repaired(answer)
        except ValueError as error:
            message = f"the API server's answer is not a Node: {error}"
            raise NotYet(message, "see `journalctl -u k3s`") from None

    def pods(self, name: str, timeout: float, phase: str = "") -> list[dict[str, Any]]:
        """The pods of this node, all or those in a phase. Raises UserError."""
        selected = f"spec.nodeName%3D{name}" + (f",status.phase%3D{phase}" if phase else "")
        url = f"{self.server}/api/v1/pods?fieldSelector={selected}"
        code, answer = request("GET", url, self.identity, timeout=timeout)
        try:
            if code >= 300:
                raise ValueError
            found = [each for each in repaired(answer)["items"] if is_pod(each)]
        except WRONG_SHAPE:
            message = f"the API server lists no pods: {code} {_words(answer)}"
            raise UserError(message, "see `journalctl -u k3s`") from None
        return found

    def delete_pod(self, namespace: str, name: str, uid: str) -> None:
        """Delete a pod of this node, unless its uid has changed. Raises UserError."""
        url = f"{self.server}/api/v1/namespaces/{namespace}/pods/{name}"
        body = json.dumps({"preconditions": {"uid": uid}}).encode()
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        code, answer = request("DELETE", url, self.identity, body, headers)
        if code >= 300 and code not in (404, 409):
            message = f"the API server does not delete {namespace}/{name}: {code} {_words(answer)}"
            raise UserError(message, "see `journalctl -u k3s`")


def is_pod(value: object) -> bool:
    """Whether it has the parts of a pod that we use: a name, a uid, and maps."""
    if not _is_map(value) or not all(_is_map(value.get(name)) for name in ("spec", "status")):
        return False
    meta = value.get("metadata")
    return _is_map(meta) and all(isinstance(meta.get(n), str) for n in ("namespace", "name", "uid"))


def _is_map(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def is_critical(pod: dict[str, Any]) -> bool:
    """kubernetes.io, "Pod Priority and Preemption": of one of the classes system-…"""
    priority = pod["spec"].get("priority")
    return isinstance(priority, int) and priority >= CRITICAL


def is_replaced(pod: dict[str, Any]) -> bool:
    """Whether a shutdown ended it and a replacement exists: true for pods of a Deployment; other
    controllers remove theirs themselves."""
    status, meta = pod["status"], pod["metadata"]
    listed = maps(meta.get("ownerReferences"))
    owners = [each.get("kind") for each in listed if each.get("controller")]
    return (
        str(status.get("reason")) in SHUTDOWN
        and "shut" in str(status.get("message"))
        and owners == ["ReplicaSet"]
    )


def _words(answer: bytes) -> str:
    try:
        return str(repaired(answer)["message"])
    except (ValueError, KeyError):
        return answer[:200].decode(errors="replace")


def api(path: str = KUBECONFIG) -> Api | None:
    """From a kubeconfig; None until k3s has created it. Raises Unfinished."""
    from k3os.config.yamltext import texts_in

    try:
        with open(path, "rb") as file:
            kubeconfig = texts_in(file.read(), "line")
        cluster = kubeconfig["clusters"][0]["cluster"]
        user = kubeconfig["users"][0]["user"]
        identity = Identity(
            cluster["certificate-authority"], user["client-certificate"], user["client-key"]
        )
        return Api(cluster["server"], identity)
    except FileNotFoundError:
        return None
    except (OSError, *WRONG_SHAPE) as error:
        raise Unfinished(
            f"is not a kubeconfig that names its files: {type(error).__name__}: {error}",
            "restart k3s, which writes it",
            path,
        ) from error
