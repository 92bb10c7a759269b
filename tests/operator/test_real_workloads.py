"""Workloads during an upgrade in a real cluster, whose controllers create and count the pods. The
test is the scheduler; kubelets are simulated."""

from typing import Any

import pytest

from tests.operator.agent import LABEL, Pod
from tests.operator.test_rollout import NEW, all_updated
from tests.operator.world import Deployment, World

pytestmark = pytest.mark.cluster

IN_DEFAULT = {"namespace": "default"}


def deployment(world: World, *nodes: str) -> str:
    """A Deployment with a Ready pod on each of these nodes. Returns its name."""
    name = f"{world.run}-web"
    labels = {"app": name}
    spec = {"containers": [{"name": "app", "image": "k3os.io/none"}], "schedulerName": "the-test"}
    spec["tolerations"] = [{"operator": "Exists"}]
    template = {"metadata": {"labels": {LABEL: world.run, **labels}}, "spec": spec}
    wanted = {"replicas": len(nodes), "selector": {"matchLabels": labels}, "template": template}
    world.client.create(Deployment({"metadata": world._meta(name), "spec": wanted}), **IN_DEFAULT)
    for node in nodes:
        world.until(lambda node=node: placed(world, node))
    world.until(lambda: ready(world, name) == len(nodes))
    return name


def ready(world: World, name: str) -> int:
    found = dict(world.client.get(Deployment, name, **IN_DEFAULT)).get("status") or {}
    return int(found.get("readyReplicas", 0))


def pods(world: World) -> list[dict[str, Any]]:
    listed = world.client.list(Pod, labels={LABEL: world.run}, **IN_DEFAULT)
    return [dict(each) for each in listed]


def placed(world: World, node: str) -> bool:
    """Schedule a pod that has no node yet to this one. Returns whether there was one."""
    for each in pods(world):
        if each["spec"].get("nodeName") or each["metadata"].get("deletionTimestamp"):
            continue
        name = each["metadata"]["name"]
        target = {"apiVersion": "v1", "kind": "Node", "name": f"{world.run}-{node}"}
        body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
        path = f"/api/v1/namespaces/default/pods/{name}/binding"
        world.client._client._client.post(path, json=body).raise_for_status()
        return True
    return False


def test_a_deployment_that_does_not_come_back_stops_the_rollout_until_it_is_ready(
    world: World,
) -> None:
    world.nodes("a", "b")
    name = deployment(world, "a", "b")
    world.agent.crashing.add(name)
    world.pool(k3os=NEW, strategy={"workloads": {"onFailure": "Pause", "soak": "1s"}})
    world.start()
    world.until(lambda: placed(world, "b"))
    world.until_phase("Failed")
    degraded = world.condition("Degraded")
    assert degraded["reason"] == "SickWorkloads"
    assert degraded["message"] == (
        f"{world.run}-a: Deployment default/{name} was Ready on it before the upgrade and is not "
        "after: 1 of 2 pods, CrashLoopBackOff in container app"
    )
    assert (world.machine("a").boots, world.machine("b").boots) == (1, 0)
    world.agent.crashing.clear()
    for each in pods(world):
        world.agent.run(each)
    for _ in range(2):
        world.until(lambda: placed(world, "a"))
    world.until_phase("Updated")
    assert all_updated(world)
    assert world.untouched()
    assert ready(world, name) == 2
    assert world.agent.most_away == 1
