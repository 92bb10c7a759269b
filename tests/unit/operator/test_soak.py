"""Workloads during an upgrade: unhealthy ones stop the rollout or are ignored, but are recorded."""

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k3os.cluster.drain import Load
from k3os.cluster.node import DRAINING, FAILED, SOAKING
from k3os.cluster.spec import Drain
from k3os.cluster.target import is_updated
from k3os.cluster.turns import is_sick
from k3os.cluster.views import PodView
from k3os.cluster.workloads import SICK, Record, Workloads
from k3os.operator.decisions import Eviction
from k3os.operator.status import status
from tests.unit.operator.simulator import FINE, STEP, World, node
from tests.unit.operator.test_rollout import NEW, pool

WEB = {"Deployment/default/web": 2}
WHY = {"Deployment/default/web": "1 of 2 pods, CrashLoopBackOff in container app"}
WORDS = "Deployment default/web was Ready on it before the upgrade and is not after: 1 of 2 pods"


@dataclass
class Watched(World):
    """before, sick: what is found for a node, None while there is no answer."""

    before: dict[str, dict[str, int] | None] = field(default_factory=dict)
    sick: dict[str, dict[str, str] | None] = field(default_factory=dict)

    def loads(self) -> dict[str, Load]:
        found = super().loads()
        for name, each in self.nodes.items():
            ready = self.before.get(name, WEB)
            before = None
            if each.state and each.state.step == DRAINING and ready is not None:
                before = Record(each.state.request, ready)
            found[name] = replace(found[name], before=before, sick=self.sick.get(name, {}))
        return found


def watched(*names: str, **sick: dict[str, str] | None) -> Watched:
    nodes = {name: node(name) for name in names}
    found = Watched(nodes, dict.fromkeys(nodes, FINE), sick=dict(sick))
    found.pods = {name: [PodView("default", f"web-{name}", "ReplicaSet")] for name in names}
    return found


def wanted(on_failure: str = "Pause", soak: int = 120, **more):
    return pool(workloads=Workloads(on_failure, soak), **more)


def rounds(found: Watched, target, count: int = 60) -> None:
    for _ in range(count):
        found.reconcile(target)
        found.live()


def said(found: Watched, reason: str) -> list[str]:
    return [each.message for each in found.events if each.reason == reason]


def updated(found: Watched) -> list[str]:
    return [each.name for each in found.nodes.values() if is_updated(each, NEW) and not each.state]


def test_a_node_takes_pods_again_and_the_next_one_waits_for_its_workloads() -> None:
    found, target = watched("a", "b"), wanted(soak=10 * STEP)
    began = 0.0
    for _ in range(60):
        found.reconcile(target)
        state = found.nodes["a"].state
        if state and state.step == SOAKING:
            began = began or found.now
            assert not found.nodes["a"].unschedulable
            assert found.nodes["b"].state is None
        found.live()
    assert began
    assert updated(found) == ["a", "b"]
    assert all(each.workloads is None for each in found.nodes.values())
    assert "all of its workloads are Ready again (1)" in said(found, "Updated")[0]


def test_nothing_is_evicted_before_it_is_written_down_who_was_ready() -> None:
    found, target = watched("a"), wanted()
    found.nodes["b"] = node("b")
    found.fates["b"] = FINE
    found.before["a"] = None
    rounds(found, target, 6)
    assert found.nodes["a"].state and found.nodes["a"].state.step == DRAINING
    assert not any(isinstance(each, Eviction) for each in found.done)
    found.before["a"] = WEB
    for _ in range(20):
        found.reconcile(target)
        if any(isinstance(each, Eviction) for each in found.done):
            break
    assert found.nodes["a"].workloads == Record(found.nodes["a"].state.request, WEB)


def test_what_is_sick_is_named_and_nothing_begins_until_it_is_ready() -> None:
    found, target = watched("a", "b", a=WHY), wanted()
    rounds(found, target)
    assert is_sick(found.nodes["a"])
    assert not found.nodes["a"].unschedulable
    assert found.nodes["b"].k3os == "v1.0.0"
    (told,) = said(found, SICK)
    assert told.startswith(WORDS)
    outcome = found.reconcile(target)
    assert outcome.waiting.startswith(f"a failed: {SICK}: {WORDS}")
    shown = status(target, found.cluster(), outcome.waiting, found.now, {})
    degraded = {each["type"]: each for each in shown["conditions"]}["Degraded"]
    assert (degraded["reason"], shown["phase"], shown["sickWorkloads"]) == (SICK, "Failed", 1)
    assert degraded["message"].startswith(f"a: {WORDS}")
    found.sick["a"] = {}
    rounds(found, target)
    assert updated(found) == ["a", "b"]
    assert said(found, "WorkloadsReady")


def test_a_look_that_has_no_answer_decides_nothing() -> None:
    found, target = watched("a", "b", a=None), wanted()
    rounds(found, target)
    assert found.nodes["a"].state and found.nodes["a"].state.step == SOAKING
    assert found.nodes["b"].state is None


def test_somebody_may_go_on_and_what_was_said_before_is_no_leave() -> None:
    found, target = watched("a", "b", a=WHY), replace(wanted(), retried="2026-01-01T00:00:00Z")
    rounds(found, target)
    assert is_sick(found.nodes["a"])
    rounds(found, replace(target, retried="2026-01-02T00:00:00Z"))
    assert updated(found) == ["a", "b"]
    assert found.nodes["a"].workloads is None


@pytest.mark.parametrize(
    ("later", "named"),
    [(pool(), 0), (wanted("Ignore"), 1)],
    ids=["the block is gone", "they are ignored"],
)
def test_another_strategy_lets_it_go_on(later, named) -> None:
    found = watched("a", "b", a=WHY)
    rounds(found, wanted())
    assert is_sick(found.nodes["a"])
    rounds(found, later)
    assert updated(found) == ["a", "b"]
    shown = status(later, found.cluster(), "", found.now, {})
    assert shown["sickWorkloads"] == named


def test_ignored_they_are_named_until_they_are_ready_and_hold_nobody() -> None:
    found, target = watched("a", "b", a=WHY), wanted("Ignore")
    rounds(found, target)
    assert updated(found) == ["a", "b"]
    assert len(said(found, SICK)) == 1
    shown = status(target, found.cluster(), "", found.now, {})
    degraded = {each["type"]: each for each in shown["conditions"]}["Degraded"]
    assert (degraded["status"], degraded["reason"]) == ("True", SICK)
    assert degraded["message"].startswith(f"a: {WORDS}")
    assert shown["phase"] == "Updated"
    found.sick["a"] = {}
    rounds(found, target, 3)
    assert found.nodes["a"].workloads is None
    shown = status(target, found.cluster(), "", found.now, {})
    assert shown["sickWorkloads"] == 0


def test_a_node_with_an_annotation_that_is_not_ours_is_not_touched() -> None:
    """Removing it would remove somebody else's data."""
    found = watched("a")
    record = Record("r", WEB, sick=WHY)
    found.nodes["a"] = replace(found.nodes["a"], workloads=record, unreadable="it is none of ours")
    found.sick["a"] = {}
    rounds(found, wanted(), 3)
    assert found.done == []


def test_the_message_changes_with_who_is_sick_and_not_with_why() -> None:
    found, target = watched("a", "b", a=WHY), wanted()
    rounds(found, target)
    before = len(found.done)
    found.sick["a"] = {"Deployment/default/web": "1 of 2 pods, Error in container app"}
    rounds(found, target, 5)
    assert len(found.done) == before
    found.sick["a"] = {"DaemonSet/kube-system/cni": "0 of 1 pods, not ready"}
    rounds(found, target, 5)
    state = found.nodes["a"].state
    assert state and state.message.startswith("DaemonSet kube-system/cni")


def test_a_node_that_only_restarts_is_looked_at_too() -> None:
    found, target = watched("a", "b", a=WHY), wanted(drain=Drain(enabled=False))
    rounds(found, target)
    assert is_sick(found.nodes["a"])
    assert not any(isinstance(each, Eviction) for each in found.done)


def test_a_node_without_workloads_waits_for_nothing() -> None:
    found, target = watched("a", "b"), wanted(soak=10 * STEP)
    found.before = {"a": {}, "b": {}}
    rounds(found, target, 40)
    assert updated(found) == ["a", "b"]
    assert not said(found, "Soaking")


def test_without_the_block_nobody_waits_and_nothing_is_written_down() -> None:
    found = watched("a", "b", a=WHY)
    rounds(found, pool(), 40)
    assert updated(found) == ["a", "b"]
    assert not said(found, SICK) and not said(found, "Soaking")


@settings(max_examples=40, deadline=None)
@given(
    kills=st.lists(st.none() | st.integers(0, 3), max_size=40),
    sick=st.sets(st.sampled_from("abc")),
    on_failure=st.sampled_from(["Ignore", "Pause"]),
)
def test_killed_at_any_moment_it_loses_nobody_who_is_sick(kills, sick, on_failure) -> None:
    found = watched("a", "b", "c", **dict.fromkeys(sick, WHY))
    target = wanted(on_failure)
    for die_after in [*kills, *[None] * 80]:
        found.reconcile(target, die_after=die_after)
        if on_failure == "Pause":
            assert sum(map(is_sick, found.nodes.values())) <= 1
        found.live()
    named = [each.name for each in found.nodes.values() if each.workloads and each.workloads.sick]
    if on_failure == "Ignore":
        assert named == sorted(sick)
        assert updated(found) == ["a", "b", "c"]
    else:
        assert named == sorted(sick)[:1]
        failed = [each for each in found.nodes.values() if each.state]
        assert [(each.name, each.state.step) for each in failed] == [
            (name, FAILED) for name in sorted(sick)[:1]
        ]
