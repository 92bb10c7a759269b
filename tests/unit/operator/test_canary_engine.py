"""A canary in the engine: the state in the NodePool's status outlives the operator."""

import asyncio
from dataclasses import asdict
from typing import Any

import pytest

from k3os import names
from k3os.cluster.progress import GIVEN_UP, progress
from k3os.cluster.request import Wanted
from k3os.cluster.spec import Pool, read_pool
from k3os.cluster.target import Target
from k3os.operator import canary
from k3os.operator.canary_engine import CanaryEngine, Look
from k3os.operator.engine import Engine, Sight
from k3os.operator.revisions import Revisions
from k3os.operator.secret_reader import SecretReader
from k3os.operator.status import status
from tests.unit.cluster import objects
from tests.unit.operator.simulator import FINE, World, node
from tests.unit.operator.simulator import ROLLED_BACK as NODE_ROLLS_BACK
from tests.unit.operator.test_hostile import StubApi as HostileApi
from tests.unit.operator.test_revisions import StubApi

URL = "https://example.com"
# a gate without an answer: its Prometheus does not exist
GATE = {
    "name": "errors",
    "prometheus": {"address": "http://127.0.0.1:1", "query": "x", "thresholdRange": {"max": 1}},
}


class Operators:
    """One operator after another, with nodes in memory."""

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
        """Start a new process, which knows nothing."""
        self.revisions = Revisions(self.api)  # type: ignore[arg-type]
        reader = SecretReader(self.api)  # type: ignore[arg-type]
        self.canaries = CanaryEngine(self.api, self.revisions, reader, lambda: None)  # type: ignore[arg-type]

    @property
    def pool(self) -> Pool:
        return read_pool(self.body)

    def target(self, version: str) -> str:
        """The digest of the target with this version and no configuration."""
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
        (look,) = await self.canaries.look([(self.body, self.pool)], cluster, self.world.now)
        outcome = self.world.reconcile(look.pool)
        after = status(
            *(self.pool, cluster, outcome.waiting, self.world.now, before, {}, look.shown)
        )
        await self.revisions.keep(self.pool, self.body, self.world.now, *look.kept)
        self.body["status"] = {
            name: value for name, value in {**before, **after}.items() if value is not None
        }
        self.world.live()
        self.canaries.close()
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
        """Wait until the first target is completed."""
        self.until(canary.COMPLETED)
        return self


@pytest.mark.parametrize("phase", canary.PHASES)
def test_an_operator_that_starts_anew_goes_on_from_what_is_written(phase: str) -> None:
    """Before it has read the history, it does not undo what another operator wrote."""
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


def test_secrets_of_what_nobody_goes_back_to_any_more_are_not_looked_at() -> None:
    found = Operators().settled()
    found.want("v1.1.0")
    found.until(canary.COMPLETED)
    found.body["status"]["canary"] |= {"phase": canary.ROLLING_BACK}
    found.until(canary.ROLLED_BACK)
    assert [each.digest for each in found.canaries.targets] == [found.target("v1.0.0")]
    found.want("v1.2.0")
    found.rounds(2)
    assert list(found.canaries.targets) == []


def test_what_failed_gets_its_steps_again_when_it_is_wanted_again_after_an_undo() -> None:
    """`rollout undo`, then the next `kubectl apply` from a repository that still has it."""
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


@pytest.mark.parametrize("phase", [canary.PAUSING, canary.ANALYZING])
def test_it_does_not_turn_in_a_circle_while_time_alone_lets_nothing_go_on(phase: str) -> None:
    """With an error in the spec, an unknown channel, or a gate that has not answered yet."""
    found = Operators().settled()
    found.want("v1.1.0", analysis=[GATE])
    late = canary.State(found.pool.target.digest, 0, phase, 0, found.target("v1.0.0"))
    found.body["status"]["canary"] = canary.as_status(late)
    found.rounds()
    if phase == canary.ANALYZING:
        look = found.rounds()
        assert found.state == late, "nobody was asked yet"
        assert look.wake is not None and look.wake >= 1
    found.body["status"]["canary"] = canary.as_status(late)
    for change in ({"config": {"hostname": "a b"}}, {"k3s": {"channel": "stable"}}):
        found.body["spec"] |= change
        look = found.rounds()
        assert look.pool.problems or look.pool.unresolved
        assert look.wake is None or look.wake >= 1
        found.body["spec"] |= {"config": {}}


def retried(found: Operators, stamp: str) -> None:
    found.body["metadata"]["annotations"][names.RETRIED] = stamp


def test_a_retry_is_heeded_once_and_never_before_there_is_something_to_retry() -> None:
    found = Operators().settled()
    found.want("v1.1.0", onFailure="Pause", steps=[{"nodes": 1, "pause": "1h"}])
    retried(found, "2031-01-01T00:00:00Z")
    found.until(canary.PAUSING)
    retried(found, "2031-01-02T00:00:00Z")
    look = found.rounds()
    assert look.said is None, "an Event tells each phase once"
    found.body["status"]["canary"] |= {"phase": canary.FAILED, "gate": "errors"}
    found.rounds(5)
    assert found.phase == canary.FAILED
    del found.body["metadata"]["annotations"][names.RETRIED]  # as `kubectl replace` does
    found.rounds(5)
    assert found.phase == canary.FAILED
    retried(found, "2031-01-03T00:00:00Z")
    found.rounds()
    assert found.phase == canary.ANALYZING


def test_after_a_node_that_failed_a_retry_goes_through_the_step_again() -> None:
    found = Operators().settled()
    found.want("v1.1.0", steps=[{"nodes": 1, "pause": "1h"}])
    failed = canary.State(found.pool.target.digest, 0, canary.FAILED, 0, "", message="w0: x")
    found.body["status"]["canary"] = canary.as_status(failed)
    retried(found, "2031-01-01T00:00:00Z")
    found.rounds()
    assert found.phase == canary.PROGRESSING


def test_after_a_way_back_from_a_node_that_failed_a_retry_begins_anew() -> None:
    found = Operators().settled()
    found.world.fates["w0"] = NODE_ROLLS_BACK
    found.want("v1.1.0")
    found.until(canary.ROLLED_BACK)
    assert found.versions == ["v1.0.0"] * 3
    found.rounds(3)
    assert not any(each.state for each in found.world.nodes.values()), "nothing is left behind"
    found.world.fates["w0"] = FINE
    retried(found, "2031-01-01T00:00:00Z")
    found.until(canary.COMPLETED)
    found.rounds(30)
    assert found.versions == ["v1.1.0"] * 3


def back_with(found: Operators, config: dict[str, Any] | None = None) -> None:
    """Roll back from v1.1.0, which all nodes have, to v1.0.0 with this configuration."""
    found.want("v1.0.0", config)
    found.until(canary.COMPLETED)
    found.rounds(30)
    found.want("v1.1.0")
    found.until(canary.COMPLETED)
    found.rounds(30)
    found.body["status"]["canary"] |= {"phase": canary.ROLLING_BACK, "gate": "errors"}


CONFIG = {"k3os": {"sysctls": {"vm.max_map_count": "262144"}}}


def test_a_way_back_that_a_node_stops_says_so() -> None:
    found = Operators().settled()
    back_with(found)
    found.world.fates["w0"] = NODE_ROLLS_BACK
    found.rounds(30)
    assert found.phase == canary.ROLLING_BACK
    assert found.shown["phase"] == "Failed"
    assert "w0 failed: RolledBack" in found.shown["waiting"]
    degraded = found.shown["conditions"][2]
    assert "w0: RolledBack: it hung" in degraded["message"]
    assert f"kubectl annotate node w0 {names.ROLLOUT}-" in degraded["message"]


def test_a_way_back_to_what_is_not_kept_any_more_says_so_and_stays_where_it_is() -> None:
    found = Operators().settled()
    back_with(found, CONFIG)
    for kind, name in list(found.api.client.kept):
        if kind == "Secret":
            del found.api.client.kept[kind, name]
    found.start()
    found.rounds(10)
    assert found.phase == canary.ROLLING_BACK
    assert found.shown["phase"] == "Failed"
    assert "is gone" in found.shown["waiting"]
    found.body["status"]["canary"] |= {"phase": canary.ROLLED_BACK}
    found.rounds(3)
    assert found.phase == canary.ROLLED_BACK


def test_a_history_without_length_keeps_what_a_canary_goes_back_to() -> None:
    found = Operators()
    found.body["spec"]["revisionHistoryLimit"] = 0
    found.settled()
    for version in ("v1.1.0", "v1.2.0"):
        found.want(version)
        found.until(canary.COMPLETED)
        found.rounds(30)
    found.want("v1.3.0")
    found.rounds(3)
    found.body["status"]["canary"] |= {"phase": canary.ROLLING_BACK}
    found.until(canary.ROLLED_BACK)
    assert found.versions == ["v1.2.0"] * 3


@pytest.mark.parametrize("count", [1, 3])
def test_it_is_not_over_before_its_last_gate_is_open(count: int) -> None:
    """`kubectl wait --for=jsonpath='{.status.phase}'=Updated` and `rollout status` depend on it."""
    found = Operators(count).settled()
    found.want("v1.1.0", steps=[{"nodes": "100%", "pause": "2m"}])
    seen = {canary.PROGRESSING: "Updating", canary.PAUSING: "Updating"}
    for _ in range(100):
        found.rounds()
        if found.phase == canary.COMPLETED:
            break
        assert found.shown["phase"] == seen.get(found.phase, "Updating")
        progressing = found.shown["conditions"][0]
        assert (progressing["status"], progressing["reason"]) != ("False", "Updated")
    found.rounds()
    assert found.shown["phase"] == "Updated"


def test_the_words_of_a_retry_are_the_canarys() -> None:
    assert set(GIVEN_UP) == {canary.FAILED, *canary.BACK}


def test_a_node_that_fails_on_its_way_back_is_listed_as_failed() -> None:
    found = Operators().settled()
    back_with(found)
    found.world.fates["w0"] = NODE_ROLLS_BACK
    found.rounds(30)
    failed = found.world.nodes["w0"].state
    assert failed is not None
    body = objects.node("w0", "v1.1.0", state=asdict(failed))
    (row,) = progress("all", [found.body], [body]).rows
    assert (row.step, row.message) == ("Failed", "RolledBack: it hung")


def test_what_does_not_go_back_since_no_revision_names_it_is_said() -> None:
    found = Operators().settled()
    found.body["spec"]["k3s"] = {"version": "v1.34.0+k3s1"}
    found.rounds(2)
    found.body["status"]["canary"] |= {"phase": canary.ROLLING_BACK, "gate": "errors"}
    found.rounds(5)
    assert "names no version of k3s" in found.shown["conditions"][2]["message"]


def test_a_nodepool_of_the_same_name_begins_with_nothing_of_the_one_before() -> None:
    """`kubectl replace --force`: between two rounds one is deleted and the other created."""
    found = Operators()
    found.rounds()
    failed = canary.State(found.pool.target.digest, 0, canary.FAILED, 7, message="why")
    old = found.body | {"status": {"canary": canary.as_status(failed)}}
    meta = found.body["metadata"] | {"uid": "u2", "resourceVersion": "2"}
    new = {"metadata": meta, "spec": found.body["spec"]}
    pools, api = {"all": [old]}, HostileApi()

    async def looks() -> None:
        engine = Engine(api, Sight(pools, {}, {}, {}), lambda *_: None)  # type: ignore[arg-type]
        await engine.reconcile()
        await engine.reconcile()
        assert api.statuses["all"]["phase"] == "Failed"
        pools["all"] = [new]
        for _ in range(3):
            await engine.reconcile()
        await engine.close()

    asyncio.run(looks())
    assert api.statuses["all"]["canary"]["phase"] == canary.PROGRESSING
