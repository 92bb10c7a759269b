"""A rollout in which each node gets its own configuration."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k3os.cluster.node import FAILED
from k3os.cluster.spec import Pool, parse_pool
from k3os.cluster.target import is_updated
from k3os.operator.decisions import NewJob
from k3os.operator.job import request_of
from k3os.operator.status import status
from tests.unit.operator.simulator import FINE, JOB_FAILS, World, node


def pool(config: dict[str, Any], *overrides: dict[str, Any], **strategy: Any) -> Pool:
    spec = {"nodeSelector": {}, "config": config, "overrides": list(overrides)}
    return parse_pool({"metadata": {"name": "p"}, "spec": {**spec, "strategy": strategy}})


def world(*names: str, fates: dict[str, str] | None = None, **racks: str) -> World:
    nodes = {name: node(name, server=name.startswith("s")) for name in names}
    for name, rack in racks.items():
        nodes[name] = labelled(nodes[name], rack=rack)
    return World(nodes, dict.fromkeys(names, FINE) | (fates or {}))


def labelled(view: Any, **labels: str) -> Any:
    return replace(view, labels={**view.labels, **labels})


def until_still(there: World, wanted: Pool, rounds: int = 40) -> str:
    waiting = ""
    for _ in range(rounds):
        waiting = there.reconcile(wanted).waiting
        there.live()
    return waiting


def configs(there: World) -> dict[str, dict[str, Any]]:
    """The configuration in each node's last Job."""
    found = {}
    for each in there.done:
        if isinstance(each, NewJob):
            found[each.node] = dict(there.owners[each.request][1].config)
    return found


RACK = {"hostname": "n-$(node.labels['rack'])"}


def test_each_node_gets_its_own() -> None:
    there = world("a", "b", a="1", b="2")
    wanted = pool(RACK)
    assert until_still(there, wanted) == ""
    assert configs(there) == {"a": {"hostname": "n-1"}, "b": {"hostname": "n-2"}}
    assert all(is_updated(each, wanted.target) for each in there.nodes.values())
    assert there.busy() == []


def test_a_node_without_the_label_is_not_touched_and_the_others_go_on() -> None:
    there = world("s1", "a", "b", "c", a="1", c="3")
    wanted = pool(RACK)
    waiting = until_still(there, wanted)
    assert waiting == "spec.config: hostname: node s1 has no label rack"
    assert set(configs(there)) == {"a", "c"}
    assert there.nodes["b"].state is None and there.nodes["s1"].state is None
    told = status(wanted, there.cluster(), waiting, there.now, {})
    (degraded,) = (each for each in told["conditions"] if each["type"] == "Degraded")
    assert (degraded["status"], degraded["reason"]) == ("True", "NodeConfigInvalid")
    for part in ("NodePool p", "node s1", "hostname", "rack", "1 more"):
        assert part in degraded["message"]
    assert (told["updated"], told["nodes"], told["phase"]) == (2, 4, "Pending")
    # the label is added
    for name in ("s1", "b"):
        there.nodes[name] = labelled(there.nodes[name], rack="9")
    assert until_still(there, wanted) == ""
    assert configs(there)["s1"] == {"hostname": "n-9"}


def test_a_label_that_changes_rolls_out_to_its_node_alone() -> None:
    there = world("a", "b", a="1", b="2")
    wanted = pool(RACK)
    until_still(there, wanted)
    there.done.clear()
    there.nodes["a"] = labelled(there.nodes["a"], rack="7")
    assert until_still(there, wanted) == ""
    assert configs(there) == {"a": {"hostname": "n-7"}}


def test_a_label_that_changes_or_goes_in_the_middle_of_a_change() -> None:
    wanted = pool(RACK)
    for labels in ({"rack": "7"}, {}):
        for rounds in range(8):
            again = world("a", a="1")
            for _ in range(rounds):
                again.reconcile(wanted)
                again.live()
            view = again.nodes["a"]
            kept = {name: each for name, each in view.labels.items() if name != "rack"}
            again.nodes["a"] = replace(view, labels=kept | labels)
            until_still(again, wanted)
            assert again.busy() == []
            assert again.nodes["a"].unschedulable is False
            if labels:
                assert is_updated(again.nodes["a"], wanted.target)


def test_a_failure_of_one_node_stops_the_others_until_its_own_configuration_changes() -> None:
    there = world("a", "b", fates={"a": JOB_FAILS}, a="1", b="2")
    wanted = pool(RACK)
    assert "a failed: JobFailed" in until_still(there, wanted)
    assert set(configs(there)) == {"a"}
    told = status(wanted, there.cluster(), "", there.now, {})
    assert told["phase"] == "Failed"
    there.fates["a"] = FINE
    state = there.nodes["a"].state
    assert state is not None and state.step == FAILED
    there.nodes["a"] = labelled(there.nodes["a"], rack="4")
    assert until_still(there, wanted) == ""
    assert configs(there) == {"a": {"hostname": "n-4"}, "b": {"hostname": "n-2"}}


@pytest.mark.parametrize("rack", ["1", "2"])
def test_a_job_carries_what_the_overrides_make_of_it(rack: str) -> None:
    override = {"nodeSelector": {"matchLabels": {"rack": "1"}}, "config": {"boot_cmd": ["true"]}}
    wanted = pool({"hostname": "h"}, override)
    view = labelled(node("a"), rack=rack)
    config = wanted.target.of(view).config
    found = request_of(NewJob("a", "r", reboot=True), wanted, view, config)
    assert found["config"] == {"hostname": "h"} | ({"boot_cmd": ["true"]} if rack == "1" else {})


def test_only_the_nodes_of_an_override_that_wants_a_boot_are_drained() -> None:
    override = {"nodeSelector": {"matchLabels": {"rack": "1"}}, "config": {"boot_cmd": ["true"]}}
    there = world("a", "b", a="1", b="2")
    wanted = pool({"k3os": {"sysctls": {"vm.swappiness": "1"}}}, override, maxUnavailable=2)
    there.reconcile(wanted)
    begun = {name: each.state.reboot for name, each in there.nodes.items() if each.state}
    assert begun == {"a": True, "b": False}


CHANGES = st.tuples(st.integers(0, 6), st.sampled_from("abc"), st.sampled_from(["1", "2", ""]))


@settings(max_examples=25, deadline=None)
@given(st.lists(CHANGES, max_size=6))
def test_whatever_happens_to_labels_every_node_ends_with_its_own(changes: list) -> None:
    override = {"nodeSelector": {"matchLabels": {"rack": "2"}}, "config": {"boot_cmd": ["true"]}}
    wanted = pool(RACK, override)
    there = world("a", "b", "c", a="1", b="2")
    for rounds, name, rack in changes:
        for _ in range(rounds):
            there.reconcile(wanted)
            there.live()
            assert len(there.busy()) <= 1
        view = there.nodes[name]
        kept = {key: each for key, each in view.labels.items() if key != "rack"}
        there.nodes[name] = replace(view, labels=kept | ({"rack": rack} if rack else {}))
    until_still(there, wanted, 60)
    assert there.busy() == []
    for view in there.nodes.values():
        has = "rack" in view.labels
        assert is_updated(view, wanted.target) == has
        assert not view.unschedulable
