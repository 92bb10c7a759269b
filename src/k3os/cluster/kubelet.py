"""Speaking to the cluster as this node: with the kubelet's own identity, which k3s makes.

It may change its own Node and read what runs there, nothing else (kubernetes.io, "Using Node
Authorization"; the admission plugin NodeRestriction), so a node needs no other secret. Format: a
kubeconfig (kubernetes.io, "Organizing Cluster Access Using kubeconfig Files") that names files.
"""

from __future__ import annotations

import json

from k3os.errors import UserError
from k3os.system.http_mutual import Identity, NoAnswer, request

KUBECONFIG = "/var/lib/rancher/k3s/agent/kubelet.kubeconfig"
MERGE = "application/merge-patch+json"
# a list of maps is merged by their `type`
STRATEGIC = "application/strategic-merge-patch+json"
# while k3s starts: it does not know our certificate yet, or not our node
UNAUTHORIZED, NOT_FOUND = 401, 404
BUSY = frozenset((408, 409, 425, 429))


class NotYet(UserError):
    """The API server answers that it is not ready."""

    exit_code = NoAnswer.exit_code


class Unfinished(UserError):
    """k3s may still be at work on it; it may also be a mistake."""


# another try may find it ready
LATER = (NoAnswer, NotYet, Unfinished)

# of system-cluster-critical, the lower of the two
CRITICAL = 2_000_000_000


class Api:
    """The API server, and who we are to it."""

    __slots__ = ("identity", "server")

    def __init__(self, server: str, identity: Identity) -> None:
        self.server = server.rstrip("/")
        self.identity = identity

    def patch_node(self, name: str, change: object, *, status: bool = False) -> None:
        """Change a Node. Raises UserError with the API server's own words, one of LATER when
        another try is worth it."""
        path = f"/api/v1/nodes/{name}/status" if status else f"/api/v1/nodes/{name}"
        headers = {"Content-Type": STRATEGIC if status else MERGE, "Accept": "application/json"}
        body = json.dumps(change).encode()
        code, answer = request("PATCH", self.server + path, self.identity, body, headers)
        if code in (UNAUTHORIZED, *BUSY) or code >= 500:
            raise NotYet(
                f"the API server is not ready: {code} {_words(answer)}".rstrip(),
                "is k3s running? `journalctl -u k3s`",
            )
        if code >= 300:
            raise (Unfinished if code == NOT_FOUND else UserError)(
                f"the API server refused to change the node {name}: {code} {_words(answer)}",
                "did the node register under another name? `kubectl get nodes`",
            )

    def critical_pods(self, name: str, timeout: float) -> set[str]:
        """The uids of the critical pods of a node (kubernetes.io, "Pod Priority and Preemption":
        the two classes that begin with system-). Raises UserError."""
        url = f"{self.server}/api/v1/pods?fieldSelector=spec.nodeName%3D{name}"
        code, answer = request("GET", url, self.identity, timeout=timeout)
        try:
            if code >= 300:
                raise ValueError
            return {
                pod["metadata"]["uid"]
                for pod in json.loads(answer)["items"]
                if (pod["spec"].get("priority") or 0) >= CRITICAL
            }
        except (ValueError, KeyError, TypeError):
            message = f"the API server lists no pods: {code} {_words(answer)}"
            raise UserError(message, "see `journalctl -u k3s`") from None


def _words(answer: bytes) -> str:
    try:
        return str(json.loads(answer)["message"])
    except (ValueError, KeyError, TypeError):
        return answer[:200].decode(errors="replace")


def api(path: str = KUBECONFIG) -> Api | None:
    """From a kubeconfig; None while k3s has not made it. Raises Unfinished."""
    import yaml

    try:
        with open(path, "rb") as file:
            found = yaml.safe_load(file)
        cluster = found["clusters"][0]["cluster"]
        user = found["users"][0]["user"]
        identity = Identity(
            cluster["certificate-authority"], user["client-certificate"], user["client-key"]
        )
        return Api(cluster["server"], identity)
    except FileNotFoundError:
        return None
    except (OSError, yaml.YAMLError, KeyError, IndexError, TypeError) as error:
        raise Unfinished(
            f"is no kubeconfig that names its files: {type(error).__name__}: {error}",
            "restart k3s, which writes it",
            path,
        ) from error
