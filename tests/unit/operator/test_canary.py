"""Canaries: a step's limit holds, no matter what fails and when the operator dies."""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k3os.cluster.canary_spec import Canary, Gate, Step, parse_canary
from k3os.cluster.node import FAILED as NODE_FAILED
from k3os.cluster.request import Wanted
from k3os.cluster.secret_refs import SecretRef
from k3os.cluster.spec import Pool, Strategy, parse_pool
from k3os.cluster.target import Target, is_updated
from k3os.errors import UserError
from k3os.operator import canary
from k3os.operator.canary import (
    ANALYZING,
    COMPLETED,
    FAILED,
    PAUSING,
    PROGRESSING,
    ROLLED_BACK,
    ROLLING_BACK,
    Sight,
    State,
    Verdict,
    allowed,
    as_status,
    has,
    left,
    parse,
    proceed,
)
from tests.unit.operator.simulator import FATES, FINE, World, node
from tests.unit.operator.simulator import ROLLED_BACK as NODE_ROLLS_BACK

OLD = Target(k3os=Wanted("v1.0.0", "https://example.com"))
NEW = Target(k3os=Wanted("v1.1.0", "https://example.com"))
GATE = Gate("errors", "prometheus", {})
STEPS = (Step(1, 60), Step("50%"))


def pool(on_failure: str = "Pause", steps=STEPS, gates=(GATE,), **more: Any) -> Pool:
    wanted = Canary(steps, gates, 120, on_failure)
    return Pool("all", "uid", 1, {}, NEW, Strategy(canary=wanted, **more))


@dataclass
class Run:
    """A world whose operator does what the canary allows. gate: what its gate says."""

    world: World
    wanted: Pool
    gate: Verdict = field(default_factory=lambda: Verdict("errors", True))
    state: State | None = None
    retried: str = ""
    phases: list[str] = field(default_factory=list)

    def round(self, die_after: int | None = None) -> Any:
        cluster = self.world.cluster()
        effective = allowed(self.wanted, cluster, self.state, OLD)
        outcome = self.world.reconcile(effective, die_after=die_after)
        if die_after is None:  # otherwise it is killed before it writes the status
            sight = Sight([self.gate], OLD, OLD.digest, self.retried)
            state = proceed(self.wanted, self.world.cluster(), self.state, sight, self.world.now)
            if state != self.state:
                self.phases.append(state.phase if state else "")
            self.state = state
        self.world.live()
        return outcome

    def until(self, *phases: str, rounds: int = 300) -> None:
        for _ in range(rounds):
            self.round()
            if self.state and self.state.phase in phases and not self.world.busy():
                return
        raise AssertionError(f"never {phases}: {self.state}")

    @property
    def new(self) -> list[str]:
        return [each.name for each in self.world.nodes.values() if is_updated(each, NEW)]


def run(on_failure: str = "Pause", count: int = 6, gate: bool = True, **more: Any) -> Run:
    nodes = {f"w{number}": node(f"w{number}") for number in range(count)}
    found = World(nodes, dict.fromkeys(nodes, FINE))
    said = Verdict("errors", gate, "" if gate else "0.3 is above 0.1", final=not gate)
    return Run(found, pool(on_failure, **more), said)


def test_each_step_waits_for_its_pause_and_its_gates() -> None:
    found = run()
    found.until(PAUSING)
    assert found.new == ["w0"]
    began = found.world.now
    found.until(PROGRESSING)
    assert found.world.now - began >= 60
    found.until(COMPLETED)
    assert len(found.new) in (3, 4)
    for _ in range(60):
        found.round()
    assert len(found.new) == 6
    assert found.phases == [
        *(PROGRESSING, PAUSING, ANALYZING, PROGRESSING, PAUSING, ANALYZING, COMPLETED),
    ]


def test_a_gate_that_fails_stops_and_says_where_and_why() -> None:
    found = run(gate=False)
    found.until(FAILED)
    for _ in range(20):
        outcome = found.round()
    assert found.new == ["w0"]
    assert outcome.decisions == ()
    assert outcome.waiting == ("canary step 1 of 2 (1 node): failed: gate errors: 0.3 is above 0.1")
    assert found.state and "rollout retry all" in canary.remedy(found.wanted, found.state)


def test_a_gate_that_nobody_answers_fails_when_its_time_is_over() -> None:
    found = run()
    found.gate = Verdict("errors", None, "no answer: connection refused")
    found.until(ANALYZING)
    began = found.world.now
    found.until(FAILED)
    assert found.world.now - began >= 90
    assert found.state and found.state.message == "no answer: connection refused"


def test_an_operator_that_was_away_for_long_asks_before_it_says_that_time_is_over() -> None:
    found = run()
    late = State(NEW.digest, 0, ANALYZING, 0, OLD.digest)
    cluster = found.world.cluster()
    for verdicts in ([], [Verdict("errors", None, asked=False)]):
        assert proceed(found.wanted, cluster, late, Sight(verdicts), 1e6) == late
    after = proceed(found.wanted, cluster, late, Sight([Verdict("errors", None, "x")]), 1e6)
    assert after and after.phase == FAILED


def test_undone_it_goes_back_though_its_gate_is_closed() -> None:
    found = run(gate=False)
    found.until(FAILED)
    assert found.new == ["w0"]
    found.wanted = replace(found.wanted, target=OLD)
    found.until(COMPLETED)
    for _ in range(20):
        found.round()
    assert found.new == []


def test_retried_the_gates_are_asked_again_and_it_goes_on() -> None:
    found = run(gate=False)
    found.until(FAILED)
    found.gate = Verdict("errors", True)
    found.retried = "2031-01-01T00:00:00Z"
    found.until(COMPLETED)
    assert found.phases.count(FAILED) == 1


def test_rolled_back_nodes_have_again_what_they_had_and_others_are_not_touched() -> None:
    found = run("Rollback", gate=True)
    found.world.nodes["w5"] = replace(found.world.nodes["w5"], k3os="v0.9.0")
    found.until(PROGRESSING)
    while not (found.state and found.state.step == 1):
        found.round()
    found.gate = Verdict("errors", False, "0.3 is above 0.1", final=True)
    found.until(ROLLED_BACK)
    assert found.new == []
    assert ROLLING_BACK in found.phases
    assert {each.k3os for each in found.world.nodes.values()} == {"v1.0.0", "v0.9.0"}
    assert not any(each.state or each.unschedulable for each in found.world.nodes.values())
    for _ in range(10):
        assert found.round().decisions == ()


def test_a_node_that_fails_takes_the_others_back() -> None:
    found = run("Rollback")
    found.world.fates["w1"] = NODE_ROLLS_BACK
    found.until(ROLLED_BACK)
    assert found.new == []
    assert found.state and "w1: RolledBack: it hung" in found.state.message


def test_without_a_revision_before_nothing_goes_back() -> None:
    found = run("Rollback", gate=False)
    state = State(NEW.digest, 0, ANALYZING, 0)
    after = proceed(found.wanted, found.world.cluster(), state, Sight([found.gate]), 1.0)
    assert after and after.phase == FAILED
    assert "there is no earlier revision" in after.message


def test_what_was_only_tried_is_nothing_to_go_back_to() -> None:
    found = run("Rollback")
    other = "f" * 16
    for phase, stable in ((COMPLETED, other), (FAILED, "e" * 16), (PROGRESSING, "e" * 16)):
        state = State(other, 0, phase, 0, stable="e" * 16)
        after = proceed(found.wanted, found.world.cluster(), state, Sight(before="d" * 16), 1.0)
        assert after and (after.target, after.stable) == (NEW.digest, stable)


def test_nodes_that_have_it_already_need_no_steps() -> None:
    found = run()
    found.world.nodes = {
        name: replace(each, k3os="v1.1.0") for name, each in found.world.nodes.items()
    }
    found.round()
    assert found.state and found.state.phase == COMPLETED


def test_without_a_canary_nothing_is_written_and_nothing_held() -> None:
    plain = Pool("all", "uid", 1, {}, NEW, Strategy())
    cluster = run().world.cluster()
    assert proceed(plain, cluster, State(NEW.digest), Sight(), 0.0) is None
    assert allowed(plain, cluster, None, None) is plain


def test_what_is_written_is_read_back() -> None:
    state = State("a" * 16, 2, FAILED, 7, "b" * 16, 3, "errors", "why", "2031")
    assert parse({"canary": as_status(state)}) == state
    for bad in ({}, {"canary": None}, {"canary": {"phase": "Dancing", "target": "x"}}):
        assert parse(bad) is None


@st.composite
def runs(draw) -> Run:
    servers = draw(st.sampled_from([0, 1, 3]))
    nodes = {f"s{n}": node(f"s{n}", server=True) for n in range(servers)}
    nodes |= {f"w{n}": node(f"w{n}") for n in range(draw(st.integers(0, 6)))}
    fates = {name: draw(st.sampled_from([FINE] * 8 + list(FATES))) for name in nodes}
    steps = draw(
        st.lists(
            st.builds(
                Step, st.sampled_from([1, 2, "10%", "50%", "100%"]), st.sampled_from([0, 60])
            ),
            min_size=1,
            max_size=3,
        )
    )
    wanted = pool(
        draw(st.sampled_from(["Pause", "Rollback"])),
        tuple(steps),
        draw(st.sampled_from([(), (GATE,)])),
        max_unavailable=draw(st.sampled_from([1, 2, "100%"])),
    )
    return Run(World(nodes, fates), wanted)


@settings(max_examples=80, deadline=None)
@given(runs(), st.data())
def test_no_more_than_the_step_allows_and_every_run_ends(found: Run, data: Any) -> None:
    wanted, world = found.wanted, found.world
    total, quiet = len(world.nodes), 0
    most = wanted.strategy.limit(total)
    for _ in range(500):
        if data.draw(st.integers(0, 9)) == 0:
            passed = data.draw(st.sampled_from([True, True, False, None]))
            found.gate = Verdict("errors", passed, "x", final=data.draw(st.booleans()))
        before, written = {n for n, each in world.nodes.items() if has(each, NEW)}, found.state
        outcome = found.round(data.draw(st.sampled_from([None, None, None, 0, 1, 2])))
        given_it = {n for n, each in world.nodes.items() if has(each, NEW)}
        begun = given_it - before
        if begun:
            assert written is not None and written.phase in (
                *(PROGRESSING, PAUSING, ANALYZING, COMPLETED),
            )
        if written and begun and written.phase != COMPLETED:
            step = wanted.strategy.canary.steps[written.step]  # type: ignore[union-attr]
            assert len(given_it) <= step.count(total)
        assert len(world.absent()) <= most
        assert sum(each.control_plane for each in world.busy()) <= 1
        over = [each for each in world.jobs.values() if each.done is not None]
        ended = not (world.busy() or over or outcome.decisions)
        final = found.state is not None and found.state.phase not in (
            PROGRESSING,
            PAUSING,
            ANALYZING,
        )
        quiet = quiet + 1 if ended and found.state == written else 0
        if quiet > (3 if final else 20):
            break
    else:
        raise AssertionError(f"no end: {found.state}")
    failed = [
        each for each in world.nodes.values() if each.state and each.state.step == NODE_FAILED
    ]
    assert found.state is not None
    if found.state.phase == COMPLETED and not failed:
        assert all(is_updated(each, NEW) for each in world.nodes.values())
    if found.state.phase == ROLLED_BACK:
        assert left(wanted, world.cluster(), OLD) == []
    if found.state.phase in (PROGRESSING, PAUSING, ANALYZING):
        assert failed or not world.nodes, "a node that failed holds the NodePool"


VALID: dict[str, Any] = {
    "steps": [{"nodes": 1, "pause": "10m"}, {"nodes": "50%"}],
    "analysis": [
        {
            "name": "errors",
            "prometheus": {
                "address": "http://prometheus.monitoring:9090",
                "query": "sum(rate(errors[5m]))",
                "thresholdRange": {"max": 0.1},
            },
        },
        {"name": "smoke", "job": {"from": "cronjob/smoke"}},
        {"name": "web", "pods": {"namespace": "web", "selector": {"matchLabels": {"app": "web"}}}},
        {
            "name": "ceph",
            "condition": {
                "apiVersion": "ceph.rook.io/v1",
                "kind": "CephCluster",
                "name": "rook",
                "namespace": "rook-ceph",
                "type": "Ready",
            },
        },
    ],
    "analysisTimeout": "2m",
    "onFailure": "Rollback",
}


def test_an_example_becomes_records() -> None:
    found = parse_canary(VALID)
    assert found is not None
    assert [(each.nodes, each.pause) for each in found.steps] == [(1, 600), ("50%", 0)]
    assert [each.kind for each in found.gates] == ["prometheus", "job", "pods", "condition"]
    assert (found.timeout, found.on_failure) == (120, "Rollback")
    assert found.gates[3].given["status"] == "True"


def changed(*path: Any, value: Any) -> dict[str, Any]:
    import copy

    found = copy.deepcopy(VALID)
    place: Any = found
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return found


@pytest.mark.parametrize(
    ("given", "where"),
    [
        ([], ""),
        (changed("steps", value=[]), "steps"),
        (changed("steps", value=[1]), "steps[0]"),
        (changed("steps", 1, "nodes", value="0%"), "steps[1].nodes"),
        (changed("steps", 1, "nodes", value=0), "steps[1].nodes"),
        (changed("steps", 0, "pause", value="soon"), "steps[0].pause"),
        (changed("analysis", 0, "name", value=""), "analysis[0].name"),
        (changed("analysis", 1, "name", value="errors"), "analysis"),
        (changed("analysis", 1, value={"name": "x"}), "analysis[1]"),
        (changed("analysis", 1, "pods", value={}), "analysis[1]"),
        (changed("analysis", 1, "job", "from", value="job/x"), "analysis[1].job.from"),
        (changed("analysis", 2, "pods", "namespace", value=""), "analysis[2].pods.namespace"),
        (
            changed("analysis", 2, "pods", "selector", value={}),
            "analysis[2].pods.selector.matchLabels",
        ),
        (changed("analysis", 3, "condition", "kind", value="../x"), "analysis[3].condition.kind"),
        (
            changed("analysis", 3, "condition", "apiVersion", value="x"),
            "analysis[3].condition.apiVersion",
        ),
        (
            changed("analysis", 0, "prometheus", "address", value="ftp://x"),
            "analysis[0].prometheus.address",
        ),
        (
            changed("analysis", 0, "prometheus", "address", value="http://u:p@x"),
            "analysis[0].prometheus.address",
        ),
        (
            changed("analysis", 0, "prometheus", "thresholdRange", value={"max": "x"}),
            "analysis[0].prometheus.thresholdRange.max",
        ),
        (changed("analysisTimeout", value="never"), "analysisTimeout"),
        (changed("onFailure", value="Panic"), "onFailure"),
    ],
)
def test_what_is_wrong_is_named_by_its_key(given: Any, where: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_pool({"metadata": {"name": "p"}, "spec": {"strategy": {"canary": given}}})
    assert caught.value.where == f"spec.strategy.canary{'.' if where else ''}{where}"


def sealed(seal: str) -> Pool:
    """A NodePool in which a secret has the value with this seal."""
    config = {"k3os": {"token": "$(secret.t)"}}
    refs = (SecretRef("t", "office", "token"),)
    return replace(pool("Rollback"), target=Target(config=config, refs=refs, seals={"t": seal}))


def test_another_value_of_a_secret_goes_through_the_steps() -> None:
    found = run("Rollback")
    found.wanted = sealed("one")
    found.until(COMPLETED)
    for _ in range(30):
        found.round()
    assert found.state is not None and found.state.target == sealed("one").target.digest
    found.wanted = sealed("two")
    found.until(PAUSING)
    two = sealed("two").target
    assert [each.name for each in found.world.nodes.values() if is_updated(each, two)] == ["w0"]
    assert found.state.stable == sealed("one").target.digest


def test_a_former_value_of_a_secret_is_nothing_that_can_be_gone_back_to() -> None:
    found = run("Rollback")
    found.wanted = sealed("one")
    found.until(COMPLETED)
    for _ in range(30):
        found.round()
    found.wanted = sealed("two")
    found.gate = Verdict("errors", False, "0.3 is above 0.1", final=True)
    found.until(FAILED)
    assert found.state is not None
    assert "put the former value back into the Secret" in found.state.message
    # that completes it
    found.wanted = sealed("one")
    found.until(COMPLETED)
    for _ in range(30):
        found.round()
    one = sealed("one").target
    assert all(is_updated(each, one) for each in found.world.nodes.values())
