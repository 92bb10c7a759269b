"""Simulated nodes: does what a kubelet and `k3os apply` would do, only through the API.

Works on any cluster without machines for these nodes. It watches for the Jobs' pods on its nodes,
reads the request like the payload, and answers like `k3os apply`; each node has a fate.
"""

import base64
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx2
from lightkube import ApiError, Client, KubeConfig
from lightkube.generic_resource import create_global_resource, create_namespaced_resource
from lightkube.types import PatchType

from k3os import names
from k3os.cluster.impact import fragment_hash
from k3os.cluster.request import parse, remaining
from k3os.cluster.views import REQUEST_LABEL
from k3os.generation.versions import is_older

Node: Any = create_global_resource("", "v1", "Node", "nodes")
Pod: Any = create_namespaced_resource("", "v1", "Pod", "pods")
Secret: Any = create_namespaced_resource("", "v1", "Secret", "secrets")
NodeLease: Any = create_namespaced_resource("coordination.k8s.io", "v1", "Lease", "leases")

FINE, ROLLS_BACK, NO_SUCH_VERSION, NEVER_BACK = FATES = (
    *("fine", "rolls back", "there is no such version", "never comes back"),
)
GONE = (404, 409, 410)  # the object, its version, the watch's version
HEARTBEAT = 10.0
LOOK, WATCH = 0.1, 2  # seconds: between retries, and the length of a watch of pods
API_SECONDS = 60.0
TIMEOUT = httpx2.Timeout(60.0)  # of a request, on a busy host
LABEL = "k3os.io/simulated"


@dataclass
class Machine:
    """The state inside a node. boots: how often it has rebooted."""

    name: str
    server: bool = False
    fate: str = FINE
    versions: dict[str, str] = field(
        default_factory=lambda: {"k3os": "v1.0.0", "k3s": "v1.33.0+k3s1"}
    )
    config: dict[str, Any] = field(default_factory=dict)
    config_hash: str = ""  # as given with config
    boots: int = 0
    result: dict[str, Any] = field(default_factory=dict)
    ready: bool = True
    image: str = f"sha256:{'0' * 64}"  # of the operator, "" for none


class Agent:
    """run: the label value of this test's nodes. boot_seconds: how long a boot takes."""

    def __init__(self, config: KubeConfig, run: str, boot_seconds: float = 0.3) -> None:
        self.client = Client(config=config, timeout=TIMEOUT)
        self.run_label, self.boot_seconds = run, boot_seconds
        self.machines: dict[str, Machine] = {}
        self.most_away = 0  # most machines drained or down at the same time
        self.errors: list[str] = []
        self.served: list[str] = []  # requests that a Job brought
        self.told_to_end: list[tuple[float, str]] = []  # pods, and when
        self.crashing: set[str] = set()  # labels `app` of pods that are never ready
        self.end_seconds = 0.0  # how long a pod takes to end
        self.free = threading.Event()  # no Job starts working until this is set
        self.free.set()
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._done: set[str] = set()

    def add(self, machine: Machine) -> None:
        """Register a node, as its kubelet would, and report its state."""
        self.machines[machine.name] = machine
        labels = {LABEL: self.run_label, "kubernetes.io/hostname": machine.name}
        if machine.server:
            labels |= {
                f"node-role.kubernetes.io/{role}": "true" for role in ("control-plane", "etcd")
            }
        taint = {"key": LABEL, "value": "true", "effect": "NoSchedule"}
        meta = {"name": machine.name, "labels": labels}
        self.client.create(Node({"metadata": meta, "spec": {"taints": [taint]}}))
        self.report(machine)

    def report(self, machine: Machine) -> None:
        """Report like `k3os report` and the kubelet's heartbeat."""
        notes = {
            names.K3OS: machine.versions["k3os"],
            names.K3S: machine.versions["k3s"],
            names.CONFIG_HASH: machine.config_hash or fragment_hash(machine.config),
            names.BOOT_ID: str(machine.boots),
            names.TRIAL: "false",
            names.IMAGE: machine.image,
        }
        if machine.result:
            notes[names.LAST_RESULT] = json.dumps(machine.result)
        self._patch(Node, machine.name, {"metadata": {"annotations": notes}})
        conditions = [
            _condition("Ready", machine.ready),
            _condition(names.CONDITION, machine.result.get("state") != names.ROLLED_BACK),
        ]
        self._patch(
            Node.Status,
            machine.name,
            {"status": {"conditions": conditions}},
            patch_type=PatchType.STRATEGIC,
        )

    def _patch(self, kind: Any, name: str, body: Any, **more: Any) -> None:
        more.setdefault("patch_type", PatchType.MERGE)
        self._patiently(lambda: self.client.patch(kind, name, body, **more))

    def _patiently(self, call: Callable[[], Any]) -> Any:
        """Retry while the API server restarts, as a kubelet does."""
        end = time.monotonic() + API_SECONDS
        while True:
            try:
                return call()
            except (httpx2.TransportError, OSError):
                if time.monotonic() > end or self._stop.is_set():
                    raise
                self._stop.wait(0.2)

    def start(self) -> None:
        for work in (self._watch_pods, self._heartbeat):
            self._begin(self._keep_on, work)

    def _begin(self, work: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def stop_soon(self) -> None:
        self._stop.set()
        self.free.set()

    def stop(self) -> None:
        """Stop, and close the connections after all threads have ended: the file descriptor of a
        socket that is closed under a reader is soon reused."""
        self.stop_soon()
        for thread in self._threads:
            thread.join(API_SECONDS)
        self.client.close()

    def _keep_on(self, work: Callable[[], float]) -> None:
        """Call work repeatedly; it returns the seconds to wait before the next call."""
        pause = 0.0
        while not self._stop.wait(pause):
            try:
                pause = work()
            except (httpx2.HTTPError, OSError) as error:
                # the API server restarts in some tests; other errors fail the test at the end
                if isinstance(error, ApiError) and error.status.code not in GONE:
                    self.errors.append(f"{work.__name__}: {error}")
                pause = LOOK

    def _watch_pods(self) -> float:
        listing = self.client.list(Pod, namespace="*")
        for pod in listing:
            self._see(pod)
        version = str(listing.resourceVersion)
        while not self._stop.is_set():
            for event in self._events(version):
                if event["type"] == "ERROR":  # the version is too old: list again
                    return LOOK
                pod = event["object"]
                version = pod["metadata"]["resourceVersion"]
                if event["type"] in ("ADDED", "MODIFIED"):
                    self._see(pod)
        return 0.0

    def _events(self, version: str) -> Iterator[dict[str, Any]]:
        """A short watch of all pods, so that stopping need not interrupt it."""
        http = self.client._client._client  # lightkube's own watch does not end
        wanted = {"watch": "true", "resourceVersion": version, "timeoutSeconds": str(WATCH)}
        with http.stream("GET", "/api/v1/pods", params=wanted) as answer:
            answer.raise_for_status()
            for line in answer.iter_lines():
                yield json.loads(line)
                if self._stop.is_set():
                    return

    def _see(self, pod: dict[str, Any]) -> None:
        meta = pod["metadata"]
        if (pod.get("spec") or {}).get("nodeName", "") not in self.machines:
            return
        if meta.get("deletionTimestamp"):
            self._end(meta["namespace"], meta["name"])
        elif REQUEST_LABEL in (meta.get("labels") or {}):
            if meta["uid"] not in self._done:
                self._done.add(meta["uid"])
                self._look()
                self._begin(self._serve, dict(pod))
        elif (pod.get("status") or {}).get("phase", "Pending") == "Pending":
            self.run(pod)

    def run(self, pod: dict[str, Any]) -> None:
        """Mark a pod Running, and Ready (budgets only protect Ready pods) unless it crashes."""
        meta = pod["metadata"]
        well = (meta.get("labels") or {}).get("app") not in self.crashing
        names_of = [each["name"] for each in pod["spec"]["containers"]]
        state = {"running": {}} if well else {"waiting": {"reason": "CrashLoopBackOff"}}
        status = {"image": "k3os.io/none", "imageID": "", "restartCount": 0, "ready": well}
        containers = [{"name": name, **status, "state": state} for name in names_of]
        body = {"phase": "Running", "conditions": [_condition("Ready", well)]}
        body |= {"containerStatuses": containers}
        self._patch(Pod.Status, meta["name"], {"status": body}, namespace=meta["namespace"])

    def _look(self) -> None:
        """Record how many of our nodes take no pods now."""
        labels = {LABEL: self.run_label}
        nodes = self._patiently(lambda: list(self.client.list(Node, labels=labels)))
        away = [
            each
            for each in nodes
            if (each.get("spec") or {}).get("unschedulable")
            or not self.machines[each["metadata"]["name"]].ready
        ]
        self.most_away = max(self.most_away, len(away))

    def _end(self, namespace: str, name: str) -> None:
        """End a terminating pod, in place of a kubelet."""
        if name in (known for _, known in self.told_to_end):
            return
        self.told_to_end.append((time.monotonic(), name))
        self._begin(self._ended, namespace, name)

    def _ended(self, namespace: str, name: str) -> None:
        self._stop.wait(self.end_seconds)
        try:
            self._patiently(
                lambda: self.client.delete(Pod, name, namespace=namespace, grace_period=0)
            )
        except (httpx2.HTTPError, OSError) as error:
            gone = isinstance(error, ApiError) and error.status.code in GONE
            if not gone and not self._stop.is_set():
                self.errors.append(f"the end of {name}: {error}")

    def _serve(self, pod: dict[str, Any]) -> None:
        """Do the work of one Job's container."""
        try:
            machine = self.machines[pod["spec"]["nodeName"]]
            request = parse(self._request(pod))
            self.served.append(request.id)
            self.free.wait(API_SECONDS)
            answer = self.apply(machine, request)
            self._finish(pod, request.id, answer)
            if answer["state"] == names.REBOOTING:
                self._boot(machine, request)
        except (httpx2.HTTPError, OSError, KeyError) as error:
            # deleting a Job also deletes its pod and its request
            gone = isinstance(error, ApiError) and error.status.code in GONE
            if not gone and not self._stop.is_set():
                self.errors.append(f"{pod['metadata']['name']}: {type(error).__name__} {error}")

    def _request(self, pod: dict[str, Any]) -> bytes:
        name = pod["spec"]["volumes"][0]["secret"]["secretName"]
        where = pod["metadata"]["namespace"]
        found = self._patiently(lambda: self.client.get(Secret, name, namespace=where))
        return base64.b64decode(found["data"]["request.json"])

    def apply(self, machine: Machine, request: Any) -> dict[str, Any]:
        """Do what `k3os apply` does, and return its answer."""
        known = machine.result
        if known.get("request") == request.id and not request.dry_run:
            return {"state": known["state"], "message": known["message"]}
        if machine.fate == NO_SUCH_VERSION:
            return {"state": names.FAILED, "message": "https://…: 404 Not Found"}
        older = [
            f"{name} {wanted.version} is older than {machine.versions[name]}"
            for name, wanted in (("k3os", request.k3os), ("k3s", request.k3s))
            if wanted and is_older(wanted.version, machine.versions[name])
        ]
        if older and not request.rollback:
            return {"state": names.FAILED, "message": older[0]}
        work = remaining(request, machine.versions, machine.config)
        if request.dry_run:
            return {"state": "Planned", "message": ""}
        if work.reboot and not request.reboot:
            return {"state": "RebootRequired", "message": ""}
        if work.reboot or work.k3s:
            return {"state": names.REBOOTING, "message": ""}
        machine.config = dict(request.config)
        machine.config_hash = request.config_hash
        machine.result = _result(request.id, names.SUCCEEDED)
        self.report(machine)
        return {"state": names.SUCCEEDED if not work.is_nothing else "NoChange", "message": ""}

    def _finish(self, pod: dict[str, Any], request: str, answer: dict[str, Any]) -> None:
        failed = answer["state"] in (names.FAILED, names.ROLLED_BACK)
        text = json.dumps({"id": request, **answer})
        ended = {"exitCode": int(failed), "reason": "Completed", "message": text}
        container = pod["spec"]["containers"][0]
        status = {"name": container["name"], "image": container["image"], "imageID": ""}
        status |= {"ready": False, "restartCount": 0, "state": {"terminated": ended}}
        body = {"phase": "Failed" if failed else "Succeeded", "containerStatuses": [status]}
        meta = pod["metadata"]
        self._patch(Pod.Status, meta["name"], {"status": body}, namespace=meta["namespace"])

    def _boot(self, machine: Machine, request: Any) -> None:
        machine.ready = False
        self._look()
        self.report(machine)
        self._stop.wait(self.boot_seconds)
        if machine.fate == NEVER_BACK:
            return
        machine.boots += 1
        if machine.fate == ROLLS_BACK:
            machine.result = _result(request.id, names.ROLLED_BACK, "k3s is not ready: refused")
        else:
            for name, wanted in (("k3os", request.k3os), ("k3s", request.k3s)):
                if wanted is not None:
                    machine.versions[name] = wanted.version
            machine.config = dict(request.config)
            machine.config_hash = request.config_hash
            machine.result = _result(request.id, names.SUCCEEDED)
        machine.ready = True
        self.report(machine)

    def restart(self, machine: Machine) -> None:
        """Reboot, as `systemctl reboot` on the machine does."""
        self._begin(self._restart, machine)

    def _restart(self, machine: Machine) -> None:
        machine.ready = False
        self.report(machine)
        self._stop.wait(self.boot_seconds)
        machine.boots += 1
        machine.ready = True
        self.report(machine)

    def _heartbeat(self) -> float:
        """Renew the nodes' leases, so that a real cluster does not consider them dead."""
        for name in list(self.machines):
            meta = {"name": name, "namespace": "kube-node-lease", "labels": {LABEL: self.run_label}}
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())
            spec = {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": stamp}
            try:
                self._patch(NodeLease, name, {"spec": spec}, namespace=meta["namespace"])
            except ApiError as error:
                if error.status.code != 404:
                    raise
                self.client.create(
                    NodeLease({"metadata": meta, "spec": spec}), namespace=meta["namespace"]
                )
        return HEARTBEAT


def _condition(kind: str, holds: bool) -> dict[str, str]:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    status = "True" if holds else "False"
    return {"type": kind, "status": status, "reason": "Simulated", "message": kind} | {
        "lastHeartbeatTime": stamp,
        "lastTransitionTime": stamp,
    }


def _result(request: str, state: str, message: str = "") -> dict[str, Any]:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {"request": request, "state": state, "message": message, "when": stamp}


def fresh_run() -> str:
    """A label value that no other test run has."""
    return f"r{uuid.uuid4().hex[:8]}"
