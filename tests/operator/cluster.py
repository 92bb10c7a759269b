"""A real cluster for the tests: creates what they need there, and removes it afterwards.

Waits until deleted objects are gone: in a real cluster that takes time, and controllers do it for
Jobs and namespaces. Pods of simulated nodes are force-deleted, because no kubelet ends them.
"""

import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from lightkube import ApiError, Client, KubeConfig
from lightkube.core.exceptions import ConfigError
from lightkube.generic_resource import create_global_resource
from lightkube.types import CascadeType

from k3os import names
from k3os.cluster.node_pod import NODE_ACCOUNT
from k3os.operator import admission_policy, crd, manifests
from tests.operator import rights
from tests.operator.agent import LABEL, TIMEOUT, Agent, Node, NodeLease, Pod, Secret, fresh_run
from tests.operator.world import (
    PATIENCE,
    Budget,
    ConfigMap,
    ControllerRevision,
    Definition,
    Deployment,
    Event,
    Job,
    Lease,
    Namespace,
    NodePool,
    ReplicaSet,
    ServiceAccount,
    World,
    ended,
    pace,
)

POLICIES: tuple[Any, ...] = tuple(
    create_global_resource(admission_policy.GROUP, "v1", kind, plural)
    for kind, plural in (
        ("ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings"),
        ("ValidatingAdmissionPolicy", "validatingadmissionpolicies"),
    )
)
NEEDED = (
    "an API server and a controller manager, no nodes: kube-apiserver and kube-controller-manager "
    "with etcd (Debian: etcd-server), or `k3s server --disable-agent`"
)
# what the operator makes for itself in a cluster, in any test
OF_OPERATOR: tuple[tuple[Any, str, dict[str, str]], ...] = (
    *((kind, admission_policy.NAME, {}) for kind in POLICIES),
    (Secret, "k3os-seals", {"namespace": names.NAMESPACE}),  # secret_reader.KEY
    (Lease, manifests.NAME, {"namespace": names.NAMESPACE}),
)
# what a test makes, directly or indirectly, in the order in which it can be deleted
KINDS = (
    *((NodePool, ""), (Job, names.NAMESPACE), (Secret, names.NAMESPACE)),
    (ControllerRevision, names.NAMESPACE),
    *((Deployment, "default"), (ReplicaSet, "default")),
    *((Pod, names.NAMESPACE), (Pod, "default"), (Budget, "default"), (ConfigMap, "default")),
    *((Node, ""), (NodeLease, "kube-node-lease"), (Event, "default"), (Event, names.NAMESPACE)),
)


@dataclass(frozen=True)
class RealCluster:
    """admin: the given kubeconfig. operator: a kubeconfig for the operator's own account."""

    admin: str
    operator: Path


@contextmanager
def real_cluster(kubeconfig: str, directory: Path) -> Iterator[RealCluster]:
    """Create what is missing, and remove only that at the end. Kubernetes' controllers leave Events
    about the removed nodes, which expire after an hour."""
    client = _client(kubeconfig)
    if others := _replicas(client):
        raise RuntimeError(
            f"{others} operators run in this cluster already; first call "
            f"`kubectl -n {names.NAMESPACE} scale deployment {manifests.NAME} --replicas 0`"
        )
    made: list[tuple[Any, Mapping[str, Any]]] = []
    account = {"metadata": {"name": NODE_ACCOUNT, "namespace": names.NAMESPACE}}
    wanted = ((Namespace, manifests.namespace()), (Definition, crd.definition()))
    strange = [each for each in OF_OPERATOR if not _is_there(client, *each[:2], **each[2])]
    try:
        for kind, body in (*wanted, (ServiceAccount, account), *rights.objects()):
            _wait_for_room(client, kind, body)
            try:
                client.create(kind(body), **_within(body))
                made.append((kind, body))
            except ApiError as error:
                if error.status.code != 409:
                    raise
        until("NodePools are served", lambda: _is_established(client))
        remove(client, LABEL)
        yield RealCluster(
            kubeconfig, rights.kubeconfig(client, kubeconfig, directory / "operator.kubeconfig")
        )
        remove(client, LABEL)
    finally:
        for kind, name, where in strange:
            delete(client, kind, name, **where)
        for kind, body in reversed(made):
            delete(client, kind, body["metadata"]["name"], **_within(body))
        for kind, body in reversed(made):
            _wait_for_end(client, kind, body)
        client.close()


def _is_established(client: Any) -> bool:
    found = client.get(Definition, crd.definition()["metadata"]["name"])
    conditions = (found.get("status") or {}).get("conditions") or []
    return any((each["type"], each["status"]) == ("Established", "True") for each in conditions)


def _client(kubeconfig: str) -> Any:
    """A client for a cluster. Raises RuntimeError if the cluster lacks what the tests need."""
    try:
        client = Client(config=KubeConfig.from_file(kubeconfig), timeout=TIMEOUT)
        client.get(Namespace, "default")
    except (ConfigError, OSError, httpx2.TransportError) as error:
        raise RuntimeError(f"{kubeconfig}: {error}; these tests need {NEEDED}") from error
    try:
        # every pod needs it
        until("", lambda: _is_there(client, ServiceAccount, "default", namespace="default"), 60)
    except TimeoutError:
        text = f"{kubeconfig}: no controllers run; these tests need {NEEDED}"
        raise RuntimeError(text) from None
    return client


def _replicas(client: Any) -> int:
    try:
        found = client.get(Deployment, manifests.NAME, namespace=names.NAMESPACE)
    except ApiError as error:
        if error.status.code != 404:
            raise
        return 0
    return int(found["spec"].get("replicas", 1))


@contextmanager
def real_world(cluster: RealCluster, directory: Path) -> Iterator[World]:
    """A World in a cluster that real_cluster has prepared."""
    config = KubeConfig.from_file(cluster.admin)
    run = fresh_run()
    agent, client = Agent(config, run), Client(config=config, timeout=TIMEOUT)
    found = World(client, agent, cluster.operator, directory, run)
    agent.start()
    try:
        yield found
    finally:
        _stop(found.process)
        agent.stop()
        remove(client, run)
        # so that the next operator need not wait for the lease of a killed one
        delete(client, Lease, manifests.NAME, namespace=names.NAMESPACE)
        client.close()


def _stop(process: subprocess.Popen[bytes] | None) -> None:
    """Stop a process as Kubernetes does: SIGTERM, later SIGKILL."""
    if process is not None and process.poll() is None:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            ended(process)


def remove(client: Any, mark: str) -> None:
    """Delete everything with this mark in its metadata, and wait until it is gone."""

    def gone() -> bool:
        found = [
            (kind, str(each["metadata"]["name"]), {"namespace": where} if where else {})
            for kind, where in KINDS
            for each in client.list(kind, **({"namespace": where} if where else {}))
            if mark in str(each["metadata"]) or mark in str(each.get("involvedObject"))
        ]
        for kind, name, where in found:
            delete(client, kind, name, **where)
        return not found

    until(f"nothing is left of {mark}", gone)


def delete(client: Any, kind: Any, name: str, **more: Any) -> None:
    """Delete an object and what it owns, unless it is gone already."""
    if kind is Pod:
        more["grace_period"] = 0
    try:
        client.delete(kind, name, cascade=CascadeType.BACKGROUND, **more)
    except (ApiError, httpx2.HTTPStatusError) as error:
        if error.response.status_code not in (404, 409):
            raise


def until(what: str, holds: Callable[[], object], seconds: float = PATIENCE) -> None:
    began = time.monotonic()
    while not holds():
        waited = time.monotonic() - began
        if waited > seconds and waited > seconds * pace():
            raise TimeoutError(f"not within {waited:.0f} s: {what}")
        time.sleep(0.2)


def _is_there(client: Any, kind: Any, name: str, **where: str) -> bool:
    try:
        client.get(kind, name, **where)
    except (ApiError, httpx2.HTTPStatusError) as error:  # an old cluster may not know the kind
        if error.response.status_code != 404:
            raise
        return False
    return True


def _wait_for_room(client: Any, kind: Any, body: dict[str, Any]) -> None:
    """Wait until an object that an earlier run has deleted is gone."""
    name, where = body["metadata"]["name"], _within(body)

    def there_is() -> bool:
        if not _is_there(client, kind, name, **where):
            return True
        return not client.get(kind, name, **where)["metadata"].get("deletionTimestamp")

    until(f"{name}, which an earlier run has deleted, is gone", there_is)


def _wait_for_end(client: Any, kind: Any, body: dict[str, Any]) -> None:
    name, where = body["metadata"]["name"], _within(body)
    until(f"{name} is gone", lambda: not _is_there(client, kind, name, **where))


def _within(body: dict[str, Any]) -> dict[str, str]:
    namespace = body["metadata"].get("namespace")
    return {"namespace": namespace} if namespace else {}
