"""Unhealthy workloads that roll nodes back, as a canary does: with one in the spec, or without."""

from dataclasses import replace

from k3os.cluster.canary_spec import IMPLIED, Canary, Step
from k3os.cluster.spec import Pool, Strategy
from k3os.cluster.turns import is_sick
from k3os.cluster.workloads import SICK, Workloads
from k3os.operator import canary
from k3os.operator.canary import (
    COMPLETED,
    FAILED,
    PROGRESSING,
    ROLLED_BACK,
    ROLLING_BACK,
    Sight,
    State,
    proceed,
)
from k3os.operator.canary_engine import shown
from tests.unit.operator.simulator import FINE, node
from tests.unit.operator.test_canary import NEW, OLD, Run
from tests.unit.operator.test_soak import WHY, WORDS, Watched

STEPS = (Step(1), Step(2))


def run(on_failure: str, plan: Canary, stable: str = OLD.digest, **sick: dict[str, str]) -> Run:
    nodes = {name: node(name) for name in "abcd"}
    world = Watched(nodes, dict.fromkeys(nodes, FINE), sick=dict(sick))
    strategy = Strategy(canary=plan, workloads=Workloads(on_failure, 60))
    found = Run(world, Pool("all", "uid", 1, {}, NEW, strategy))
    found.state = State(NEW.digest, stable=stable)
    return found


def versions(found: Run) -> list[str]:
    return [each.k3os for each in found.world.nodes.values()]


def test_without_a_canary_all_that_have_what_is_new_go_back_and_are_not_looked_at_again() -> None:
    found = run("Rollback", IMPLIED, c=WHY)
    for _ in range(100):
        found.round()
        if found.new == ["a", "b"]:
            break
    found.until(ROLLED_BACK)
    assert versions(found) == ["v1.0.0"] * 4
    assert found.state and found.state.message.startswith(f"c: {SICK}: {WORDS}")
    assert not any(each.workloads for each in found.world.nodes.values())
    told = shown(found.wanted, found.state, OLD, "")
    assert told.judged["Degraded"][1] == SICK
    assert "canary" not in told.judged["Degraded"][2]
    assert "rollout retry" in told.judged["Degraded"][2]


def test_without_a_revision_to_go_back_to_it_waits_until_they_are_ready() -> None:
    found = run("Rollback", IMPLIED, stable="", b=WHY)
    found.until(FAILED)
    assert found.state and "there is no earlier revision" in found.state.message
    assert versions(found).count("v1.1.0") == 2
    found.world.sick["b"] = {}
    found.until(COMPLETED)
    assert versions(found) == ["v1.1.0"] * 4


def test_who_goes_on_is_not_taken_back_for_the_same_again() -> None:
    found = run("Rollback", IMPLIED, stable="", b=WHY)
    found.until(FAILED)
    found.wanted = replace(found.wanted, retried="now")
    found.retried = "now"
    found.until(COMPLETED)
    assert versions(found) == ["v1.1.0"] * 4


def test_an_operator_killed_between_the_two_writes_of_a_retry_takes_nobody_back() -> None:
    """The status says that it continues, but the node is still failed."""
    found = run("Rollback", IMPLIED, b=WHY)
    for _ in range(100):
        if any(map(is_sick, found.world.nodes.values())):
            break
        found.round()
    again = replace(found.wanted, retried="now")
    state = State(NEW.digest, stable=OLD.digest, retried="now")
    sight = Sight(stable=OLD, before=OLD.digest, retried="now")
    cluster, now = found.world.cluster(), found.world.now
    assert proceed(again, cluster, state, sight, now) == state
    failed = proceed(found.wanted, cluster, state, sight, now)
    assert failed and failed.phase == ROLLING_BACK


def test_of_a_canary_that_takes_back_only_its_own_rule_says_what_is_sick() -> None:
    """The node did what it should: only the workloads failed."""
    found = run("Pause", Canary(STEPS, on_failure="Rollback"), a=WHY)
    for _ in range(60):
        found.round()
    assert is_sick(found.world.nodes["a"])
    assert found.state and found.state.phase == PROGRESSING
    assert found.state.step == 0, "its step is not done"
    assert found.new == ["a"]


def test_a_canary_that_pauses_goes_back_for_sick_workloads() -> None:
    found = run("Rollback", Canary(STEPS), a=WHY)
    found.until(ROLLED_BACK)
    assert versions(found) == ["v1.0.0"] * 4
    assert canary.described(found.wanted, found.state).startswith("canary step 1 of 2")  # type: ignore[arg-type]
