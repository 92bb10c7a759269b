"""The mark of `kubectl k3os` on a Node that it works on keeps the operator away, and nobody
else."""

import json
from dataclasses import replace
from typing import Any

import pytest

from k3os import names
from k3os.cluster.by_hand import check
from k3os.cluster.node import ByHand, NodeView, parse_by_hand, parse_node
from k3os.cluster.spec import Pool, Strategy
from k3os.cluster.target import Target
from k3os.cluster.turns import Cluster, may_begin
from k3os.errors import UserError
from tests.unit.cluster.objects import node

SERVER = {"node-role.kubernetes.io/control-plane": "true", "node-role.kubernetes.io/etcd": "true"}
MARK = ByHand("reboot", 2000, "t")
POOL = Pool("all", "u", 1, {}, Target(), Strategy(max_unavailable=9))


def view(name: str, mark: ByHand | None = None, **labels: str) -> NodeView:
    return replace(parse_node(node(name, **labels)), by_hand=mark)


def begun(now: float, *nodes: NodeView) -> tuple[list[str], str]:
    chosen, waiting, _ = may_begin(POOL, Cluster(nodes), nodes, now)
    return [each.name for each in chosen], waiting


def test_no_rollout_begins_with_a_node_that_is_worked_on() -> None:
    assert begun(1000.0, view("a", MARK), view("b")) == (["b"], "")
    chosen, waiting = begun(1000.0, view("a", MARK))
    assert chosen == [] and waiting == "a: `kubectl k3os reboot` is working on it"


def test_a_mark_that_was_left_behind_ends() -> None:
    assert begun(2000.0, view("a", MARK)) == (["a"], "")


def test_servers_wait_for_one_that_is_worked_on() -> None:
    others = (view("s2", **SERVER), view("s3", **SERVER))
    assert begun(1000.0, view("s1", MARK, **SERVER), *others)[0] == []
    assert begun(1000.0, *others, view("a", MARK))[0] == ["s2"]


def test_the_mark_is_read_as_it_was_written() -> None:
    assert parse_by_hand(MARK.as_json()) == MARK
    body = node("a", notes={names.BY_HAND: MARK.as_json()})
    assert parse_node(body).by_hand == MARK


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "[]", "{}", '{"command": "reboot"}', "9" * 100_000),
        json.dumps({"command": "reboot", "until": True, "token": "t"}),
        json.dumps({"command": "reboot", "until": 10**30, "token": "t"}),
        json.dumps({"command": "\x1b[2J", "until": 5, "token": "t"}),
        json.dumps({"command": ["reboot"], "until": 5, "token": "t"}),
        json.dumps({"command": "reboot", "until": 5, "token": {}}),
    ],
)
def test_what_is_none_holds_nobody_up(text: str) -> None:
    assert parse_by_hand(text) is None
    assert parse_node(node("a", notes={names.BY_HAND: text})).by_hand is None


# which nodes `kubectl k3os` may start with


def servers(*more: dict[str, Any]) -> list[dict[str, Any]]:
    return [node(name, **SERVER) for name in ("s1", "s2")] + list(more)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (node("s3", ready=False, **SERVER), "etcd has 2 of 3 members, none to spare"),
        (node("s3", state={"step": "Waiting"}, **SERVER), "one at a time"),
        (node("s3", notes={names.BY_HAND: MARK.as_json()}, **SERVER), "one at a time"),
        (node("s3", **SERVER), ""),
        (node("s3", ready=False), ""),
    ],
)
def test_a_server_waits_for_the_others(other: dict[str, Any], words: str) -> None:
    bodies = servers(other)
    for each in bodies:
        each["metadata"]["annotations"][names.BOOT_ID] = "1"
    views = tuple(map(parse_node, bodies))
    if not words:
        check(views[0], Cluster(views), 1000.0)
        return
    with pytest.raises(UserError, match=words):
        check(views[0], Cluster(views), 1000.0)


def test_a_member_that_is_down_may_be_restarted_when_the_others_are_there() -> None:
    bodies = servers(node("s3", ready=False, notes={names.BOOT_ID: "1"}, **SERVER))
    views = tuple(map(parse_node, bodies))
    check(views[2], Cluster(views), 1000.0)
