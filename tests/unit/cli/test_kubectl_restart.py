"""`kubectl k3os reboot`: words, lines and exit codes; what it does has cluster/test_restart.py."""

from typing import Any

import pytest

from k3os.cli import kubectl as plugin
from k3os.cli import kubectl_restart as module
from k3os.cluster.kubectl import Kubectl
from k3os.cluster.node import parse_node
from k3os.cluster.restart import Order
from k3os.errors import UserError
from tests.unit.cluster.objects import node


@pytest.fixture
def orders(monkeypatch: Any) -> list[tuple[Kubectl, str, Order]]:
    """What was ordered; the node is back at once."""
    found: list[tuple[Kubectl, str, Order]] = []

    def restart(kubectl: Kubectl, name: str, order: Order, say: Any) -> Any:
        found.append((kubectl, name, order))
        say("restarts\x1b[2J")
        if name == "lost":
            raise UserError("it is not back in time", "look at its screen")
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
    assert "error: lost: it is not back in time; look at its screen" in capsys.readouterr().err
