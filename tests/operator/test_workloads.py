"""Workloads during an upgrade, through the API: the test acts as their controllers and pods."""

from dataclasses import dataclass
from typing import Any

import pytest
from lightkube.generic_resource import create_namespaced_resource
from lightkube.types import PatchType

from k3os import names
from tests.operator.agent import Pod
from tests.operator.test_drain import message
from tests.operator.world import URL, Deployment, NodePool, ReplicaSet, World

# a real cluster's controllers would interfere with these objects
pytestmark = pytest.mark.emulator

OLD, NEW = ({"version": version, "url": URL} for version in ("v1.1.0", "v1.2.0"))
DaemonSet: Any = create_namespaced_resource("apps", "v1", "DaemonSet", "daemonsets")
KINDS = {"Deployment": Deployment, "DaemonSet": DaemonSet, "ReplicaSet": ReplicaSet}
IN_DEFAULT = {"namespace": "default"}
CRASHES = {"waiting": {"reason": "CrashLoopBackOff"}}


@dataclass
class Workload:
    """A workload whose numbers the test sets. app: the label of its pods."""

    world: World
    kind: str
    name: str
    app: str
    uid: str

    def patch(self, **change: Any) -> None:
        kind = KINDS[self.kind]
        self.world.client.patch(kind, self.name, change, patch_type=PatchType.MERGE, **IN_DEFAULT)

    def delete(self) -> None:
        self.world.client.delete(KINDS[self.kind], self.name, **IN_DEFAULT)

    @property
    def owner(self) -> dict[str, Any]:
        found = {"apiVersion": "apps/v1", "kind": self.kind, "name": self.name, "uid": self.uid}
        return {**found, "controller": True}

    def pod(self, name: str, node: str, ready: bool = True) -> None:
        """Create one of its pods on a node; a pod that is not ready is in CrashLoopBackOff."""
        full = f"{self.world.run}-{name}"
        meta = self.world._meta(full, {"app": self.app}) | {"ownerReferences": [self.owner]}
        spec = {"nodeName": f"{self.world.run}-{node}", "containers": [{"name": "app"}]}
        body = {"metadata": meta, "spec": spec, "status": status(ready)}
        self.world.client.create(Pod(body), **IN_DEFAULT)


def status(ready: bool) -> dict[str, Any]:
    """The status of a pod."""
    container = {"name": "app", "ready": ready, "state": {"running": {}} if ready else CRASHES}
    condition = {"type": "Ready", "status": "True" if ready else "False"}
    return {"phase": "Running", "conditions": [condition], "containerStatuses": [container]}


def workload(world: World, kind: str, name: str, above: Workload | None = None, **more: Any) -> Any:
    full = f"{world.run}-{name}"
    app = above.app if above else full
    meta = world._meta(full) | ({"ownerReferences": [above.owner]} if above else {})
    spec = {"replicas": 2, "selector": {"matchLabels": {"app": app}}}
    numbers = {"readyReplicas": 2, "desiredNumberScheduled": 2}
    body = {"metadata": meta, "spec": spec, "status": numbers | more}
    made = world.client.create(KINDS[kind](body), **IN_DEFAULT)
    return Workload(world, kind, full, app, made["metadata"]["uid"])


def web(world: World) -> tuple[Workload, Workload]:
    """A Deployment and its ReplicaSet, with a Ready pod on a and on b."""
    deployment = workload(world, "Deployment", "web")
    replicas = workload(world, "ReplicaSet", "web-1", deployment)
    for node in ("a", "b"):
        replicas.pod(f"web-{node}", node)
    return deployment, replicas


def comes_back_sick(
    world: World, deployment: Workload, replicas: Workload, gone: str = "web-a"
) -> None:
    """Wait until the first node's pod is gone, and add a replacement that crashes."""
    world.until(lambda: gone not in world.pods())
    deployment.patch(status={"readyReplicas": 1})
    replicas.pod("web-x", "b", ready=False)


def step(world: World, node: str) -> str:
    notes = world.node(node)["metadata"].get("annotations") or {}
    found = notes.get(names.ROLLOUT, "")
    return found.partition('"step":"')[2].partition('"')[0]


def restarted(world: World) -> None:
    world.kill()
    world.start()


def all_updated(world: World) -> bool:
    machines = world.agent.machines.values()
    return {each.versions["k3os"] for each in machines} == {NEW["version"]}


def strategy(on_failure: str = "Pause", soak: str = "1s") -> dict[str, Any]:
    return {"workloads": {"onFailure": on_failure, "soak": soak}}


def test_a_sick_workload_stops_the_rollout_until_it_is_ready_whoever_restarts(world: World) -> None:
    world.nodes("a", "b")
    deployment, replicas = web(world)
    world.pool(k3os=NEW, strategy=strategy(soak="4s"))
    world.start()
    world.until(lambda: names.WORKLOADS in world.node("a")["metadata"]["annotations"])
    restarted(world)
    comes_back_sick(world, deployment, replicas)
    world.until(lambda: step(world, "a") == "Soaking")
    assert not world.node("a")["spec"].get("unschedulable")
    restarted(world)
    world.until_phase("Failed")
    words = (
        f"Deployment default/{deployment.name} was Ready on it before the upgrade and is not after:"
        " 1 of 2 pods, CrashLoopBackOff in container app"
    )
    degraded = world.condition("Degraded")
    assert degraded["reason"] == "SickWorkloads"
    assert degraded["message"] == f"{world.run}-a: {words}"
    assert message(world, "a") == f"SickWorkloads: {words}"
    assert world.status()["sickWorkloads"] == 1
    world.until(lambda: any(words in each for each in world.events("SickWorkloads")))
    restarted(world)
    world.until(lambda: world.status()["waiting"])
    assert (world.machine("a").boots, world.machine("b").boots) == (1, 0)
    deployment.patch(status={"readyReplicas": 2})
    world.until_phase("Updated")
    assert all_updated(world)
    assert world.untouched()
    assert world.status()["sickWorkloads"] == 0
    assert names.WORKLOADS not in world.node("a")["metadata"]["annotations"]
    assert world.agent.most_away == 1


def test_a_pod_of_a_daemonset_that_does_not_come_back_is_let_be_by_a_retry(world: World) -> None:
    world.nodes("a", "b")
    daemon = workload(world, "DaemonSet", "cni")
    daemon.pod("cni-a", "a")
    world.pool(k3os=NEW, strategy=strategy())
    world.start()
    world.until(lambda: not world.machine("a").ready)
    change = {"status": status(ready=False)}
    name = f"{world.run}-cni-a"
    world.client.patch(Pod, name, change, patch_type=PatchType.MERGE, **IN_DEFAULT)
    world.until_phase("Failed")
    assert "DaemonSet default/" in world.condition("Degraded")["message"]
    assert world.machine("b").boots == 0
    # as `kubectl k3os rollout retry` writes it
    note = {"metadata": {"annotations": {names.RETRIED: "2026-01-02T03:04:05Z"}}}
    world.client.patch(NodePool, f"{world.run}-pool", note, patch_type=PatchType.MERGE)
    world.until_phase("Updated")
    assert all_updated(world)


def test_with_rollback_the_nodes_go_back_to_what_they_had(world: World) -> None:
    world.nodes("a", "b")
    deployment, replicas = web(world)
    world.pool(k3os=OLD, strategy=strategy("Rollback"))
    world.start()
    # nothing is unhealthy: replacements for the pods follow
    world.until_phase("Updated")
    for node in ("a", "b"):
        replicas.pod(f"web-{node}2", node)
    before = [each.boots for each in world.agent.machines.values()]
    world.change("pool", k3os=NEW)
    comes_back_sick(world, deployment, replicas, "web-a2")
    world.until(lambda: (world.status().get("canary") or {}).get("phase") == "RollingBack")
    restarted(world)
    world.until(lambda: (world.status().get("canary") or {}).get("phase") == "RolledBack")
    world.until_phase("Failed")
    assert {each.versions["k3os"] for each in world.agent.machines.values()} == {"v1.1.0"}
    after = [each.boots for each in world.agent.machines.values()]
    assert after == [before[0] + 2, before[1]], "one node, there and back"
    degraded = world.condition("Degraded")
    assert degraded["reason"] == "SickWorkloads"
    assert f"Deployment default/{deployment.name} was Ready on it before" in degraded["message"]
    assert "rollout retry" in degraded["message"]
    world.until(lambda: world.events("RolloutRolledBack"))
    assert world.untouched()


def test_ignored_it_is_named_and_what_is_gone_or_scaled_to_zero_is_not(world: World) -> None:
    world.nodes("a", "b")
    deployment, replicas = web(world)
    gone, none = (workload(world, "Deployment", name) for name in ("gone", "none"))
    for each, name in ((gone, "gone"), (none, "none")):
        workload(world, "ReplicaSet", f"{name}-1", each).pod(f"{name}-a", "a")
    world.pool(k3os=NEW, strategy=strategy("Ignore"))
    world.start()
    world.until(lambda: "gone-a" not in world.pods())
    gone.delete()
    none.patch(spec={"replicas": 0}, status={"readyReplicas": 0})
    comes_back_sick(world, deployment, replicas)
    world.until_phase("Updated")
    assert all_updated(world)
    degraded = world.condition("Degraded")
    assert degraded["reason"] == "SickWorkloads"
    assert deployment.name in degraded["message"]
    assert gone.name not in degraded["message"] and none.name not in degraded["message"]
    deployment.patch(status={"readyReplicas": 2})
    world.until(lambda: world.condition("Degraded")["status"] == "False")


def test_without_the_block_nobody_asks_for_a_workload(world: World) -> None:
    assert world.emulator is not None
    world.nodes("a", "b")
    web(world)
    world.pool(k3os=NEW)
    world.start()
    world.until_phase("Updated")
    kinds = {"deployments", "replicasets", "daemonsets", "statefulsets"}
    assert not [each for each in world.emulator.counts if each[1] in kinds]
