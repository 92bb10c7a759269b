"""The record of a node's workloads fits into an annotation, and names unhealthy ones."""

import json

import pytest

from k3os.cluster.canary_spec import IMPLIED
from k3os.cluster.objects import LONGEST
from k3os.cluster.spec import parse_pool
from k3os.cluster.workloads import (
    KINDS,
    LONGEST_WHY,
    MOST,
    NOTHING,
    Record,
    Workloads,
    described,
    parse_record,
    remembered,
)

WEB = "Deployment/default/web"


def strategy(**given):
    return parse_pool({"metadata": {"name": "p"}, "spec": {"strategy": given}}).strategy


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, None),
        ({"workloads": {}}, Workloads("Pause", 120)),
        ({"workloads": {"onFailure": "Ignore", "soak": "30s"}}, Workloads("Ignore", 30)),
    ],
)
def test_without_the_block_nothing_is_looked_at_and_with_it_it_pauses(given, wanted) -> None:
    assert strategy(**given).workloads == wanted
    assert strategy(**given).canary is None


def test_who_takes_nodes_back_has_a_canary_of_one_step_unless_the_spec_has_another() -> None:
    back = {"onFailure": "Rollback"}
    assert strategy(workloads=back).canary == IMPLIED
    own = strategy(workloads=back, canary={"steps": [{"nodes": 1}]}).canary
    assert own is not None and not own.implied and own.on_failure == "Pause"


def test_the_longest_record_is_one() -> None:
    names = [f"Deployment/{'n' * 63}/{'w' * 250}{number:03}" for number in range(MOST + 8)]
    whole = Record("r" * 300, dict.fromkeys(names[:MOST], 10**6), more=10**6)
    whole = whole.found(dict.fromkeys(names[:MOST], "x" * 9000), "2026-01-02T03:04:05Z")
    assert len(whole.as_json()) < LONGEST
    assert parse_record(whole.as_json()) == whole
    assert whole.count == MOST
    assert all(len(why) == LONGEST_WHY for why in whole.sick.values())


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_read_as_it_was_written(kind) -> None:
    record = Record("r-a-1", {f"{kind}/kube-system/web.1": 2}, 3)
    assert parse_record(record.as_json()) == record


GOOD = {"request": "r", "ready": {WEB: 2}, "sick": {WEB: "x"}}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        NOTHING.as_json(),
        "x" * (LONGEST + 1),
        *(
            json.dumps({**GOOD, **wrong})
            for wrong in (
                {"request": ""},
                {"request": 1},
                {"ready": {"Job/default/web": 1}},
                {"ready": {"Deployment/default": 1}},
                {"ready": {"Deployment/../web": 1}},
                {"ready": {"Deployment/default/web\n": 1}},
                {"ready": {WEB: 0}},
                {"ready": {WEB: -1}},
                {"ready": {WEB: "2"}},
                {"ready": {f"Pod/default/p{number}": 1 for number in range(MOST + 1)}},
                {"sick": {WEB: ""}},
                {"sick": {WEB: "x" * (LONGEST_WHY + 1)}},
                {"sick": {"web": "x"}},
                {"others": MOST + 1},
            )
        ),
    ],
)
def test_what_a_node_writes_there_itself_is_no_record(text) -> None:
    assert parse_record(text) is None


def test_who_is_sick_is_named_and_the_rest_is_counted() -> None:
    record = Record("r", {f"Deployment/default/w{number}": 1 for number in range(5)})
    one = record.found({WEB: "1 of 2 pods, CrashLoopBackOff in container app"}, "")
    assert described(one) == (
        "Deployment default/web was Ready on it before the upgrade and is not after: "
        "1 of 2 pods, CrashLoopBackOff in container app"
    )
    many = record.found(dict.fromkeys(record.ready, "0 of 1 pods, not ready"), "")
    assert described(many).count("was Ready on it before") == 3
    assert described(many).endswith("; and 2 more workloads")


def test_that_not_all_are_looked_at_is_said() -> None:
    assert remembered(Record("r", {WEB: 1})) == "1 workload had Ready pods on it before"
    cut = remembered(Record("r", {WEB: 1}, more=4))
    assert cut.endswith("; 4 more workloads of it not checked")


def test_once_the_sick_ones_are_known_the_others_are_not_asked_for() -> None:
    record = Record("r", {WEB: 2, "DaemonSet/kube-system/cni": 1})
    assert set(record.looked_at()) == set(record.ready)
    assert set(record.found({WEB: "x"}, "").looked_at()) == {WEB}
