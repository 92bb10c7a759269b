"""Rollouts through the API: the real operator, a stub of the API server, simulated nodes."""

import base64
import json
import signal
import subprocess
from pathlib import Path

import pytest
from lightkube.types import PatchType

from k3os import names
from tests.operator.agent import FATES, FINE, NEVER_BACK, NO_SUCH_VERSION, ROLLS_BACK, Node, Secret
from tests.operator.world import LEASE_SECONDS, URL, Job, NodePool, World

NEW = {"version": "v1.1.0", "url": URL}
CONFIG = {"k3os": {"sysctls": {"vm.max_map_count": "262144"}}}


def all_updated(world: World) -> bool:
    return all(each.versions["k3os"] == NEW["version"] for each in world.agent.machines.values())


def test_all_nodes_get_the_wanted_version_one_by_one_and_servers_first(world: World) -> None:
    world.nodes("a", "b", servers=3)
    world.pod("web", "a")
    world.pool(k3os=NEW)
    world.start()
    world.until_phase("Updated")
    assert all_updated(world)
    assert world.untouched()
    assert world.agent.most_away == 1
    served = world.agent.served
    assert len([each for each in served if each.endswith("-check")]) == len(served) / 2 == 5
    # while they exist, the kubelet would complain about their pods' volumes
    world.until(lambda: not world.requests())
    status = world.status()
    assert (status["nodes"], status["updated"], status["ready"]) == (5, 5, 5)
    assert status["k3os"] == NEW["version"]
    assert {each["type"]: each["status"] for each in status["conditions"]} == {
        "Progressing": "False",
        "Available": "True",
        "Degraded": "False",
    }
    world.until(lambda: len([each for each in world.events("Updated") if "ready" in each]) >= 5)
    assert world.end() == 0


def test_a_configuration_that_needs_no_boot_drains_and_reboots_nothing(world: World) -> None:
    world.nodes("a")
    world.pod("web", "a")
    world.pool(config=CONFIG)
    world.start()
    world.until_phase("Updated")
    assert world.machine("a").config == CONFIG
    assert world.machine("a").boots == 0
    assert world.agent.most_away == 0


def test_a_budget_holds_a_drain_and_its_end_lets_it_go_on(world: World) -> None:
    labels = {"app": "precious"}
    world.nodes("a", "b")
    world.pod("web", "a", labels)
    world.budget("keep", labels)
    world.pool(k3os=NEW)
    world.start()
    world.until(lambda: "is not evicted" in world.log)
    assert world.node("a")["spec"]["unschedulable"]
    assert world.machine("a").boots == 0
    from tests.operator.world import Budget

    world.client.delete(Budget, f"{world.run}-keep", namespace="default")
    world.until_phase("Updated")
    assert world.untouched()


def test_a_drain_that_takes_too_long_stops_the_rollout_and_uncordons(world: World) -> None:
    labels = {"app": "precious"}
    world.nodes("a", "b")
    world.pod("web", "a", labels)
    world.budget("keep", labels)
    world.pool(k3os=NEW, strategy={"drain": {"timeout": "1s"}})
    world.start()
    world.until_phase("Failed")
    degraded = world.condition("Degraded")
    assert degraded["reason"] == "DrainTimeout"
    assert f"default/{world.run}-web" in degraded["message"]
    assert not world.node("a")["spec"].get("unschedulable")
    assert world.machine("a").boots == world.machine("b").boots == 0


@pytest.mark.parametrize(
    ("fate", "reason", "words"),
    [
        (ROLLS_BACK, "RolledBack", "k3s is not ready"),
        (NO_SUCH_VERSION, "CheckFailed", "404 Not Found"),
    ],
)
def test_a_failure_stops_the_rollout_and_another_spec_goes_on(
    world: World, fate: str, reason: str, words: str
) -> None:
    world.nodes("a", "b")
    world.machine("a").fate = fate
    world.pool(k3os=NEW)
    world.start()
    world.until_phase("Failed")
    degraded = world.condition("Degraded")
    assert (degraded["status"], degraded["reason"]) == ("True", reason)
    assert words in degraded["message"] and f"{world.run}-a" in degraded["message"]
    assert world.status()["changing"][0]["name"] == f"{world.run}-a"
    assert world.machine("b").boots == 0
    assert not world.node("a")["spec"].get("unschedulable")
    world.until(lambda: any(words in each for each in world.events(reason)))
    world.machine("a").fate = FINE
    world.change("pool", k3os={"version": "v1.1.1"})
    world.until_phase("Updated")
    assert {each.versions["k3os"] for each in world.agent.machines.values()} == {"v1.1.1"}
    assert world.untouched()


def is_known_to_be_away(world: World, name: str) -> bool:
    """Whether the API shows the node as not Ready; a failed node that is Ready takes pods again."""
    conditions = world.node(name)["status"].get("conditions", [])
    return any((each["type"], each["status"]) == ("Ready", "False") for each in conditions)


def test_a_node_that_does_not_come_back_stays_cordoned_and_stops_the_rollout(world: World) -> None:
    world.nodes("a", "b", fate=NEVER_BACK)
    world.pool(k3os=NEW)
    world.start()
    world.until(lambda: is_known_to_be_away(world, "a"))
    world.change("pool", strategy={"progressDeadline": "1s"})
    world.until_phase("Failed")
    assert world.condition("Degraded")["reason"] == "ProgressDeadlineExceeded"
    assert world.node("a")["spec"]["unschedulable"]
    assert world.condition("Available")["status"] == "False"
    assert world.machine("b").ready


def test_two_pools_over_one_node_touch_nothing_and_say_so(world: World) -> None:
    world.nodes("a")
    world.pool("one", k3os=NEW)
    world.pool("two", k3os={"version": "v2.0.0", "url": URL})
    world.start()
    for name in ("one", "two"):
        world.until_phase("Conflict", name)
        assert f"{world.run}-a" in world.condition("Degraded", name)["message"]
    assert world.machine("a").boots == 0
    assert world.untouched()
    world.client.delete(NodePool, f"{world.run}-two")
    world.until_phase("Updated", "one")
    assert all_updated(world)


def test_a_paused_pool_begins_nothing_until_it_is_resumed(world: World) -> None:
    world.nodes("a")
    world.pool(k3os=NEW, strategy={"paused": True})
    world.start()
    world.until_phase("Paused")
    assert world.untouched()
    world.change("pool", strategy={"paused": False})
    world.until_phase("Updated")


def test_a_configuration_with_errors_is_a_condition_and_touches_nothing(world: World) -> None:
    world.nodes("a")
    # only the operator's own check knows this spelling: the API server would refuse `hostname`
    world.pool(config={"host-name": "a_b"})
    world.start()
    world.until_phase("Failed")
    degraded = world.condition("Degraded")
    assert degraded["reason"] == "BadConfig"
    assert "hostname" in degraded["message"]
    assert world.untouched()


def test_a_pool_without_nodes_says_so(world: World) -> None:
    world.nodes("a")
    world.pool(k3os=NEW, nodeSelector={"matchLabels": {"no": "such"}})
    world.start()
    world.until(lambda: world.condition("Available").get("reason") == "NoNodes")
    assert world.untouched()


def test_a_pool_that_is_deleted_in_the_middle_leaves_its_nodes_uncordoned(world: World) -> None:
    world.nodes("a", "b")
    world.agent.boot_seconds = 3
    world.pool(k3os=NEW)
    world.start()
    world.until(lambda: not world.machine("a").ready)
    world.client.delete(NodePool, f"{world.run}-pool")
    world.until(lambda: world.machine("a").ready and world.untouched())
    assert world.machine("b").boots == 0


def test_somebody_elses_cordon_stays(world: World) -> None:
    world.nodes("a")
    world.client.patch(
        Node, f"{world.run}-a", {"spec": {"unschedulable": True}}, patch_type=PatchType.MERGE
    )
    world.pool(k3os=NEW)
    world.start()
    world.until_phase("Updated")
    assert world.node("a")["spec"]["unschedulable"]


def test_a_channel_is_followed(world: World, tmp_path) -> None:
    from tests.vm.node import serve

    published = tmp_path / "www" / "channels"
    published.mkdir(parents=True)
    (published / "stable").write_text("v1.1.0\n")
    with serve(tmp_path / "www") as url:
        url = url.replace("10.0.2.2", "127.0.0.1")
        world.nodes("a")
        world.pool(k3os={"channel": "stable", "url": url})
        world.start()
        world.until_phase("Updated")
        assert world.machine("a").versions["k3os"] == "v1.1.0"
        assert world.status()["channels"]["k3os"] == {"channel": "stable", "version": "v1.1.0"}
        # a new NodePool with the same name does not wait for the next check of the channel
        world.client.delete(NodePool, f"{world.run}-pool")
        (published / "stable").write_text("v1.2.0\n")
        world.pool(k3os={"channel": "stable", "url": url})
        world.until(lambda: world.machine("a").versions["k3os"] == "v1.2.0")


def test_the_request_is_in_a_secret_that_goes_with_its_job(world: World) -> None:
    secret = "topsecret-passphrase"
    world.nodes("a")
    world.agent.free.clear()
    config = {"k3os": {"wifi": [{"name": "home", "passphrase": secret}]}}
    world.pool(config=config)
    world.start()
    world.until(lambda: world.agent.served)
    (job,) = world.requests(Job)
    assert secret not in json.dumps(job)
    found = world.client.get(Secret, job["metadata"]["name"], namespace=names.NAMESPACE)
    world.until(lambda: world.requests(Secret)[0]["metadata"].get("ownerReferences"))
    assert (
        world.requests(Secret)[0]["metadata"]["ownerReferences"][0]["uid"]
        == (job["metadata"]["uid"])
    )
    assert base64.b64decode(found["data"]["request.json"]).decode().count(secret) == 1
    world.agent.free.set()
    world.until_phase("Updated")
    world.until(lambda: not world.requests())
    assert secret not in world.log


def test_one_of_two_operators_acts_and_the_other_takes_over(world: World) -> None:
    world.lease_seconds = LEASE_SECONDS
    world.nodes("a", "b")
    world.agent.boot_seconds = 2
    first = world.start()
    world.until(lambda: "leads now" in world.log)
    second = world.start()
    world.until(lambda: "waiting: " in world.log)
    world.pool(k3os=NEW)
    world.until(lambda: not world.machine("a").ready)
    first.kill()
    first.wait()
    world.until(lambda: world.log.count("leads now") == 2)
    world.until_phase("Updated")
    assert all_updated(world)
    assert all(each.boots == 1 for each in world.agent.machines.values())
    assert world.end(second) == 0


def catches(process: subprocess.Popen[bytes], number: signal.Signals) -> bool:
    """Whether a process has a handler for a signal; without one, the first process of a container
    does not get the signal (pid_namespaces(7))."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    caught = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught, 16) >> (number - 1) & 1)


def test_one_that_waits_for_its_turn_ends_when_it_is_asked(world: World) -> None:
    first = world.start()
    world.until(lambda: "leads now" in world.log)
    second = world.start()
    world.until(lambda: "waiting: " in world.log)
    assert catches(second, signal.SIGTERM)
    assert world.end(second) == 0
    assert world.end(first) == 0


def test_one_that_has_only_begun_ends_when_it_is_asked(world: World) -> None:
    """Importing its libraries takes an emulated machine ten seconds."""
    process = world.start()
    world.until(lambda: catches(process, signal.SIGTERM))
    assert world.end(process) == 0
    assert world.log == ""


assert set(FATES) >= {FINE, ROLLS_BACK, NO_SUCH_VERSION, NEVER_BACK}
