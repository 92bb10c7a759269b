"""Whatever a node or a person writes into annotations does not stop the operator."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k3os import names
from k3os.cluster.node import LATEST, STEPS, State, parse_node, parse_state

GOOD = State("pool", "target", STEPS[0], "0a1b-node.example.com-1700000000", 1700000000, 1700000001)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def node(**notes: str) -> dict[str, Any]:
    known = {"rollout": names.ROLLOUT, "result": names.LAST_RESULT}
    annotations = {known[name]: text for name, text in notes.items()}
    return {"metadata": {"name": "n", "annotations": annotations}}


def test_what_the_operator_writes_it_reads() -> None:
    assert parse_state(GOOD.as_json()) == GOOD


@pytest.mark.parametrize("name", [each.name for each in fields(State)])
@pytest.mark.parametrize("value", ["x", "", None, -1, 1.5, True, [], {}, 10**400, LATEST + 1])
def test_a_field_of_another_type_or_range_makes_it_no_state(name: str, value: object) -> None:
    found = parse_state(json.dumps({**asdict(GOOD), name: value}))
    if found is not None:
        assert type(getattr(found, name)) is type(getattr(GOOD, name))
        assert 0 <= found.started <= LATEST
        assert 0 <= found.since <= LATEST


@given(st.text() | JSON.map(json.dumps))
def test_no_text_of_an_annotation_makes_trouble(text: str) -> None:
    parse_node(node(rollout=text, result=text))


@given(st.dictionaries(st.sampled_from([each.name for each in fields(State)]), JSON))
def test_no_mixture_of_fields_makes_trouble(changes: dict[str, Any]) -> None:
    found = parse_state(json.dumps({**asdict(GOOD), **changes}))
    if found is not None:
        assert {type(each) for each in asdict(found).values()} <= {str, int, bool}


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "9" * 100_000])
def test_neither_depth_nor_length_does(text: str) -> None:
    found = parse_node(node(rollout=text, result=text))
    assert (found.state, found.last) == (None, None)
