"""What a NodePool wants for each of its nodes: its configuration, with overrides by label."""

import gc
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k3os.cluster.impact import check, fragment_hash
from k3os.cluster.node import NodeView
from k3os.cluster.spec import read_pool
from k3os.cluster.target import Target, changes, is_updated, parse_target
from k3os.config.merge import merge
from k3os.config.value import plain

X = "$(node.annotations['x'])"
BASE = {
    "hostname": "base",
    "ssh_authorized_keys": ["github:octocat"],
    "k3os": {
        "sysctls": {"vm.max_map_count": "1", "kernel.panic": "10"},
        "dns_nameservers": ["1.1.1.1"],
    },
}


def view(name: str = "a", **labels: str) -> NodeView:
    return NodeView(name, labels, ready=True, unschedulable=False, k3os="v1", k3s="v1")


def override(config: dict, **labels: str) -> dict:
    return {"nodeSelector": {"matchLabels": labels}, "config": config}


def target(config: dict, *overrides: dict) -> Target:
    return parse_target({"config": config, "overrides": list(overrides)})


def test_without_overrides_and_values_every_node_is_to_have_the_same() -> None:
    wanted = target(BASE)
    assert wanted.of(view()) is wanted
    assert wanted.of(view()).config_hash == fragment_hash(BASE)


def test_a_node_that_no_override_matches_has_what_it_would_have_without_them() -> None:
    wanted = target(BASE, override({"hostname": "other"}, rack="1"))
    assert wanted.of(view(rack="2")).config_hash == fragment_hash(BASE)
    assert wanted.of(view(rack="2")).digest == target(BASE).digest
    assert wanted.digest != target(BASE).digest


def test_overrides_merge_in_their_order_as_files_do() -> None:
    wanted = target(
        BASE,
        override({"hostname": "first", "k3os": {"sysctls": {"vm.max_map_count": "2"}}}, tier="web"),
        override({"hostname": "second", "k3os": {"dns_nameservers": ["9.9.9.9"]}}, rack="1"),
        override({"hostname": "third"}, rack="2"),
    )
    config = wanted.of(view(tier="web", rack="1")).config
    assert config["hostname"] == "second"
    assert config["k3os"]["sysctls"] == {"vm.max_map_count": "2", "kernel.panic": "10"}
    alone = wanted.of(view(tier="web")).config
    assert alone["hostname"] == "first"
    assert wanted.of(view(rack="2")).config["hostname"] == "third"


KEYS = st.fixed_dictionaries(
    {},
    optional={
        "hostname": st.sampled_from(["a", "b"]),
        "ssh_authorized_keys": st.lists(st.sampled_from(["github:a", "github:b"]), min_size=1),
        "write_files": st.lists(
            st.fixed_dictionaries(
                {"path": st.sampled_from(["/etc/a", "/etc/b"]), "content": st.sampled_from("xy")},
                optional={"append": st.booleans()},
            ),
            min_size=1,
        ),
        "run_cmd": st.lists(st.sampled_from(["true", "false"]), min_size=1),
        "k3os": st.fixed_dictionaries(
            {},
            optional={
                "labels": st.dictionaries(st.sampled_from("pq"), st.sampled_from("12"), min_size=1),
                "environment": st.dictionaries(st.sampled_from("PQ"), st.sampled_from("12")),
                "k3s_args": st.just(["server", "--debug"]),
                "taints": st.lists(st.sampled_from(["a=b:NoSchedule", "c:NoExecute"])),
                "wifi": st.lists(
                    st.fixed_dictionaries(
                        {"ssid": st.sampled_from("ab"), "passphrase": st.just("long enough 1")}
                    )
                ),
            },
        ),
    },
)


@given(st.lists(KEYS, min_size=1, max_size=4))
def test_a_node_gets_what_the_same_files_would_give_it(configs: list[dict]) -> None:
    base, *others = configs
    got = target(base, *(override(each, rack="1") for each in others)).of(view(rack="1"))
    assert not got.fault
    wanted: dict = {}
    for each in configs:
        wanted = merge(wanted, check(each)[0])
    read, problems = check(dict(got.config))
    assert not [each for each in problems if each.is_error]
    assert {path: plain(each) for path, each in read.items()} == {
        path: plain(each) for path, each in wanted.items()
    }


def test_a_missing_value_is_a_fault_of_that_node_alone() -> None:
    wanted = target({"hostname": "$(node.labels['rack'])-x"})
    assert wanted.of(view(rack="r1")).config == {"hostname": "r1-x"}
    bad = wanted.of(view("w2"))
    assert bad.fault == "spec.config: hostname: node w2 has no label rack"
    # even if the node has no configuration and would get none
    assert not is_updated(view("w2"), wanted)
    assert changes(view("w2"), wanted) == ["configuration"]
    assert bad.digest != wanted.of(view("w3")).digest


def test_a_value_that_makes_no_sense_is_a_fault_that_names_key_and_node() -> None:
    wanted = target({"hostname": "$(node.labels['rack'])"})
    bad = wanted.of(view("w2", rack="a_b"))
    assert bad.fault.startswith("node w2: spec.config: hostname: ")
    assert "not a valid host name" in bad.fault
    assert bad.config == {}


def test_values_in_an_override_count_for_its_nodes_only() -> None:
    wanted = target(BASE, override({"hostname": "$(node.annotations['x'])"}, rack="1"))
    assert not wanted.of(view("a")).fault
    assert wanted.of(view("b", rack="1")).fault == (
        "spec.overrides[0].config: hostname: node b has no annotation x"
    )


def test_what_is_right_in_each_may_be_wrong_together() -> None:
    one = {"k3os": {"shutdown": {"grace_period": "30s"}}}
    other = {"k3os": {"shutdown": {"critical_grace_period": "60s"}}}
    bad = target(one, override(other, rack="1")).of(view("n", rack="1"))
    assert bad.fault.startswith("node n: k3os.shutdown.critical_grace_period: is more than")


def test_another_label_gives_another_target() -> None:
    wanted = target({"hostname": "$(node.labels['rack'])"})
    assert wanted.of(view(rack="r1")).digest != wanted.of(view(rack="r2")).digest
    assert wanted.of(view(rack="r1")) is wanted.of(view(rack="r1"))


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({"overrides": {}}, "spec.overrides: must be a list"),
        ({"overrides": ["x"]}, "spec.overrides[0]: must be a map"),
        (
            {"overrides": [{"nodeSelector": {"matchLabels": []}, "config": {}}]},
            "spec.overrides[0].nodeSelector: is not a valid LabelSelector",
        ),
        (
            {"overrides": [{"config": {}}]},
            "spec.overrides[0].nodeSelector: is not a valid LabelSelector",
        ),
        (
            {"overrides": [override({}, a="b"), override({"hostname": "a_b"}, a="b")]},
            "spec.overrides[1].config: hostname: `a_b` is not a valid host name",
        ),
        (
            {"overrides": [override({"hostname": "$(node.x)"})]},
            "spec.overrides[0].config: hostname: `$(node.x)`",
        ),
        ({"config": {"hostname": "$(node.x)"}}, "hostname: `$(node.x)` is not a value of a node"),
        (
            {"overrides": [{"nodeSelector": {}, "config": []}]},
            "spec.overrides[0].config: must be a map",
        ),
        # wrong for any node
        (
            {"config": {"hostname": "$(node.name)", "k3os": {"shutdown": {"grace_period": "x"}}}},
            "k3os.shutdown.grace_period",
        ),
        (
            {"config": {"write_files": [{"path": "etc/$(node.name)", "permissions": "999"}]}},
            "write_files[0].permissions",
        ),
    ],
)
def test_what_is_wrong_with_a_spec_is_named(spec: dict, problem: str) -> None:
    found = read_pool({"metadata": {"name": "p"}, "spec": spec}).problems
    assert any(problem in each for each in found), found


@pytest.mark.parametrize(
    "config",
    [
        {"hostname": "$(node.name)"},
        {"k3os": {"network": {"eth0": {"address": "$(node.annotations['a'])"}}}},
        {"k3os": {"swap": "$(node.labels['swap'])"}},
        {"write_files": [{"path": "/etc/$(node.name)", "content": "$(hostname)"}]},
        {"run_cmd": ["echo $(node.name) $(hostname)"]},
    ],
)
def test_values_of_the_node_may_stand_where_a_check_without_them_would_refuse(config: dict) -> None:
    spec = {"config": config, "overrides": [override(config, a="b")]}
    assert read_pool({"metadata": {"name": "p"}, "spec": spec}).problems == ()


def test_the_long_texts_of_a_thousand_nodes_are_there_once() -> None:
    long = "x" * 100_000
    file = {"path": "/etc/a", "content": long}
    wanted = target({"hostname": "$(node.name)", "write_files": [file]})
    found = [wanted.of(view(f"n{number}")).config for number in range(3)]
    assert len({each["hostname"] for each in found}) == 3
    assert len({id(each["write_files"][0]["content"]) for each in found}) == 1
    assert found[0]["write_files"][0]["content"] == long


def test_a_node_that_writes_annotations_on_and_on_costs_no_memory() -> None:
    wanted = target({"hostname": "$(node.labels['rack'])", "k3os": {"password": X}})
    for number in range(100):
        for notes in ({"x": str(number)}, {"x": "same", "other": "y" * number}):
            own = wanted.of(replace(view("a", rack="r1"), annotations=notes))
            assert own.config["k3os"]["password"] == notes["x"]
    remembered = [each for each in gc.get_objects() if isinstance(each, Target) and each.is_own]
    assert len([each for each in remembered if "password" in each.config.get("k3os", {})]) < 10
    # annotations that it does not use make no difference
    one, two = (
        wanted.of(replace(view("a", rack="r1"), annotations={"x": "1", "other": each}))
        for each in "ab"
    )
    assert one is two


ARGUMENTS = [
    {"k3os": {"k3s_args": ["--node-ip", X]}},
    {"k3os": {"k3s_args": [f"--node-ip={X}"]}},
    {"k3os": {"k3sArgs": f"server --node-ip={X}"}},
    {"k3os": {"k3s-args": f"server --node-ip {X}"}},
]


@pytest.mark.parametrize("config", ARGUMENTS)
@pytest.mark.parametrize(
    "text",
    [
        "1.2.3.4 --kube-apiserver-arg=authorization-mode=AlwaysAllow",
        "--kube-apiserver-arg=authorization-mode=AlwaysAllow",
        "1.2.3.4\n--debug",
        "1.2.3.4\t--debug",
        "' --debug",
    ],
)
def test_who_writes_annotations_gives_k3s_no_other_arguments(config: dict, text: str) -> None:
    def arguments(value: str) -> tuple[int, str]:
        own = target(config).of(replace(view(), annotations={"x": value}))
        found = check(dict(own.config))[0].get("k3os.k3s_args")
        return len(plain(found)) if found else 0, own.fault

    most, fault = arguments("1.2.3.4")
    assert most > 0 and fault == ""
    number, fault = arguments(text)
    assert number <= most
    if not number:
        assert "annotation x of node a would be an argument of its own" in fault
        assert "k3s" in fault


def test_what_looks_like_a_placeholder_in_a_value_or_after_an_escape_is_none() -> None:
    words = ["echo", "$$(node.name)", "$(node.annotations['x'])"]
    wanted = target({"run_cmd": [words]})
    node = replace(view("a"), annotations={"x": "$(node.name)"})
    own = wanted.of(node)
    assert own.config == {"run_cmd": [["echo", "$(node.name)", "$(node.name)"]]}
    assert own.of(node) is own
