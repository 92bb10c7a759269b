"""A rollout continues where it was, no matter what is killed and when."""

import os
import signal
import threading
import time

import pytest

from k3os import names
from k3os.operator import manifests
from tests.operator.agent import LABEL
from tests.operator.cluster import delete
from tests.operator.test_rollout import NEW, all_updated
from tests.operator.world import LEASE_SECONDS, Lease, World


@pytest.mark.emulator
def test_killed_after_each_write_it_goes_on_and_does_nothing_twice(world: World) -> None:
    """SIGKILL as soon as the API has accepted a write, before it answers: after the first write of
    the first process, the first write of the next one, and so on."""
    assert world.emulator is not None
    world.agent.boot_seconds = 0.1
    world.nodes("a", "b")
    world.pod("web", "a")
    world.pool(k3os=NEW)
    killed: list[str] = []
    over = threading.Event()

    def kill(verb: str, resource: str) -> None:
        # the lease and Events are not steps of the rollout; each process may do one step
        if resource in ("leases", "events") or over.is_set():
            return
        killed.append(f"{verb} {resource}")
        os.kill(world.process.pid, signal.SIGKILL)  # type: ignore[union-attr]

    world.emulator.on_write = kill
    end = time.monotonic() + 600
    while world.status().get("phase") != "Updated" or not world.untouched():
        assert time.monotonic() < end, (killed, world.log[-4000:])
        # as if the previous process' lease had expired
        delete(world.client, Lease, manifests.NAME, namespace=names.NAMESPACE)
        process = world.start()
        while process.poll() is None and not finished(world):
            assert time.monotonic() < end, (killed, world.log[-4000:])
            time.sleep(0.05)
    over.set()
    assert len(killed) >= 15, killed
    assert {"patch nodes", "create jobs", "create secrets", "create pods"} <= set(killed)
    assert all_updated(world)
    assert all(each.boots == 1 for each in world.agent.machines.values())
    assert world.agent.most_away == 1
    print(f"killed {len(killed)} times: {', '.join(killed)}")


def finished(world: World) -> bool:
    return world.status().get("phase") == "Updated" and world.untouched()


@pytest.mark.emulator
def test_it_waits_for_an_api_server_that_restarts(world: World) -> None:
    """As happens when the server it is connected to is the node that it is upgrading."""
    assert world.api is not None
    world.agent.boot_seconds = 1
    world.lease_seconds = LEASE_SECONDS
    world.nodes("a", "b")
    world.pool(k3os=NEW)
    world.start()
    for name in ("a", "b"):
        world.until(lambda name=name: not world.machine(name).ready)
        world.api.down()
        time.sleep(1.5)
        world.api.up()
    world.until_phase("Updated")
    assert all_updated(world)
    assert all(each.boots == 1 for each in world.agent.machines.values())


@pytest.mark.emulator
def test_what_was_deleted_while_nobody_could_watch_is_gone(world: World) -> None:
    """The API server comes back without the versions from which watches could resume."""
    assert world.api is not None and world.emulator is not None
    world.nodes("a", "b")
    world.pool(k3os=NEW, strategy={"paused": True})
    world.start()
    world.until(lambda: world.status().get("nodes") == 2)
    world.api.down()
    del world.agent.machines[f"{world.run}-b"]
    world.api.run(world.emulator.keep(("nodes", "", f"{world.run}-b"), None))
    world.emulator.forgotten = world.emulator.version
    world.api.up()
    world.until(lambda: world.status().get("nodes") == 1)


@pytest.mark.emulator
def test_before_kubernetes_1_22_pods_are_evicted_as_it_was_then(world: World) -> None:
    assert world.emulator is not None
    world.emulator.old_evictions = True
    world.nodes("a", "b")
    world.pod("web", "a")
    world.pool(k3os=NEW)
    world.start()
    world.until_phase("Updated")
    assert world.machine("a").boots == 1


@pytest.mark.emulator
def test_requests_do_not_grow_with_the_number_of_nodes(world: World) -> None:
    """The requests for one configuration change on one node, with 3 and with 103 other nodes."""
    assert world.emulator is not None
    asked = []
    world.nodes("a")
    world.start()
    for number, others in enumerate((3, 100)):
        world.nodes(*(f"x{number}-{each}" for each in range(others)))
        only = {"matchLabels": {LABEL: world.run, "kubernetes.io/hostname": f"{world.run}-a"}}
        before = {**world.emulator.counts}
        config = {"k3os": {"sysctls": {"vm.max_map_count": str(number + 1)}}}
        if number == 0:
            world.pool(nodeSelector=only, config=config)
        else:
            world.change("pool", config=config)
        world.until(lambda config=config: world.machine("a").config == config)
        world.until_phase("Updated")
        after = world.emulator.counts
        of_a_step = {key: after[key] - before.get(key, 0) for key in after if key[1] != "leases"}
        asked.append(
            {key: count for key, count in of_a_step.items() if count and key[1] != "events"}
        )
    first, second = (sum(each.values()) for each in asked)
    assert second <= first + 2, asked
    assert ("list", "nodes") not in asked[1], asked
