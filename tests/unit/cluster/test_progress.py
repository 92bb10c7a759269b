"""The progress of a rollout is shown from the same data that the operator uses."""

import pytest

from k3os import names
from k3os.cluster.impact import fragment_hash
from k3os.cluster.node import STEPS, parse_node
from k3os.cluster.progress import ended, pool_of, progress
from k3os.cluster.workloads import Record
from tests.unit.cluster.objects import node, pool


def rows(*nodes, pools=None):
    return {row.name: row for row in progress("workers", pools or [pool()], nodes).rows}


def test_a_node_is_updated_when_the_operator_thinks_so():
    found = rows(node("a"), node("b", "v1.1.0"), node("c", "1.1.0"))
    assert [found[name].step for name in "abc"] == ["Pending", "Updated", "Updated"]
    assert found["a"].versions == "k3OS v1.0.0 -> v1.1.0"
    assert found["b"].versions == "k3OS v1.1.0, k3s v1.33.0+k3s1"


def test_a_new_version_on_trial_is_not_updated():
    assert rows(node("a", "v1.1.0", notes={names.TRIAL: "true"}))["a"].step == "Pending"


def test_a_missing_configuration_is_seen_by_its_hash():
    config = {"k3os": {"sysctls": {"vm.swappiness": "1"}}}
    has = {names.CONFIG_HASH: fragment_hash(config)}
    found = rows(node("a", "v1.1.0"), node("b", "v1.1.0", notes=has), pools=[pool(config=config)])
    assert (found["a"].step, found["a"].versions) == ("Pending", "configuration")
    assert found["b"].step == "Updated"


@pytest.mark.parametrize("step", STEPS)
def test_the_operators_steps_are_shown_with_their_time(step):
    row = rows(node("a", state={"step": step, "reason": "JobFailed", "message": "no space"}))["a"]
    assert (row.step, row.since) == (step, 100)
    assert ("JobFailed: no space" in row.message) == (step == "Failed")


def test_a_channel_that_is_not_known_yet_is_not_over():
    """Until then nothing is wanted, so every node seems to have it."""
    channel = {"channel": "stable", "url": "https://example.com"}
    body = pool(k3os=channel, status={"phase": "Updated"})
    seen = progress("workers", [body], [node("a")])
    assert (seen.wanted, ended(seen)) == ("k3os's channel stable", None)
    body["status"]["channels"] = {"k3os": {"channel": "stable", "version": "v1.0.0"}}
    seen = progress("workers", [body], [node("a")])
    assert (seen.wanted, ended(seen)) == ("k3OS v1.0.0", True)


def test_an_old_failure_is_forgotten_with_its_target():
    assert rows(node("a", state={"step": "Failed", "target": "other"}))["a"].step == "Pending"


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"ready": False}, "not ready: it restarts"),
        ({"ready": False, "state": {"step": "Waiting", "reboot": False}}, "not ready"),
        ({"notes": {names.TRIAL: "true"}}, "its new version is on trial"),
        ({}, "it does not report the wanted versions yet"),
        ({"k3os": "v1.1.0", "healthy": "False"}, "not healthy yet: a file"),
    ],
)
def test_a_waiting_node_says_what_it_waits_for(more, text):
    assert rows(node("a", **({"state": {"step": "Waiting"}} | more)))["a"].message == text


WEB = {"Deployment/default/web": 2}


@pytest.mark.parametrize(
    ("state", "sick", "words"),
    [
        ({"step": "Soaking"}, {}, "1 workload had Ready pods on it before"),
        # shown even if the NodePool ignores them
        (None, {"Deployment/default/web": "1 of 2 pods, Error in container app"}, "1 of 2 pods"),
    ],
)
def test_what_becomes_of_a_nodes_workloads_is_shown(state, sick, words):
    record = Record("r-a-0", WEB, sick=sick)
    row = rows(node("a", state=state, notes={names.WORKLOADS: record.as_json()}))["a"]
    assert words in row.message


def test_a_node_outside_the_cluster_of_the_pool_is_not_shown_but_one_that_was_begun_with_is():
    found = rows(
        node("a", role="server"), node("b", role="server", state={"step": "Waiting"}), node("c")
    )
    assert found.keys() == {"b", "c"}


def test_a_node_of_two_pools_is_a_conflict_that_names_the_other():
    other = pool("all", selector={"matchExpressions": [{"key": "role", "operator": "Exists"}]})
    found = rows(node("a"), pools=[pool(), other])["a"]
    assert (found.step, found.message) == ("Conflict", "also matched by all")
    assert pool_of(parse_node(node("a")), [pool(), other]) == ["all", "workers"]


def test_failures_come_first_and_updated_nodes_last():
    seen = progress(
        "workers",
        [pool()],
        [
            node("a", "v1.1.0"),
            node("b"),
            node("c", state={"step": "Draining"}),
            node("d", state={"step": "Failed"}),
        ],
    )
    assert [row.name for row in seen.rows] == ["d", "c", "b", "a"]


def outcome(*nodes, pools=None, **more):
    return ended(progress("workers", pools or [pool(**more)], nodes))


def test_it_is_over_when_the_operator_says_so():
    assert outcome(node("a", "v1.1.0"), status={"phase": "Updated"}) is True
    assert outcome(node("a"), status={"phase": "Failed"}) is False
    assert outcome(node("a"), status={"phase": "Paused"}) is None


@pytest.mark.parametrize("phase", ["Updated", "Failed"])
def test_what_the_operator_said_of_an_older_generation_does_not_count(phase):
    seen = progress("workers", [pool(generation=2, status={"phase": phase})], [])
    assert (seen.seen, seen.phase, ended(seen)) == (False, "Pending", None)


def test_a_pool_that_no_operator_has_seen_is_not_over():
    body = pool()
    del body["status"]
    assert ended(progress("workers", [body], [node("a", "v1.1.0")])) is None


def test_conflicts_end_it_only_when_nothing_else_is_left_to_do():
    pools = [pool(status={"phase": "Conflict"}), pool("x", selector={"matchLabels": {"x": "1"}})]
    assert outcome(node("a", x="1"), node("b"), pools=pools) is None
    assert outcome(node("a", x="1"), node("b", "v1.1.0"), pools=pools) is False
