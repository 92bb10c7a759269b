"""A node's values in the texts of a NodePool's configuration."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k3os.cluster import placeholders
from k3os.cluster.node import NodeView, parse_node
from k3os.cluster.placeholders import NoValue, replaced
from tests.unit.cluster.objects import node

NODE = NodeView(
    "worker-1",
    {"rack": "r7", "topology.kubernetes.io/zone": "eu-1", "empty": ""},
    ready=True,
    unschedulable=False,
    annotations={"example.com/address": "192.168.1.10/24", "plain": "a 'b'\nc"},
)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("$(node.name)", "worker-1"),
        ("a-$(node.labels['rack'])-b", "a-r7-b"),
        ('$(node.labels["rack"])', "r7"),
        ("$(node.labels['topology.kubernetes.io/zone'])", "eu-1"),
        ("$(node.labels['empty'])", ""),
        ("$(node.annotations['example.com/address'])", "192.168.1.10/24"),
        ("$(node.annotations['plain'])", "a 'b'\nc"),
        ("$(node.name)$(node.name)", "worker-1worker-1"),
        # an escape
        ("$$(node.name)", "$(node.name)"),
        ("$$(node.labels['none'])", "$(node.labels['none'])"),
        ("$$$(node.name)", "$$(node.name)"),
        # of a shell or other programs
        ("$(hostname)", "$(hostname)"),
        ("$$(hostname)", "$$(hostname)"),
        ("${NODE} $node.name (node.name)", "${NODE} $node.name (node.name)"),
        ("$(nodes)", "$(nodes)"),
    ],
)
def test_a_text_has_the_values_of_its_node(text: str, wanted: str) -> None:
    tree = {"a": [text, {"b": text}], "number": 1, "none": None}
    assert replaced(tree, NODE) == {"a": [wanted, {"b": wanted}], "number": 1, "none": None}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("$(node.labels['zone'])", "node worker-1 has no label zone"),
        ("$(node.annotations['rack'])", "node worker-1 has no annotation rack"),
    ],
)
def test_what_a_node_does_not_have_is_named_with_its_key(text: str, message: str) -> None:
    tree = {"k3os": {"network": [{"address": "x"}, {"address": f"a{text}"}]}}
    with pytest.raises(NoValue) as caught:
        replaced(tree, NODE)
    assert (str(caught.value), caught.value.where) == (message, "k3os.network[1].address")


@pytest.mark.parametrize(
    ("tree", "where", "what"),
    [
        ({"a": "$(node.names)"}, "a", "`$(node.names)` is not a value of a node"),
        ({"a": "$(node.labels[rack])"}, "a", "is not a value of a node"),
        ({"a": "$(node.labels['rack\"])"}, "a", "is not a value of a node"),
        ({"a": "$(node.labels['-rack'])"}, "a", "is not a value of a node"),
        ({"a": "$(node.name"}, "a", "is not a value of a node"),
        ({"a": ["x", "$(node.uid)"]}, "a[1]", "is not a value of a node"),
        ({"a": {"$(node.name)": "x"}}, "a.$(node.name)", "is in a name"),
        ({"a": "$(node.annotations['k3os.io/config-hash'])"}, "a", "is changed by the rollout"),
    ],
)
def test_what_is_no_value_is_said_with_its_key(tree: dict, where: str, what: str) -> None:
    ((key, message),) = placeholders.wrong(tree)
    assert key == where and what in message


@pytest.mark.parametrize(
    "text", ["$(node.name)", "$$(node.uid)", "$(hostname)", "$(node.labels['a.b/c'])"]
)
def test_what_is_one_is_not_said(text: str) -> None:
    assert list(placeholders.wrong({"a": text})) == []


TEXTS = st.lists(
    st.sampled_from(["$", "(", ")", "$(node.", "name", "labels['rack']", "['", "x", "{"]),
    max_size=8,
).map("".join)


@given(TEXTS)
def test_any_text_is_left_alone_or_said_or_replaced(text: str) -> None:
    tree = {"a": text}
    wrong = list(placeholders.wrong(tree))
    result = replaced(tree, NODE)["a"]
    if not placeholders.has_any(tree):
        assert result == text and not wrong
    elif not wrong:
        # an escaped text comes out as it was meant
        escaped = text.replace("$(node.", "$$(node.")
        if "$$" not in text:
            assert replaced({"a": escaped}, NODE)["a"] == text


def test_nothing_of_the_text_around_a_value_is_shown() -> None:
    found = placeholders.shown({"k3os": {"a": "secret$(node.name)secret", "b": "$(node.name)"}})
    assert found == {"k3os.a": "$(node.name) …", "k3os.b": "$(node.name)"}


def test_a_node_brings_its_annotations_but_those_of_k3os() -> None:
    found = parse_node(node("a", notes={"example.com/rack": "7", "k3os.io/other": "x"}))
    assert found.annotations == {"example.com/rack": "7"}
    assert json.dumps(dict(found.annotations))
