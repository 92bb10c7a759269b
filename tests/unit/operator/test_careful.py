"""A canary as the engine goes through it: what is written in a status outlives the operator."""

import asyncio
from typing import Any

import pytest

from k3os.cluster.request import Wanted
from k3os.cluster.target import Target
from k3os.operator import canary
from k3os.operator.careful import Careful, Look
from k3os.operator.revisions import Revisions
from k3os.operator.spec import Pool, read_pool
from k3os.operator.status import status
from tests.unit.operator.simulator import FINE, World, node
from tests.unit.operator.test_revisions import StubApi

URL = "https://example.com"
# a gate that nobody answers: its Prometheus is not there
GATE = {
    "name": "errors",
    "prometheus": {"address": "http://127.0.0.1:1", "query": "x", "thresholdRange": {"max": 1}},
}


class Operators:
    """One operator after another, over nodes that live in memory."""

    def __init__(self, count: int = 3, uid: str = "u1", **wanted: Any) -> None:
        each = {f"w{number}": node(f"w{number}") for number in range(count)}
        self.world = World(each, dict.fromkeys(each, FINE))
        self.api = StubApi()
        self.body: dict[str, Any] = {
            "metadata": {"name": "all", "uid": uid, "generation": 1, "annotations": {}},
            "spec": {"nodeSelector": {"matchLabels": {}}},
        }
        self.want("v1.0.0", **wanted)
        self.start()

    def want(self, version: str, config: dict[str, Any] | None = None, **wanted: Any) -> None:
        spec = self.body["spec"]
        spec["k3os"] = {"version": version, "url": URL}
        spec["config"] = config or {}
        plan = {"steps": [{"nodes": 1}], "onFailure": "Rollback"} | wanted
        spec["strategy"] = {"canary": plan}

    def start(self) -> None:
        """A new process, which knows nothing."""
        self.revisions = Revisions(self.api)  # type: ignore[arg-type]
        self.careful = Careful(self.api, self.revisions, lambda: None)  # type: ignore[arg-type]

    @property
    def pool(self) -> Pool:
        return read_pool(self.body)

    def target(self, version: str) -> str:
        """The digest of that version with no configuration."""
        return Target(Wanted(version, URL)).digest

    @property
    def state(self) -> canary.State | None:
        return canary.parse(self.body.get("status") or {})

    @property
    def phase(self) -> str:
        return self.state.phase if self.state else ""

    @property
    def shown(self) -> dict[str, Any]:
        return dict(self.body["status"])

    async def _round(self) -> Look:
        before, cluster = self.body.get("status") or {}, self.world.cluster()
        (look,) = await self.careful.look([(self.body, self.pool)], {}, cluster, self.world.now)
        outcome = self.world.reconcile(look.pool)
        after = status(
            *(self.pool, cluster, outcome.waiting, self.world.now, before, {}, look.shown)
        )
        await self.revisions.keep(
            self.pool, self.body, self.world.now, look.state.stable if look.state else ""
        )
        self.body["status"] = {
            name: value for name, value in {**before, **after}.items() if value is not None
        }
        self.world.live()
        self.careful.close()
        return look

    def rounds(self, count: int = 1) -> Look:
        async def go() -> Look:
            for _ in range(count):
                look = await self._round()
            return look

        return asyncio.run(go())

    def until(self, *phases: str, rounds: int = 200) -> None:
        for _ in range(rounds):
            self.rounds()
            if self.phase in phases and not self.world.busy():
                return
        raise AssertionError(f"never {phases}: {self.state}, {self.shown}")

    @property
    def versions(self) -> list[str]:
        return [each.k3os for each in self.world.nodes.values()]

    def settled(self) -> "Operators":
        """What was wanted first is completed."""
        self.until(canary.COMPLETED)
        return self


@pytest.mark.parametrize("phase", canary.PHASES)
def test_an_operator_that_starts_anew_goes_on_from_what_is_written(phase: str) -> None:
    """Before it has read the history, it takes nothing back that another one wrote."""
    found = Operators().settled()
    found.want("v1.1.0", steps=[{"nodes": 1, "pause": "1h"}, {"nodes": 2}])
    written = canary.State(
        found.pool.target.digest, 1, phase, int(found.world.now), found.state.target, 2, "", "why"
    )
    found.body["status"]["canary"] = canary.as_status(written)
    shown = found.shown["phase"] if phase != canary.COMPLETED else ""
    for _ in range(3):
        found.start()
        look = found.rounds()
        assert found.state == written
        assert look.pool.allowed == 0, "its history is not read yet"
        if phase in (canary.FAILED, canary.ROLLED_BACK):
            assert found.shown["phase"] == "Failed", shown


def test_on_a_single_node_the_gates_are_asked_by_the_operator_that_comes_back_with_it() -> None:
    found = Operators(1).settled()
    found.want("v1.1.0", analysis=[GATE])
    for _ in range(200):
        found.rounds()
        if found.world.away:
            found.start()
        if found.phase == canary.ANALYZING:
            break
    assert found.phase == canary.ANALYZING


def test_a_spec_with_a_mistake_in_it_takes_nothing_back_that_is_written() -> None:
    found = Operators().settled()
    written = found.state
    for wrong in ({"analysis": [{"name": "x"}]}, {"steps": []}):
        found.want("v1.1.0", **wrong)
        found.rounds()
        assert found.shown["phase"] == "Failed"
        assert found.state == written
    del found.body["spec"]["strategy"]
    found.rounds()
    assert found.state is None, "without a canary nothing of one stays"


def test_a_node_on_its_way_back_is_not_let_go_by_an_operator_that_starts_anew() -> None:
    found = Operators().settled()
    found.want("v1.1.0")
    found.until(canary.COMPLETED)
    found.body["status"]["canary"] |= {"phase": canary.ROLLING_BACK}
    while not found.world.busy():
        found.rounds()
    (on_its_way,) = found.world.busy()
    found.start()
    look = found.rounds()
    assert look.pool.held == "its revisions are not read yet"
    assert [each.state for each in found.world.busy()] == [on_its_way.state]
    found.until(canary.ROLLED_BACK)
    assert set(found.versions) == {"v1.0.0"}


def test_what_failed_gets_its_steps_again_when_it_is_wanted_again_after_an_undo() -> None:
    """`rollout undo`, then the next `kubectl apply` from a repository that still wants it."""
    found = Operators().settled()
    found.want("v1.1.0")
    found.rounds(2)
    found.body["status"]["canary"] |= {"phase": canary.FAILED}
    found.want("v1.0.0")
    found.until(canary.COMPLETED)
    assert found.versions == ["v1.0.0"] * 3
    found.want("v1.1.0", steps=[{"nodes": 1, "pause": "1h"}])
    found.until(canary.PAUSING)
    found.rounds(20)
    assert sorted(found.versions) == ["v1.0.0", "v1.0.0", "v1.1.0"]
    assert found.state and found.state.stable == found.target("v1.0.0")


def test_what_was_completed_and_undone_gets_its_steps_again_too() -> None:
    found = Operators().settled()
    found.want("v1.1.0")
    found.until(canary.COMPLETED)
    found.rounds(30)
    found.want("v1.0.0")
    found.until(canary.COMPLETED)
    found.rounds(30)
    assert found.versions == ["v1.0.0"] * 3
    found.want("v1.1.0", steps=[{"nodes": 1, "pause": "1h"}])
    found.rounds(20)
    assert found.phase == canary.PAUSING
