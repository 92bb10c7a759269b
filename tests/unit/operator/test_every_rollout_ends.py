"""Configurations that change the labels they are selected by, canaries with nodes that cannot be
configured, and nodes with long names."""

import json
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k3os import names
from k3os.cluster.node import parse_node
from k3os.cluster.request import parse
from k3os.cluster.target import Target, is_updated
from k3os.operator.decisions import NewJob, NodePatch
from k3os.operator.job import job, request_of
from k3os.operator.rollout import begin
from k3os.operator.status import status
from tests.unit.operator import test_canary
from tests.unit.operator.simulator import FINE, World, node
from tests.unit.operator.test_per_node import RACK, labelled, pool, world


@dataclass
class Labelling(World):
    """Nodes report the labels of their configuration, on top of those that they have otherwise."""

    otherwise: dict[str, dict[str, str]] = field(default_factory=dict)

    def come_back(self, name: str, target: Target, request: str) -> Any:
        back = super().come_back(name, target, request)
        k3os = target.config.get("k3os", {})
        own = self.otherwise[name]
        own |= dict(each.split("=") for each in k3os.get("k3s_args", []) if "=" in each)
        return replace(back, labels={**own, **k3os.get("labels", {})})


def labelling(**labels: str) -> Labelling:
    view = labelled(node("a"), **labels)
    return Labelling({"a": view}, {"a": FINE}, otherwise={"a": dict(view.labels)})


def override(config: Any, **labels: str) -> dict[str, Any]:
    return {"nodeSelector": {"matchLabels": labels}, "config": config}


def sets(**labels: str) -> dict[str, Any]:
    return {"k3os": {"labels": labels}}


def argues(label: str) -> dict[str, Any]:
    return {"k3os": {"k3s_args": ["--node-label", label]}}


ABSENT = {"nodeSelector": {"matchExpressions": [{"key": "x", "operator": "DoesNotExist"}]}}
# the node's own labels, spec.config, spec.overrides
CIRCLES: dict[str, tuple[dict[str, str], Any, list[Any]]] = {
    "two that undo each other": (
        *({"x": "1"}, {}),
        [override(sets(x="2"), x="1"), override(sets(x="1"), x="2")],
    ),
    "one that undoes itself": ({}, {}, [ABSENT | {"config": sets(x="1")}]),
    "one over a label of the node": ({"x": "1"}, {}, [override(sets(x="2"), x="1")]),
    "one that grows": ({"x": "1"}, sets(x="$(node.labels['x'])1"), []),
    "three in a row": (
        *({"x": "1"}, {}),
        [override(sets(x=str(1 + n % 3)), x=str(n)) for n in (1, 2, 3)],
    ),
    "arguments of k3s": (
        *({"x": "1"}, {}),
        [override(argues("x=2"), x="1"), override(argues("x=1"), x="2")],
    ),
}


@pytest.mark.parametrize(("own", "config", "overrides"), CIRCLES.values(), ids=CIRCLES.keys())
def test_what_would_go_round_in_circles_is_told_and_not_begun(
    own: Any, config: Any, overrides: Any
) -> None:
    wanted, there = pool(config, *overrides), labelling(**own)
    waiting = ""
    for _ in range(60):
        waiting = there.reconcile(wanted).waiting
        there.live()
    jobs = [each for each in there.done if isinstance(each, NewJob)]
    assert len(jobs) <= 2, jobs
    assert "label x" in waiting and "node a" in waiting
    told = status(wanted, there.cluster(), waiting, there.now, {})
    (degraded,) = (each for each in told["conditions"] if each["type"] == "Degraded")
    assert (degraded["status"], degraded["reason"]) == ("True", "NodeConfigInvalid")


STILL = {
    "a label that nobody chooses by": ({}, [override(sets(y="2"), x="1")]),
    "the same value": ({}, [override(sets(x="1"), x="1")]),
    "a way that ends": (sets(x="2"), [override(sets(y="1"), x="2"), override(sets(z="1"), y="1")]),
    "a value of the node": (sets(y="$(node.labels['x'])"), []),
    "an argument, whose label stays": ({}, [override(argues("x=2"), x="1")]),
}


@pytest.mark.parametrize(("config", "overrides"), STILL.values(), ids=STILL.keys())
def test_what_comes_to_an_end_is_carried_out(config: Any, overrides: Any) -> None:
    wanted, there = pool(config, *overrides), labelling(x="1")
    for _ in range(60):
        waiting = there.reconcile(wanted).waiting
        there.live()
    assert waiting == ""
    assert is_updated(there.nodes["a"], wanted.target)


LABELS = st.dictionaries(st.sampled_from("xy"), st.sampled_from("12"), max_size=2)


@settings(max_examples=60, deadline=None)
@given(LABELS, st.lists(st.tuples(LABELS, LABELS), max_size=3))
def test_every_rollout_of_overrides_ends(own: Any, pairs: Any) -> None:
    wanted = pool({}, *(override(sets(**given), **chosen) for chosen, given in pairs))
    there = labelling(**own)
    for _ in range(80):
        there.reconcile(wanted)
        there.live()
    made = len([each for each in there.done if isinstance(each, NewJob)])
    for _ in range(20):
        there.reconcile(wanted)
        there.live()
    assert len([each for each in there.done if isinstance(each, NewJob)]) == made
    assert not there.busy()


def canary_run(count: int, lacking: int, steps: Any) -> test_canary.Run:
    found = test_canary.run(count=count, steps=steps)
    for number in range(lacking, count):
        name = f"w{number}"
        found.world.nodes[name] = labelled(found.world.nodes[name], rack="1")
    target = replace(test_canary.NEW, config=RACK)
    found.wanted = replace(found.wanted, target=target)
    return found


@pytest.mark.parametrize("lacking", [1, 2, 3])
@pytest.mark.parametrize(
    "steps", [test_canary.STEPS, (test_canary.Step(2), test_canary.Step("100%"))]
)
def test_a_canary_goes_on_with_the_nodes_that_have_what_it_takes(lacking: int, steps: Any) -> None:
    found = canary_run(4, lacking, steps)
    found.until(test_canary.COMPLETED)
    for _ in range(60):
        found.round()
    there = found.world.nodes
    assert [is_updated(each, found.wanted.target) for each in there.values()] == [
        "rack" in each.labels for each in there.values()
    ]


def test_a_canary_that_nothing_can_be_begun_with_does_not_pass() -> None:
    found = canary_run(3, 3, test_canary.STEPS)
    for _ in range(60):
        found.round()
    assert found.state is not None and found.state.phase == test_canary.PROGRESSING
    assert found.state.step == 0


@pytest.mark.parametrize("length", [1, 63, 64, 190, 191, 210, 253])
@pytest.mark.parametrize("ending", ["", "-boot"])
def test_the_request_for_a_node_with_a_long_name_is_one_that_it_obeys(
    length: int, ending: str
) -> None:
    name, seal = "n" * length, {"s": "1"}
    there, wanted = world(name), pool({"hostname": "a"})
    wanted = replace(wanted, target=replace(wanted.target, seals=seal))
    (patch,) = (
        each for each in begin(wanted, there.cluster(), 1e10)[0] if isinstance(each, NodePatch)
    )
    assert patch.state is not None
    state = replace(patch.state, request=patch.state.request + ending)
    notes = {names.ROLLOUT: state.as_json()}
    view = parse_node({"metadata": {"name": name, "annotations": notes}})
    assert (view.state, view.unreadable) == (state, "")
    other = parse_node({"metadata": {"name": f"x{name}"[:253], "annotations": notes}})
    assert other.state is None or length == 253
    for request in (state.request, state.job):
        order = NewJob(name, request, reboot=True)
        assert parse(json.dumps(request_of(order, wanted, view, {})).encode()).id == request
        assert len(job(order, wanted, view)["metadata"]["name"]) <= 63
