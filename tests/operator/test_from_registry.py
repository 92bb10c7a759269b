"""An operator whose image comes from a registry, on nodes without the operator's image."""

from typing import Any

from k3os import names
from tests.operator.agent import Pod
from tests.operator.test_rollout import NEW, all_updated
from tests.operator.world import Job, World

WHERE = {"namespace": names.NAMESPACE}


def own_pod(world: World, **more: Any) -> str:
    """Create the pod that the operator considers its own. Returns its name."""
    name = f"{world.run}-operator"
    container = {"name": "operator", "image": "r.example/op:1", **more}
    spec = {"containers": [container], "imagePullSecrets": [{"name": "registry"}]}
    world.client.create(Pod({"metadata": world._meta(name), "spec": spec}), **WHERE)
    return name


def test_nodes_without_an_image_get_the_operators_and_the_others_keep_theirs(world: World) -> None:
    bare, built = world.nodes("bare", image="") + world.nodes("built")
    world.pool(k3os=NEW, strategy={"maxUnavailable": 2})
    world.agent.free.clear()
    world.start(pod=own_pod(world, imagePullPolicy="IfNotPresent"))
    world.until(lambda: len(list(world.client.list(Job, **WHERE))) == 2)
    found = {}
    for each in world.client.list(Job, **WHERE):
        spec = each["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        pulled = (container["image"], container["imagePullPolicy"], spec.get("imagePullSecrets"))
        found[spec["nodeName"]] = pulled
    assert found == {
        bare: ("r.example/op:1", "IfNotPresent", [{"name": "registry"}]),
        built: (world.machine("built").image, "Never", None),
    }
    world.agent.free.set()
    world.until_phase("Updated")
    assert all_updated(world)


def test_an_image_that_is_only_on_nodes_is_no_image_for_others(world: World) -> None:
    world.nodes("bare", image="")
    world.pool(k3os=NEW)
    world.start(pod=own_pod(world, imagePullPolicy="Never"))
    world.until(lambda: "has no operator image" in world.status().get("waiting", ""))
    assert not list(world.client.list(Job, **WHERE))
