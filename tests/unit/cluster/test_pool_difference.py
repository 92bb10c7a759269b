"""What applying a NodePool would change, and on which nodes."""

from collections.abc import Mapping
from typing import Any

import pytest

from k3os import names
from k3os.cluster.impact import fragment_hash
from k3os.cluster.node import NodeView, parse_node
from k3os.cluster.pool_difference import (
    JOINS,
    LAST_APPLIED,
    LEAVES,
    PoolDifference,
    Sight,
    differences,
)
from k3os.config.key import AT_BOOT, NOW, RESTART
from tests.unit.cluster.objects import WANTED, digest, node, pool

CONFIG = {"k3os": {"sysctls": {"vm.max_map_count": "262144"}}}
SECRET = "topsecret-passphrase"
K3S = {"version": "v1.34.0+k3s1"}


def views(*bodies: dict[str, Any]) -> list[NodeView]:
    return [parse_node(each) for each in bodies]


def diff(
    applied: dict[str, Any], nodes: list[NodeView], *pools: dict[str, Any], **fragments: Any
) -> PoolDifference:
    live = {each["metadata"]["name"]: each for each in pools}
    known: dict[str, Mapping[str, Any]] = {"": {}, fragment_hash(CONFIG): CONFIG}
    (found,) = differences([applied], Sight(live, nodes, known | fragments), 0.0)
    return found


def by_name(found: PoolDifference) -> dict[str, Any]:
    return {each.name: each for each in found.nodes}


def test_the_same_again_is_no_difference() -> None:
    found = diff(pool(), views(node("a", "v1.1.0")), pool())
    assert not found.differs
    assert not found.new and found.fields == () and found.config == ()
    # what the API server and kubectl record is not a difference
    noted = pool()
    noted["metadata"] |= {"resourceVersion": "9", "managedFields": [{}], "generation": 4}
    noted["metadata"]["annotations"] = {LAST_APPLIED: "{}"}
    assert not diff(noted, views(node("a", "v1.1.0")), pool()).differs


def test_nodes_that_are_not_as_wanted_yet_are_a_difference() -> None:
    found = diff(pool(), views(node("a"), node("b", "v1.1.0")), pool())
    assert found.differs and not found.fields
    nodes = by_name(found)
    assert nodes["a"].changes == ("k3OS v1.0.0 -> v1.1.0",)
    assert nodes["a"].cost.effect == AT_BOOT and nodes["a"].moves
    assert not nodes["b"].differs and nodes["b"].cost is None
    assert found.first == ("a",)


def test_a_new_nodepool_takes_its_nodes_in() -> None:
    others = views(node("a"), node("b", role="other"))
    found = diff(pool(config=CONFIG), others)
    assert found.new and found.differs
    assert [(each.name, each.member) for each in found.nodes] == [("a", JOINS)]
    assert found.nodes[0].changes == ("k3OS v1.0.0 -> v1.1.0", "configuration")


@pytest.mark.parametrize(
    ("spec", "effect", "moves"),
    [
        ({"config": CONFIG}, NOW, False),
        ({"config": {"k3os": {"k3s_args": ["server", "--debug"]}}}, RESTART, False),
        ({"k3s": K3S}, RESTART, True),
        ({"k3s": K3S, "strategy": {"drain": {"enabled": False}}}, RESTART, False),
        ({"config": {"boot_cmd": ["true"]}}, AT_BOOT, True),
    ],
)
def test_each_change_has_its_cost(spec: dict[str, Any], effect: str, moves: bool) -> None:
    found = diff(pool(**spec), views(node("a", "v1.1.0"), node("b", "v1.1.0")), pool())
    for each in found.nodes:
        assert each.cost is not None
        assert (each.cost.effect, each.moves) == (effect, moves)


def test_the_only_node_of_a_cluster_moves_no_pod() -> None:
    assert not diff(pool(), views(node("a")), pool()).nodes[0].moves


def test_another_selector_takes_nodes_in_and_lets_others_go() -> None:
    after = pool(selector={"matchLabels": {"tier": "web"}})
    nodes = views(node("a", "v1.1.0"), node("b", tier="web", role="x"), node("c", role="y"))
    found = by_name(diff(after, nodes, pool()))
    assert found.keys() == {"a", "b"}
    assert (found["a"].member, found["a"].changes) == (LEAVES, ())
    assert "keeps what it has" in found["a"].remark
    assert (found["b"].member, found["b"].changes) == (JOINS, ("k3OS v1.0.0 -> v1.1.0",))


def test_a_node_that_two_nodepools_select_is_changed_by_neither() -> None:
    other = pool("other", selector={"matchLabels": {"tier": "web"}})
    found = diff(pool(), views(node("a", tier="web"), node("b")), other)
    nodes = by_name(found)
    assert nodes["a"].changes == () and nodes["a"].cost is None
    assert "other and workers both select it" in nodes["a"].remark
    assert nodes["b"].changes and found.first == ("b",)
    # an existing conflict is not a difference; its end is, and the other NodePool gets the node
    still = by_name(diff(pool(), views(node("a", tier="web")), pool(), other))
    assert not still["a"].differs
    left = by_name(
        diff(
            pool(selector={"matchLabels": {"x": "y"}}), views(node("a", tier="web")), pool(), other
        )
    )
    assert left["a"].member == LEAVES and left["a"].changes == ("k3OS v1.0.0 -> v1.1.0",)
    assert "NodePool other has it alone then" in left["a"].remark


def test_the_nodepool_itself_is_compared_field_by_field() -> None:
    after = pool(strategy={"maxUnavailable": "25%"}, k3os={**WANTED, "version": "v1.2.0"})
    after["metadata"]["annotations"] = {"kubernetes.io/change-cause": "CVE"}
    assert diff(after, views(), pool()).fields == (
        "metadata.annotations.kubernetes.io/change-cause: (none) -> CVE",
        "spec.k3os.version: v1.1.0 -> v1.2.0",
        "spec.strategy.maxUnavailable: (none) -> 25%",
    )
    login = pool(k3os={**WANTED, "url": "https://me:hidden@example.com"})
    assert "hidden" not in str(diff(login, views(), pool()).fields)


def test_the_configuration_is_shown_with_what_each_key_costs_and_without_secrets() -> None:
    wifi = {"wifi": [{"name": "home", "passphrase": SECRET}]}
    found = diff(pool(config={"k3os": {**CONFIG["k3os"], **wifi}}), views(), pool(config=CONFIG))
    assert SECRET not in str(found)
    assert any(line.startswith("k3os.wifi: ") for line in found.config)
    assert not any(line.startswith("k3os.sysctls") for line in found.config)


def test_an_older_version_is_refused_by_the_node_unless_it_is_allowed() -> None:
    back = pool(k3os={**WANTED, "version": "v0.9.0"})
    found = diff(back, views(node("a")), pool())
    assert "k3OS v0.9.0 is older" in found.nodes[0].remark
    back["spec"]["strategy"] = {"rollback": "Allow"}
    assert diff(back, views(node("a")), pool()).nodes[0].remark == ""


def test_with_an_error_in_it_nothing_is_done() -> None:
    found = diff(
        pool(config={"k3os": {"shutdown": {"grace_period": "11m"}}}), views(node("a")), pool()
    )
    assert "k3os.shutdown.grace_period" in found.problems[0]
    assert "errors" in found.waiting
    assert found.nodes[0].changes == ()


def test_a_channel_that_is_not_looked_up_yet_wants_nothing() -> None:
    after = pool(k3os={"channel": "stable", "url": "https://example.com"})
    found = diff(after, views(node("a")), pool())
    assert found.nodes[0].changes == () and found.fields
    after["status"]["channels"] = {"k3os": {"channel": "stable", "version": "v1.2.0"}}
    assert diff(after, views(node("a")), pool()).nodes[0].changes == ("k3OS v1.0.0 -> v1.2.0",)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (node("a", ready=False), "is not ready"),
        (node("a", notes={names.IMAGE: ""}), "no operator image"),
        (node("a", state={"step": "Draining"}), "is changing it: Draining"),
        (
            node("a", state={"step": "Failed", "reason": "JobFailed", "target": digest()}),
            "it has failed with just this: JobFailed",
        ),
    ],
)
def test_what_stands_in_the_way_is_said(body: dict[str, Any], words: str) -> None:
    assert words in diff(pool(), views(body), pool()).nodes[0].remark


def test_what_holds_the_whole_nodepool_is_said() -> None:
    paused = pool(strategy={"paused": True})
    found = diff(paused, views(node("a")), pool())
    assert (found.first, found.waiting) == ((), "it is paused")


def test_servers_come_first() -> None:
    server = {"node-role.kubernetes.io/control-plane": "true"}
    found = diff(pool(), views(node("a"), node("z", **server)), pool())
    assert found.first == ("z",)


def test_what_a_node_has_of_a_nodepool_that_is_gone_may_cost_more() -> None:
    strange = node("a", "v1.1.0", notes={names.CONFIG_HASH: "f" * 64})
    found = diff(pool(), views(strange), pool())
    assert found.nodes[0].cost is not None and not found.nodes[0].cost.sure


def test_overrides_are_shown_by_their_selectors_and_without_secrets() -> None:
    def override(config: dict[str, Any], **labels: str) -> dict[str, Any]:
        return {"nodeSelector": {"matchLabels": labels}, "config": config}

    wifi = {"k3os": {"wifi": [{"name": "home", "passphrase": SECRET}]}}
    before = pool(overrides=[override(CONFIG, a="1"), override({"hostname": "north"}, b="1")])
    after = pool(overrides=[override(wifi, c="1"), override({"hostname": "south"}, b="1")])
    found = diff(after, views(node("a", "v1.1.0")), before)
    shown = dict(found.overrides)
    assert [name.partition(" of ")[2] for name in shown] == [
        '{"matchLabels": {"c": "1"}}',
        '{"matchLabels": {"b": "1"}}',
        '{"matchLabels": {"a": "1"}}',
    ]
    assert any("south" in line for line in shown['spec.overrides of {"matchLabels": {"b": "1"}}'])
    assert SECRET not in str(found)
    assert found.differs and not found.fields
    turned = pool(overrides=list(reversed(before["spec"]["overrides"])))
    assert diff(turned, views(node("a", "v1.1.0")), before).overrides == (
        ("spec.overrides", ("another order: the later ones win",)),
    )


def test_values_of_the_node_are_shown_and_who_lacks_one_is_named() -> None:
    own = {"hostname": "$(node.labels['rack'])"}
    nodes = views(node("a", "v1.1.0", rack="1"), node("b", "v1.1.0"))
    found = diff(pool(config=own), nodes, pool())
    assert any("$(node.labels['rack'])" in line for line in found.config)
    listed = by_name(found)
    assert listed["a"].changes == ("configuration",) and found.first == ("a",)
    assert listed["b"].changes == ()
    assert listed["b"].remark == "spec.config: hostname: node b has no label rack"
    secret = {"k3os": {"wifi": [{"name": "$(node.name)", "passphrase": f"{SECRET}$(node.name)"}]}}
    assert SECRET not in str(diff(pool(config=secret), nodes, pool()))
