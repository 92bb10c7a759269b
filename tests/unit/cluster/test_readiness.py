"""Whether a node is Ready, and a kubelet that has given up."""

from __future__ import annotations

from typing import Any

import pytest

from k3os.cluster import readiness
from k3os.cluster.readiness import GIVES_UP_AFTER

# as k3s v1.22.3 left it on a busy machine
WORDS = "failed to initialize CSINode: error updating CSINode annotation: timed out waiting"


def node(status: str, message: str = "") -> dict[str, Any]:
    other = {"type": "MemoryPressure", "status": "False"}
    since = "2026-11-26T19:14:26Z"
    ready = {"type": "Ready", "status": status, "message": message, "lastTransitionTime": since}
    return {"status": {"conditions": [other, ready]}}


def test_the_condition_is_found_among_others() -> None:
    found = readiness.of(node("False", WORDS))
    assert found["message"] == WORDS
    assert found["since"] == "2026-11-26T19:14:26Z"
    assert not readiness.is_ready(found)
    assert readiness.is_ready(readiness.of(node("True")))


@pytest.mark.parametrize("value", [{}, {"status": None}, {"status": {"conditions": None}}])
def test_a_node_that_has_just_registered_has_none(value: dict[str, Any]) -> None:
    assert readiness.of(value) == {}
    assert not readiness.is_ready({})


@pytest.mark.parametrize(
    ("status", "message", "running", "wanted"),
    [
        ("False", WORDS, GIVES_UP_AFTER + 1, True),
        ("False", WORDS, GIVES_UP_AFTER - 1, False),  # the kubelet is still trying
        ("False", "cni plugin not initialized", 9999, False),  # waits for a CNI plugin
        ("Unknown", WORDS, 9999, False),  # no report from the kubelet
        ("True", "", 9999, False),
    ],
)
def test_only_a_kubelet_that_has_given_up_has(
    status: str, message: str, running: float, wanted: bool
) -> None:
    assert readiness.has_given_up(readiness.of(node(status, message)), running) is wanted


class Machine:
    """A clock, a k3s, and a node that is Ready once k3s has restarted."""

    def __init__(self, words: str = WORDS, *, heals: bool = True) -> None:
        self.now, self.started = 1000.0, 1000.0
        self.restarts: list[float] = []
        self.words, self.heals = words, heals

    def look(self) -> dict[str, str]:
        healed = self.heals and self.restarts and self.now > self.restarts[-1] + 60
        return readiness.of(node("True") if healed else node("False", self.words))

    def restart(self, words: str) -> None:
        assert words == self.words
        self.started = self.now
        self.restarts.append(self.now)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def watch(self) -> bool:
        return readiness.watch(
            self.look,
            lambda: self.now - self.started,
            self.restart,
            monotonic=lambda: self.now,
            sleep=self.sleep,
        )


def test_k3s_is_restarted_once_and_the_node_is_ready() -> None:
    machine = Machine()
    assert machine.watch()
    assert len(machine.restarts) == 1


def test_one_that_does_not_come_up_is_not_restarted_all_the_time() -> None:
    machine = Machine(heals=False)
    assert not machine.watch()
    assert len(machine.restarts) == 2  # 900 s, with more than 300 s for each start
    assert machine.now - 1000 < readiness.LONGEST + 2 * readiness.POLL


def test_what_somebody_else_brings_is_waited_for() -> None:
    machine = Machine("container runtime network not ready")
    assert not machine.watch()
    assert machine.restarts == []
