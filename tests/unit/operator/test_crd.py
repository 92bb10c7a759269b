"""The CustomResourceDefinition follows the rules of the API server."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import cel
import pytest

from k3os.cluster.node import FAILED, State, parse_node
from k3os.cluster.spec import parse_pool
from k3os.cluster.turns import Cluster
from k3os.errors import UserError
from k3os.operator import crd
from k3os.operator.status import MOST_LISTED, status
from tests.unit.operator.simulator import node
from tests.unit.operator.test_spec import EXAMPLE

NOW = 1_800_000_000.0


def schemas(found: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield found
    for inner in found.get("properties", {}).values():
        yield from schemas(inner)
    for key in ("items", "additionalProperties"):
        if isinstance(found.get(key), dict):
            yield from schemas(found[key])


def test_the_schema_is_structural() -> None:
    """Every part has a type, or says that any is allowed; kubernetes.io, "Specifying a structural
    schema"."""
    for each in schemas(crd.schema()):
        assert "type" in each or each.get("x-kubernetes-int-or-string")
        assert not each.keys() & {"$ref", "definitions", "patternProperties"}
        # in a structural schema, alternatives may only restrict
        assert all(part.keys() == {"required"} for part in each.get("oneOf", []))
        # a default must fit its own schema
        if each.get("type") == "integer" and "default" in each:
            assert each["default"] >= each.get("minimum", each["default"])
    json.dumps(crd.definition())


def refusals(schema: dict[str, Any], value: Any) -> list[str]:
    """The messages of the CEL rules for an object, as the API server evaluates them."""
    found = []
    for rule in schema.get(crd.RULES, []):
        if not cel.evaluate(rule["rule"], {"self": value}):
            expression = rule.get("messageExpression")
            told = cel.evaluate(expression, {"self": value}) if expression else rule["message"]
            found.append(told)
    for name, inner in schema.get("properties", {}).items():
        if isinstance(value, dict) and name in value:
            found += refusals(inner, value[name])
    for item in value if isinstance(value, list) else []:
        found += refusals(schema["items"], item)
    return found


@pytest.mark.parametrize("where", ["timeout", "detachTimeout", "skipWaitForDeleteTimeout"])
@pytest.mark.parametrize("text", ["0s", "0h0m", "169h", "7h200h", "168h1s", "20m", "168h", "1s"])
def test_a_duration_is_refused_by_the_api_server_as_by_the_operator(where: str, text: str) -> None:
    if not re.fullmatch(crd.DURATION, text):
        return  # refused by the pattern
    spec = {"nodeSelector": {"matchLabels": {}}, "strategy": {"drain": {where: text}}}
    found = refusals(crd.schema()["properties"]["spec"], spec)
    try:
        parse_pool({"metadata": {"name": "p"}, "spec": spec})
    except UserError as error:
        assert found == [str(error).removeprefix(f"{error.where}: ")]
    else:
        assert found == []


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"nodeSelector": {}}, "say which nodes"),
        ({"k3s": {"version": "v1", "channel": "stable"}}, "give either version or channel"),
        ({"k3s": {"url": "https://x"}}, "give either version or channel"),
        (
            {"nodeSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}},
            "In and NotIn need values",
        ),
        (
            {
                "nodeSelector": {
                    "matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]
                }
            },
            "Exists and DoesNotExist have none",
        ),
    ],
)
def test_rules_say_what_is_wrong_with_a_spec(spec: dict[str, Any], words: str) -> None:
    whole = {"nodeSelector": {"matchLabels": {}}, **spec}
    (found,) = refusals(crd.schema()["properties"]["spec"], whole)
    assert words in found


def test_an_example_breaks_no_rule() -> None:
    assert refusals(crd.schema()["properties"]["spec"], EXAMPLE["spec"]) == []


def test_every_text_and_list_that_a_rule_reads_is_bounded() -> None:
    """Otherwise the API server assumes it is huge, and refuses the rule because of its estimated
    cost."""
    for each in schemas(crd.schema()["properties"]["spec"]):
        if crd.RULES not in each:
            continue
        if each["type"] == "string":
            assert each["maxLength"] <= 64
        for inner in each.get("properties", {}).values():
            assert inner["type"] != "array" or "maxItems" in inner
    for each in schemas(crd.schema()["properties"]["spec"]):
        assert each.get("type") != "array" or "maxItems" in each


def test_columns_lead_to_fields_of_the_schema() -> None:
    for _, _, path in crd.COLUMNS:
        found = crd.schema()
        for name in path.lstrip(".").split("."):
            if name == "metadata":
                break
            found = found["properties"][name]


def test_a_status_fits_the_schema_and_is_bounded() -> None:
    pool = parse_pool({**EXAMPLE, "spec": {**EXAMPLE["spec"], "nodeSelector": {}}})  # type: ignore[dict-item]
    failed = State(
        "workers", pool.target.digest, FAILED, "r", 1, 1, reason="JobFailed", message="x" * 9000
    )
    nodes = tuple(replace(node(f"n{number}"), state=failed) for number in range(1000))
    found = status(pool, Cluster(nodes), "n0 failed", NOW, {})
    assert set(found) <= set(crd.schema()["properties"]["status"]["properties"])
    assert len(found["changing"]) == MOST_LISTED
    assert len(json.dumps(found)) < 100_000
    assert found["phase"] == "Failed"
    degraded = {each["type"]: each for each in found["conditions"]}["Degraded"]
    assert (degraded["status"], degraded["reason"]) == ("True", "JobFailed")
    assert degraded["message"].startswith("n0: xxx")


def test_a_condition_keeps_its_time_until_it_changes() -> None:
    pool = parse_pool({**EXAMPLE, "spec": {"nodeSelector": {}}})
    one = status(pool, Cluster((node("a"),)), "", NOW, {})
    two = status(pool, Cluster((node("a"),)), "", NOW + 60, one)
    assert one["conditions"] == two["conditions"]
    three = status(pool, Cluster((node("a", ready=False),)), "", NOW + 60, two)
    times = {each["type"]: each["lastTransitionTime"] for each in three["conditions"]}
    assert times["Available"] != times["Degraded"]


def test_conflicts_and_empty_pools_say_so() -> None:
    pool = parse_pool({**EXAMPLE, "spec": {"nodeSelector": {}}})
    found = status(pool, Cluster((node("a"),), frozenset({"a"})), "", NOW, {})
    assert found["phase"] == "Conflict"
    assert "another NodePool" in json.dumps(found["conditions"])
    empty = status(pool, Cluster(()), "", NOW, {})
    assert "the selector matches no node" in json.dumps(empty["conditions"])


def test_a_node_of_the_api_becomes_a_record() -> None:
    body = {
        "metadata": {
            "name": "a",
            "labels": {"node-role.kubernetes.io/control-plane": "true"},
            "annotations": {
                "k3os.io/k3os": "v1.0.0",
                "k3os.io/trial": "true",
                "k3os.io/last-result": '{"request": "r", "state": "Failed", "message": "full"}',
            },
        },
        "spec": {"unschedulable": True},
        "status": {
            "conditions": [
                {"type": "Ready", "status": "True"},
                {"type": "K3OSHealthy", "status": "False", "message": "a key failed"},
            ]
        },
    }
    found = parse_node(body)
    assert found.control_plane and found.ready and found.unschedulable and found.trial
    assert (found.healthy, found.health) == (False, "a key failed")
    assert found.last and found.last.message == "full"
    assert parse_node({"metadata": {"name": "b"}}).healthy is None
