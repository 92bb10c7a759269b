"""`kubectl k3os reboot` while the operator runs: the same drain, and neither starts on a node that
the other works on."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from k3os import names
from k3os.cluster.kubectl import NODES, POOLS, Conflict, NotNow, NotThere
from k3os.cluster.node import parse_node
from k3os.cluster.node_pod import LABEL
from k3os.cluster.restart import Order, restart
from k3os.errors import UserError
from tests.operator.agent import Pod
from tests.operator.test_commands import ThroughTheApi, jobs
from tests.operator.test_rollout import NEW, all_updated
from tests.operator.world import World

ERRORS = {404: NotThere, 409: Conflict, 429: NotNow}
ORDER = Order("reboot", 900)


class OnNodes(ThroughTheApi):
    """Sends the same requests as kubectl; a program with the word `reboot` reboots the machine."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.world = world
        self.http = self.client._client._client

    def ask(self, method: str, path: str, body: Any = None, kind: str = "") -> dict[str, Any]:
        kind = kind or "application/json"
        text = None if body is None else json.dumps(body)
        answer = self.http.request(method, path, content=text, headers={"Content-Type": kind})
        if answer.status_code in ERRORS:
            raise ERRORS[answer.status_code](answer.json()["message"])
        answer.raise_for_status()
        return dict(answer.json())

    def object(self, path: str) -> dict[str, Any]:
        return self.ask("GET", path)

    def listed(self, path: str) -> list[dict[str, Any]]:
        return list(self.ask("GET", path)["items"])

    def objects(self, path: str) -> dict[str, Any]:
        if path in (NODES, POOLS):
            return {each["metadata"]["name"]: each for each in self.listed(path)}
        return super().objects(path)

    def run(self, *arguments: str, stdin: bytes = b"") -> str:
        if arguments[0] == "patch":
            change = json.loads(arguments[-1].partition("=")[2])
            self.ask("PATCH", f"{NODES}/{arguments[2]}", change, "application/merge-patch+json")
            return ""
        if arguments[1].startswith("--raw="):
            self.ask("POST", arguments[1].partition("=")[2], json.loads(stdin))
            return ""
        return super().run(*arguments, stdin=stdin)

    def inside(self, pod: str, _: str, program: Sequence[str], *flags: str) -> list[str]:
        if "reboot" in program:
            where = self.client.get(Pod, pod, namespace=names.NAMESPACE)["spec"]["nodeName"]
            self.world.agent.restart(self.world.agent.machines[where])
        return ["true"]


def rebooted(world: World, name: str, say: Callable[[str], None] = print) -> Any:
    kubectl: Any = OnNodes(world)
    return restart(kubectl, f"{world.run}-{name}", ORDER, say)


def mark(world: World, name: str) -> Any:
    return parse_node(world.node(name)).by_hand


def test_a_node_is_drained_restarts_and_the_operator_waits_for_it(world: World) -> None:
    world.nodes("a", "b")
    world.pod("web", "a", {"app": "web"})
    # minAvailable: Kubernetes cannot compute maxUnavailable for controllers without a scale
    world.budget("web", {"app": "web"}, minAvailable=0)
    world.agent.end_seconds = 3.0
    world.start()
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        if "to move away" in text:
            # even with a new target, the operator must not reboot this node now
            assert mark(world, "a")
            world.pool(k3os=NEW, strategy={"maxUnavailable": 2})

    assert rebooted(world, "a", say).boot_id == "1"
    assert said[0] == "cordoned" and said[-1] == "uncordoned"
    assert world.pods() == set()
    world.until_phase("Updated")
    assert all_updated(world)
    # once by hand, once by the rollout, never both at the same time
    assert (world.machine("a").boots, world.machine("b").boots) == (2, 1)
    world.until(lambda: world.untouched() and mark(world, "a") is None)
    assert [each for each in jobs(world) if LABEL in each] == []


def test_a_budget_holds_it_as_it_holds_a_rollout(world: World) -> None:
    world.nodes("a", "b")
    world.pod("web", "a", {"app": "web"})
    world.budget("web", {"app": "web"})
    world.pool(strategy={"drain": {"timeout": "4s"}})
    with pytest.raises(UserError, match=r"DrainTimeout: .*PodDisruptionBudget default/"):
        rebooted(world, "a")
    assert world.pods() == {"web"}
    assert world.machine("a").boots == 0
    assert world.untouched() and mark(world, "a") is None


def test_it_is_refused_where_a_rollout_works(world: World) -> None:
    world.nodes("a", "b")
    world.agent.free.clear()
    world.pool(k3os=NEW)
    world.start()
    world.until(lambda: parse_node(world.node("a")).state)
    with pytest.raises(UserError, match=r"rollout of the NodePool .*-pool is working on"):
        rebooted(world, "a")
    world.agent.free.set()
    world.until_phase("Updated")
    assert world.machine("a").boots == 1
