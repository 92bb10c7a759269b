"""The world of an operator test: an API, simulated nodes, and the operator as a process."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import httpx2
from lightkube import ApiError, Client, KubeConfig
from lightkube.generic_resource import create_global_resource, create_namespaced_resource
from lightkube.types import PatchType

from k3os import names
from k3os.operator import crd, manifests
from tests.operator.agent import (
    LABEL,
    TIMEOUT,
    Agent,
    Machine,
    Node,
    NodeLease,
    Pod,
    Secret,
    fresh_run,
)
from tests.operator.emulator import OPERATOR, TESTER, Emulator, Running, emulated

ROOT = Path(__file__).parents[2]
NodePool: Any = create_global_resource(names.GROUP, names.VERSION, names.KIND, names.PLURAL)
Job: Any = create_namespaced_resource("batch", "v1", "Job", "jobs")
Event: Any = create_namespaced_resource("", "v1", "Event", "events")
ConfigMap: Any = create_namespaced_resource("", "v1", "ConfigMap", "configmaps")
Budget: Any = create_namespaced_resource(
    *("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets"),
)
Attachment: Any = create_global_resource(
    *("storage.k8s.io", "v1", "VolumeAttachment", "volumeattachments"),
)
Definition: Any = create_global_resource(
    "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions"
)
Deployment: Any = create_namespaced_resource("apps", "v1", "Deployment", "deployments")
ReplicaSet: Any = create_namespaced_resource("apps", "v1", "ReplicaSet", "replicasets")
ControllerRevision: Any = create_namespaced_resource(
    "apps", "v1", "ControllerRevision", "controllerrevisions"
)
Namespace: Any = create_global_resource("", "v1", "Namespace", "namespaces")
Lease = NodeLease
ServiceAccount: Any = create_namespaced_resource("", "v1", "ServiceAccount", "serviceaccounts")

# for tests in which one operator takes over from another; others tolerate a host that stalls
LEASE_SECONDS = 3
# PATIENCE: time limit for slow hosts and real clusters; extended if the operator takes longer than
# START_SECONDS to start, which it takes on an idle host
PATIENCE, START_SECONDS = 180.0, 3.0
URL = "https://releases.example.com"


@dataclass
class World:
    """emulator: None on a real cluster. run: marks everything that this test makes."""

    client: Any
    agent: Agent
    kubeconfig: Path
    directory: Path
    run: str
    emulator: Emulator | None = None
    api: Running | None = None
    process: subprocess.Popen[bytes] | None = None
    lease_seconds: int = 15

    # the operator

    def start(
        self, port: int = 0, log_format: str = "text", home: str = "", pod: str = ""
    ) -> subprocess.Popen[bytes]:
        """Start an operator process, which logs to a file. home, pod: as if it ran on that node,
        in that pod."""
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig)}
        environment |= {"NODE_NAME": home, "POD_NAME": pod}
        command = [sys.executable, "-m", "k3os", "operator", "run", "--port", str(port)]
        command += ["--lease-seconds", str(self.lease_seconds), "--log-format", log_format]
        with open(self.directory / "operator.log", "ab") as log:
            self.process = subprocess.Popen(
                command, env=environment, stdout=log, stderr=log, cwd=ROOT / "src"
            )
        return self.process

    def kill(self) -> None:
        assert self.process is not None
        ended(self.process)

    def end(self, process: subprocess.Popen[bytes] | None = None) -> int:
        """Stop it as Kubernetes does. process: if it is not the last one."""
        process = process or self.process
        assert process is not None
        process.send_signal(signal.SIGTERM)
        return process.wait(PATIENCE)

    @property
    def log(self) -> str:
        """The log of all operator processes; "" before the first."""
        path = self.directory / "operator.log"
        return path.read_text() if path.exists() else ""

    # objects

    def _meta(self, name: str, labels: dict[str, str] | None = None) -> dict[str, Any]:
        """Metadata with the label by which the object is found and removed."""
        return {"name": name, "labels": {LABEL: self.run, **(labels or {})}}

    def nodes(self, *names_of: str, servers: int = 0, **more: Any) -> list[str]:
        """Register machines. more: fields of Machine. Returns their full names."""
        machines = [Machine(f"{self.run}-s{n}", server=True, **more) for n in range(servers)]
        machines += [Machine(f"{self.run}-{name}", **more) for name in names_of]
        for machine in machines:
            self.agent.add(machine)
        return [machine.name for machine in machines]

    def machine(self, name: str) -> Machine:
        return self.agent.machines[f"{self.run}-{name}"]

    def node(self, name: str) -> dict[str, Any]:
        return dict(self.client.get(Node, f"{self.run}-{name}"))

    def pool(self, name: str = "pool", **spec: Any) -> str:
        """A NodePool over this test's nodes."""
        full = f"{self.run}-{name}"
        spec.setdefault("nodeSelector", {"matchLabels": {LABEL: self.run}})
        self.client.create(NodePool({"metadata": self._meta(full), "spec": spec}))
        return full

    def change(self, name: str, **spec: Any) -> None:
        body = {"spec": spec}
        self.client.patch(NodePool, f"{self.run}-{name}", body, patch_type=PatchType.MERGE)

    def status(self, name: str = "pool") -> dict[str, Any]:
        return dict(self.client.get(NodePool, f"{self.run}-{name}")).get("status") or {}

    def condition(self, kind: str, name: str = "pool") -> dict[str, Any]:
        listed = self.status(name).get("conditions") or []
        return next((each for each in listed if each["type"] == kind), {})

    def pod(
        self,
        name: str,
        node: str,
        labels: dict[str, str] | None = None,
        *,
        priority: str = "",
        drain: str = "",
        controller: str = "ConfigMap",
    ) -> None:
        """A pod on a node, with a controller, so that a drain moves it. priority: its class; drain:
        the value of its drain annotation."""
        owner_name = f"{self.run}-owner"
        try:
            owner = self.client.get(ConfigMap, owner_name, namespace="default")
        except ApiError:
            owner = self.client.create(
                ConfigMap({"metadata": self._meta(owner_name)}), namespace="default"
            )
        reference = {"apiVersion": "v1", "kind": controller, "name": owner_name}
        reference |= {"uid": owner["metadata"]["uid"], "controller": True}
        meta = self._meta(f"{self.run}-{name}", labels) | {"ownerReferences": [reference]}
        meta |= {"annotations": {names.DRAIN: drain}} if drain else {}
        container = {"name": "main", "image": "k3os.io/none"}
        spec = {"nodeName": f"{self.run}-{node}", "containers": [container]}
        spec["tolerations"] = [{"operator": "Exists"}]
        spec |= {"priorityClassName": priority} if priority else {}
        self.client.create(Pod({"metadata": meta, "spec": spec}), namespace="default")
        self.until(lambda: self._runs(meta["name"]))

    def _runs(self, name: str) -> bool:
        found = self.client.get(Pod, name, namespace="default")
        return (found.get("status") or {}).get("phase") == "Running"

    def pods(self) -> set[str]:
        """The names of this test's pods."""
        listed = self.client.list(Pod, namespace="default", labels={LABEL: self.run})
        return {str(each["metadata"]["name"]).removeprefix(f"{self.run}-") for each in listed}

    def attach(self, name: str, node: str) -> None:
        """Attach a volume, as its driver would."""
        source = {"persistentVolumeName": name}
        spec = {"nodeName": f"{self.run}-{node}", "attacher": "driver.longhorn.io"}
        meta = self._meta(f"{self.run}-{name}")
        self.client.create(Attachment({"metadata": meta, "spec": {**spec, "source": source}}))

    def detach(self, name: str) -> None:
        self.client.delete(Attachment, f"{self.run}-{name}")

    def budget(self, name: str, labels: dict[str, str], **more: Any) -> None:
        spec = {"selector": {"matchLabels": labels}} | (more or {"maxUnavailable": 0})
        meta = self._meta(f"{self.run}-{name}")
        self.client.create(Budget({"metadata": meta, "spec": spec}), namespace="default")

    def events(self, reason: str) -> list[str]:
        """Messages of Events with this reason about this test's objects."""
        listed = self.client.list(Event, namespace="*")
        return [
            each["message"]
            for each in listed
            if each.get("reason") == reason and self.run in each["involvedObject"]["name"]
        ]

    def requests(self, *kinds: Any) -> list[dict[str, Any]]:
        """The objects of this test's requests to nodes: Jobs, Secrets, pods."""
        return [
            dict(each)
            for kind in kinds or (Job, Secret, Pod)
            for each in self.client.list(kind, namespace=names.NAMESPACE)
            if self.run in str(each["metadata"].get("annotations"))
        ]

    # waiting

    def until(self, holds: Callable[[], object], seconds: float = PATIENCE) -> Any:
        """Call holds() until it returns something true, and return that. Raises AssertionError with
        the operator's log."""
        began = time.monotonic()
        while time.monotonic() < began + seconds or time.monotonic() < began + seconds * pace():
            try:
                if found := holds():
                    return found
            except (OSError, httpx2.TransportError, ApiError):
                pass  # the API server restarts in some tests; the time limit catches the rest
            time.sleep(0.05)
        waited = time.monotonic() - began
        raise AssertionError(f"not within {waited:.0f} s; the operator says:\n{self.log[-6000:]}")

    def until_phase(self, phase: str, name: str = "pool", seconds: float = PATIENCE) -> None:
        def there() -> bool:
            found = self.status(name)
            return bool(found.get("phase") == phase and found["observedGeneration"])

        self.until(there, seconds)

    def untouched(self) -> bool:
        """Whether no node of this test is cordoned or marked as being changed."""
        for name in self.agent.machines:
            body = dict(self.client.get(Node, name))
            notes = body["metadata"].get("annotations") or {}
            if body.get("spec", {}).get("unschedulable") or names.ROLLOUT in notes:
                return False
        return True


@cache
def pace() -> float:
    """How much slower than an idle host this one is, at least 1. Slow: call it only after waiting
    in vain."""
    began = time.monotonic()
    program = [sys.executable, "-c", "import k3os.operator.app"]
    subprocess.run(program, cwd=ROOT / "src", check=True)
    return max(1.0, (time.monotonic() - began) / START_SECONDS)


@contextmanager
def emulated_world(directory: Path) -> Iterator[World]:
    with emulated() as api:
        api.server.rules = rights()
        kubeconfig = api.kubeconfig(directory / "operator.kubeconfig", OPERATOR)
        config = KubeConfig.from_file(api.kubeconfig(directory / "tester.kubeconfig", TESTER))
        run = fresh_run()
        agent = Agent(config, run)
        client = Client(config=config, timeout=TIMEOUT)
        client.create(Definition(crd.definition()))
        found = World(client, agent, kubeconfig, directory, run, api.server, api)
        agent.start()
        try:
            yield found
            assert not api.server.forbidden
        finally:
            ended(found.process)
            agent.stop_soon()
            api.hang_up()
            agent.stop()
            client.close()


def rights() -> list[dict[str, Any]]:
    """The operator's RBAC rules, in the emulator's format."""
    found = []
    for rule in manifests.RULES:
        one = {"apiGroups": [rule.group], "resources": [rule.resource], "verbs": rule.verbs}
        found.append(one | ({"namespace": names.NAMESPACE} if rule.own else {}))
    return found


def ended(process: subprocess.Popen[bytes] | None) -> None:
    """Kill a process that is still running, and wait for its end."""
    if process is not None and process.poll() is None:
        process.kill()
        process.wait()
