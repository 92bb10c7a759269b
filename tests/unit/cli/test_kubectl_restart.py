"""`kubectl k3os reboot` and `rollback`: arguments, output, exit codes. The work itself:
test_restart.py."""

import json
from argparse import Namespace
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest

from k3os import names
from k3os.cli import kubectl as plugin
from k3os.cli import kubectl_restart as module
from k3os.cluster.kubectl import NODES, POOLS, Kubectl, NotThere
from k3os.cluster.node import parse_node
from k3os.cluster.restart import Order
from k3os.errors import UserError
from tests.unit.cluster.objects import node, pool


@pytest.fixture
def orders(monkeypatch: Any) -> list[tuple[Kubectl, str, Order]]:
    """Record the orders; the node is back at once."""
    found: list[tuple[Kubectl, str, Order]] = []

    def restart(kubectl: Kubectl, name: str, order: Order, say: Any) -> Any:
        found.append((kubectl, name, order))
        say("restarts\x1b[2J")
        if name == "lost":
            raise UserError("the node is not back in time", "look at its screen")
        return parse_node(node(name, healthy="False" if name == "unwell" else "True"))

    monkeypatch.setattr(module, "find", lambda _, name: parse_node(node(name)))
    monkeypatch.setattr(module, "restart", restart)
    return found


def test_a_reboot_is_told_line_by_line(orders: Any, capsys: Any) -> None:
    assert plugin.main(["reboot", "a", "--context", "prod"]) == 0
    ((kubectl, name, order),) = orders
    assert kubectl.options == ("--context=prod",)
    assert (name, order) == ("a", Order("reboot", 1200))
    assert capsys.readouterr().out.splitlines() == [
        "a: restarts\\x1b[2J",
        "a: is Ready again: k3OS v1.0.0, k3s v1.33.0+k3s1",
    ]


def test_its_words_are_taken(orders: Any) -> None:
    assert plugin.main(["reboot", "a", "--timeout", "1h30m", "--force"]) == 0
    assert orders[0][2] == Order("reboot", 5400, force=True)


def test_one_that_is_back_but_unwell_is_exit_code_1(orders: Any, capsys: Any) -> None:
    assert plugin.main(["reboot", "unwell"]) == 1
    assert "unwell: is not healthy: Damaged: a file" in capsys.readouterr().out


def test_an_error_names_the_node(orders: Any, capsys: Any) -> None:
    assert plugin.main(["reboot", "lost"]) == 1
    assert (
        "error: lost: the node is not back in time; look at its screen" in capsys.readouterr().err
    )


# rollback

PREVIOUS = {"k3os": "v0.9.0", "k3s": "v1.32.0+k3s1"}


class Cluster:
    """Replaces Kubectl."""

    def __init__(self, *pools: dict[str, Any], previous: dict[str, str] | None = None) -> None:
        self.pools = {each["metadata"]["name"]: each for each in pools}
        body = node("a", notes={names.BOOT_ID: "1"})
        self.nodes = {"a": body, "both": node("both")}
        self.previous = PREVIOUS if previous is None else previous
        self.programs: list[tuple[str, ...]] = []

    def objects(self, path: str) -> dict[str, Any]:
        if path == POOLS and not self.pools:
            raise NotThere("no such kind")
        return {POOLS: self.pools, NODES: self.nodes}[path]

    def output(self, program: tuple[str, ...], _: float) -> bytes:
        self.programs.append(program)
        return json.dumps({"versions": {"previous": self.previous}}).encode()


@pytest.fixture
def back(monkeypatch: Any) -> Callable[..., tuple[int, list[Order]]]:
    """A function that runs `rollback NAME` on a cluster. Returns the exit code and the orders."""
    orders: list[Order] = []

    def restart(kubectl: Any, name: str, order: Order, _: Any) -> Any:
        orders.append(order)
        notes = {names.K3S: PREVIOUS["k3s"]}
        return parse_node(node(name, kubectl.comes_up_with, notes=notes))

    def ordered(
        cluster: Any, name: str, *, comes_up_with: str = "v0.9.0", **more: Any
    ) -> tuple[int, list[Order]]:
        cluster.comes_up_with = comes_up_with
        given = {"command": "rollback", "node": name, "timeout": 600, "force": False}
        options = Namespace(**{**given, "allow_rollback": False, **more})
        return module.restarts(cluster, options), orders

    monkeypatch.setattr(module, "find", lambda kubectl, name: parse_node(kubectl.nodes[name]))
    monkeypatch.setattr(module, "on_node", lambda kubectl, *_: nullcontext(kubectl))
    monkeypatch.setattr(module, "restart", restart)
    return ordered


def test_a_node_goes_back_to_the_generation_before(back: Any) -> None:
    cluster = Cluster()
    code, orders = back(cluster, "a")
    assert code == 0
    assert cluster.programs == [("k3os", "status", "--json")]
    program = ("k3os", "upgrade", "--rollback", "--no-reboot")
    assert orders == [Order("rollback", 600, program=program)]


def test_one_without_a_generation_before_is_not_touched(back: Any) -> None:
    with pytest.raises(UserError, match="has no previous generation"):
        back(Cluster(previous={}), "a")


def test_one_that_came_up_with_something_else_is_exit_code_1(back: Any, capsys: Any) -> None:
    assert back(Cluster(), "a", comes_up_with="v1.0.0")[0] == 1
    assert "has k3os v1.0.0, not v0.9.0" in capsys.readouterr().out


def test_a_nodepool_that_would_bring_it_forward_again_is_named(back: Any, capsys: Any) -> None:
    words = r"NodePool workers would.*k3OS v0\.9\.0 -> v1\.1\.0"
    with pytest.raises(UserError, match=words) as caught:
        back(Cluster(pool()), "a")
    assert "kubectl k3os rollback nodepool/workers" in caught.value.hint
    # a paused NodePool does not undo it, nor does one without a version
    assert back(Cluster(pool(strategy={"paused": True})), "a")[0] == 0
    assert "workers is paused" in capsys.readouterr().out
    assert back(Cluster(pool(k3os={})), "a")[0] == 0


@pytest.mark.parametrize("name", ["workers", "nodepool/workers", "np/workers"])
def test_a_nodepool_wants_again_what_it_wanted(back: Any, monkeypatch: Any, name: str) -> None:
    undone: list[Any] = []

    def undo(_: Any, pool_name: str, number: int | None, *, allow: bool) -> int:
        undone.append((pool_name, number, allow))
        return 0

    monkeypatch.setattr(module, "undo", undo)
    code, orders = back(Cluster(pool()), name, allow_rollback=True)
    assert (code, orders) == (0, [])
    assert undone == [("workers", None, True)]


def test_a_name_of_both_has_to_be_told_apart(back: Any) -> None:
    cluster = Cluster(pool("both", selector={"matchLabels": {"x": "y"}}))
    with pytest.raises(UserError, match="a node and a NodePool 'both'"):
        back(cluster, "both")


# upgrade

URL = "https://example.com/k3os"
FORWARD = {"command": "upgrade", "k3os": "", "k3s": "", "url": ""}


def looked(cluster: Cluster) -> list[str]:
    (program,) = cluster.programs
    return list(program)


def test_a_node_gets_other_versions_after_it_has_been_asked_whether_it_can(back: Any) -> None:
    cluster = Cluster()
    given = {**FORWARD, "k3os": "v0.9.0", "k3s": PREVIOUS["k3s"], "url": f"{URL}/"}
    code, orders = back(cluster, "a", **given)
    assert code == 0
    words = ["k3os", "upgrade", "--k3os", f"{URL}/v0.9.0", "--expect", "v0.9.0"]
    words += ["--k3s", PREVIOUS["k3s"]]
    assert looked(cluster) == [*words, "--dry-run"]
    assert orders == [Order("upgrade", 600, program=(*words, "--no-reboot"))]


def test_what_it_has_already_is_not_done(back: Any, capsys: Any) -> None:
    cluster = Cluster()
    assert back(cluster, "a", **FORWARD | {"k3s": "v1.33.0+k3s1"}) == (0, [])
    assert cluster.programs == [] and "already" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "no version was given"),
        ({"k3os": "v1.1.0"}, "address of the k3OS release"),
        ({"k3os": "../..", "url": URL}, "is not a version"),
        ({"k3os": "v1.1.0", "url": "https://u:secret@example.com"}, "holds a name or a password"),
    ],
)
def test_wrong_words_reach_no_node(back: Any, given: dict[str, str], words: str) -> None:
    cluster = Cluster()
    with pytest.raises(UserError, match=words) as caught:
        back(cluster, "a", **FORWARD | given)
    assert cluster.programs == [] and "secret" not in str(caught.value)


def test_a_nodepool_that_would_take_it_back_is_named(back: Any) -> None:
    with pytest.raises(
        UserError, match=r"NodePool workers would undo this: k3OS v1\.2\.0 -> v1\.1\.0"
    ):
        back(Cluster(pool()), "a", **FORWARD | {"k3os": "v1.2.0"})
    # but it may get the version that the NodePool wants, from the NodePool's URL
    cluster = Cluster(pool())
    _, orders = back(cluster, "a", **FORWARD | {"k3os": "v1.1.0"})
    assert "https://example.com/v1.1.0" in orders[0].program
    # and any version of a component that the NodePool does not name
    assert back(Cluster(pool()), "a", **FORWARD | {"k3s": PREVIOUS["k3s"]})[0] == 0
