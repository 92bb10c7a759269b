"""Drains through the API: what blocks them, in which order pods go, and what they wait for."""

import pytest

from k3os.cluster.progress import progress
from tests.operator.agent import LABEL, Node
from tests.operator.test_rollout import NEW
from tests.operator.world import NodePool, World

LABELS = {"app": "precious"}


def message(world: World, node: str) -> str:
    """What `kubectl k3os rollout status` says about a node."""
    (pool,) = (each for each in world.client.list(NodePool) if world.run in str(each["metadata"]))
    nodes = [dict(each) for each in world.client.list(Node, labels={LABEL: world.run})]
    rows = progress(pool["metadata"]["name"], [dict(pool)], nodes).rows
    return next(row.message for row in rows if row.name == f"{world.run}-{node}")


def test_a_blocked_drain_names_the_budget_and_goes_on_when_it_has_what_it_needs(
    world: World,
) -> None:
    world.nodes("a", "b")
    world.pod("web", "a", LABELS)
    world.budget("keep", LABELS, minAvailable=1)
    world.pool(k3os=NEW)
    world.start()
    world.until(lambda: world.condition("Progressing").get("reason") == "DrainBlocked")
    words = (
        f"default/{world.run}-web: PodDisruptionBudget default/{world.run}-keep allows no eviction "
        "(currentHealthy 1, desiredHealthy 1, disruptionsAllowed 0): "
        "needs 1 more ready pod of app=precious, or a smaller minAvailable than 1"
    )
    assert world.condition("Progressing")["message"] == f"{world.run}-a: {words}"
    assert world.status()["changing"][0]["message"] == words
    assert message(world, "a") == words
    world.until(lambda: any(words in each for each in world.events("DrainBlocked")))
    assert world.machine("a").boots == 0
    world.pod("other", "b", LABELS)
    world.until(lambda: world.machine("a").boots == 1)
    # the other node's drain needs another pod, too
    world.pod("third", "a", LABELS)
    world.until_phase("Updated")
    assert world.untouched()


def test_pods_go_in_the_order_of_their_priority(world: World) -> None:
    """The order of their names is the opposite."""
    world.nodes("a", "b")
    world.agent.end_seconds = 0.5
    world.pod("1-node", "a", priority="system-node-critical")
    world.pod("2-cluster", "a", priority="system-cluster-critical")
    world.pod("3-web", "a")
    world.pod("4-web", "a")
    world.pool(k3os=NEW)
    world.start()
    world.until_phase("Updated")
    told = {name.removeprefix(f"{world.run}-"): when for when, name in world.agent.told_to_end}
    assert max(told["3-web"], told["4-web"]) + 0.5 <= told["2-cluster"]
    assert told["2-cluster"] + 0.5 <= told["1-node"]


@pytest.mark.emulator
def test_annotations_keep_a_pod_and_let_one_of_a_daemonset_go(world: World) -> None:
    world.nodes("a", "b")
    world.pod("web", "a")
    world.pod("kept", "a", drain="skip")
    world.pod("daemon", "a", controller="DaemonSet")
    world.pod("opted-in", "a", controller="DaemonSet", drain="evict")
    world.pool(k3os=NEW)
    world.start()
    world.until_phase("Updated")
    assert world.machine("a").boots == 1
    assert world.pods() == {"kept", "daemon"}


@pytest.mark.emulator
def test_volumes_are_detached_before_a_node_restarts(world: World) -> None:
    world.nodes("a", "b")
    world.pod("web", "a")
    world.attach("pvc-1", "a")
    world.pool(k3os=NEW)
    world.start()
    world.until(lambda: "pvc-1 (driver.longhorn.io)" in message(world, "a"))
    assert world.pods() == set()
    assert world.machine("a").boots == 0
    world.detach("pvc-1")
    world.until_phase("Updated")
    assert not world.events("VolumesStillAttached")


@pytest.mark.emulator
def test_a_volume_that_stays_attached_holds_a_node_for_so_long_only(world: World) -> None:
    world.nodes("a", "b")
    world.attach("pvc-1", "a")
    world.pool(k3os=NEW, strategy={"drain": {"detachTimeout": "1s"}})
    world.start()
    world.until_phase("Updated")
    world.until(lambda: any("pvc-1" in each for each in world.events("VolumesStillAttached")))


@pytest.mark.emulator
def test_on_the_only_node_there_is_nothing_to_wait_for(world: World) -> None:
    world.nodes("a")
    world.pod("web", "a", LABELS)
    world.budget("keep", LABELS, minAvailable=1)
    world.pool(k3os=NEW)
    world.start()
    world.until_phase("Updated")
    assert world.machine("a").boots == 1
    assert world.pods() == {"web"}
    assert any("no other node" in each for each in world.events("NotDrained"))
