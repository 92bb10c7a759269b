"""NodePool's CRD and admission policy in a real API server: it refuses what the operator refuses,
in the same words; and server-side apply."""

from collections.abc import Iterator
from typing import Any

import pytest
from lightkube import ApiError
from lightkube.types import PatchType

from k3os.cluster.spec import parse_pool
from k3os.operator.admission_policy import NAME
from tests.operator.agent import LABEL
from tests.operator.cluster import POLICIES
from tests.operator.semantics import merged
from tests.operator.test_undo import history
from tests.operator.world import URL, NodePool, World
from tests.unit.operator.test_admission_policy import (
    ALIKE,
    NEAREST,
    VALUES,
    WRONG,
    checked,
    config_of,
)
from tests.unit.operator.test_spec import EXAMPLE

pytestmark = pytest.mark.cluster

Policy = POLICIES[1]
DENIED = " denied request: "
TOGETHER = 4  # keys in one NodePool: an answer has at most 5 KiB
SINCE_RULES, SINCE_POLICIES = 29, 30  # of Kubernetes: messageExpression, ValidatingAdmissionPolicy


def minor(world: World) -> int:
    """The minor version of the server."""
    answer = world.client._client._client.get("/version").json()
    return int("".join(filter(str.isdigit, answer["minor"])))


def refusal(world: World, **spec: Any) -> str:
    """Why the API server refuses a NodePool; "" if it does not."""
    spec = {"nodeSelector": {"matchLabels": {LABEL: "none"}}, **spec}
    body = {"metadata": world._meta(f"{world.run}-refused"), "spec": spec}
    try:
        world.client.create(NodePool(body), dry_run=True)
    except ApiError as error:
        return str(error.status.message)
    return ""


def with_policy(world: World) -> None:
    """Start the operator, and wait until its policy is in effect."""
    if minor(world) < SINCE_POLICIES:
        pytest.skip("this API server has no ValidatingAdmissionPolicies")
    world.nodes("a")
    world.start()
    world.until(lambda: DENIED in refusal(world, config={"hostname": "a_b"}))


def test_what_is_wrong_is_refused_in_the_words_of_the_check(world: World) -> None:
    with_policy(world)
    assert not dict(world.client.get(Policy, NAME)).get("status", {}).get("typeChecking")
    for path, value, _ in WRONG:
        config = config_of(path, value)
        said = refusal(world, config=config).partition(DENIED)[2]
        assert said == checked(config), path


def groups() -> Iterator[list[str]]:
    paths = sorted(ALIKE.values())
    for start in range(0, len(paths), TOGETHER):
        yield paths[start : start + TOGETHER]


def test_nothing_is_refused_that_the_check_takes_and_nothing_in_other_words(world: World) -> None:
    with_policy(world)
    refused = 0
    for value in VALUES:
        for paths in groups():
            config: dict[str, Any] = {}
            for path in paths:
                config = merged(config, config_of(path, value)) if value is not None else {}
            said = refusal(world, config=config)
            if not said:
                continue
            refused += 1
            wanted = checked(config)
            parts = said.partition(DENIED)[2].split("; ")
            if NEAREST in wanted:
                parts = [each for each in parts if not each.startswith("known: ")]
            assert set(parts) <= set(wanted.split("; ")), (paths, value)
    assert refused > len(VALUES)


def test_a_policy_that_is_another_is_made_as_it_should_be(world: World) -> None:
    with_policy(world)
    assert world.end() == 0
    before = dict(world.client.get(Policy, NAME))
    notes = dict.fromkeys(before["metadata"]["annotations"], "old")
    change = {"metadata": {"annotations": notes}, "spec": {"failurePolicy": "Fail"}}
    world.client.patch(Policy, NAME, change, patch_type=PatchType.MERGE)
    world.start()

    def is_as_before() -> bool:
        found = dict(world.client.get(Policy, NAME))
        same = found["metadata"]["annotations"] == before["metadata"]["annotations"]
        return bool(same and found["spec"] == before["spec"])

    world.until(is_as_before)


BAD_SPECS: list[tuple[dict[str, Any], str]] = [
    ({"nodeSelector": {}}, "say which nodes: matchLabels or matchExpressions"),
    ({"k3s": {"version": "v1", "channel": "stable"}}, "give either version or channel"),
    ({"k3s": {"url": "https://x"}}, "give either version or channel"),
    ({"k3os": {"version": "v1.0.0"}}, "spec.k3os.url: Required value"),
    ({"k3os": {"version": "1.0.0", "url": URL}}, "spec.k3os.version"),
    ({"strategy": {"maxUnavailable": 0}}, "spec.strategy.maxUnavailable"),
    ({"strategy": {"maxUnavailable": "0%"}}, "spec.strategy.maxUnavailable"),
    ({"strategy": {"progressDeadline": "soon"}}, "spec.strategy.progressDeadline"),
    ({"strategy": {"drain": {"timeout": "0s"}}}, "'0s' is not a duration; write `20m` or"),
    ({"strategy": {"drain": {"detachTimeout": "169h"}}}, "'169h' is not a duration; write `20m`"),
    ({"strategy": {"drain": {"gracePeriod": -2}}}, "spec.strategy.drain.gracePeriod"),
    ({"strategy": {"workloads": {"soak": "0s"}}}, "'0s' is not a duration"),
    ({"strategy": {"workloads": {"onFailure": "Retry"}}}, "spec.strategy.workloads.onFailure"),
    ({"strategy": {"window": {"start": "25:00"}}}, "spec.strategy.window.start"),
    ({"strategy": {"window": {}}}, "spec.strategy.window.start: Required value"),
    ({"strategy": {"canary": {"steps": []}}}, "spec.strategy.canary.steps"),
    ({"strategy": {"canary": {"steps": [{"nodes": 0}]}}}, "spec.strategy.canary.steps[0].nodes"),
    ({"strategy": {"rollback": "Perhaps"}}, "spec.strategy.rollback"),
    ({"overrides": [{"config": {}}]}, "spec.overrides[0].nodeSelector: Required value"),
    ({"overrides": [{"nodeSelector": {}, "config": {}}]}, "say which nodes"),
    ({"secrets": [{"name": "a"}]}, "spec.secrets[0].valueFrom: Required value"),
    ({"revisionHistoryLimit": -1}, "spec.revisionHistoryLimit"),
    (
        {"nodeSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}},
        "In and NotIn need values, Exists and DoesNotExist have none",
    ),
]


def test_the_definition_refuses_what_the_operator_could_not_read(world: World) -> None:
    if minor(world) < SINCE_RULES:
        pytest.skip("this API server drops the rules of the definition")
    for spec, words in BAD_SPECS:
        assert words in refusal(world, **spec), spec


def test_an_example_is_taken_and_its_defaults_change_nothing(world: World) -> None:
    for spec in (EXAMPLE["spec"], {"nodeSelector": {"matchLabels": {"a": "b"}}}):
        body = {"metadata": world._meta(f"{world.run}-example"), "spec": spec}
        taken = dict(world.client.create(NodePool(body), dry_run=True))
        read, given = (parse_pool({**body, "spec": each}) for each in (taken["spec"], spec))
        assert (read.strategy, read.target) == (given.strategy, given.target)
        assert read.history_limit == given.history_limit


def test_a_pool_that_is_applied_again_meets_no_conflict_and_its_history_says_who(
    world: World,
) -> None:
    """kubernetes.io, "Server-Side Apply": the operator owns nothing of a spec."""
    world.nodes("a")
    world.start()
    for version in ("v1.1.0", "v1.2.0"):
        spec = {
            "nodeSelector": {"matchLabels": {LABEL: world.run}},
            "k3os": {"version": version, "url": URL},
            "config": {"k3os": {"sysctls": {"vm.max_map_count": "262144"}}},
        }
        body = NodePool({"metadata": world._meta(f"{world.run}-pool"), "spec": spec})
        world.client.apply(body, field_manager="somebody")
        world.until(lambda version=version: world.machine("a").versions["k3os"] == version)
        world.until_phase("Updated")
    found = world.until(lambda: (each := history(world, f"{world.run}-pool"))[1:] and each)
    assert [(each.number, each.by) for each in found] == [(1, "somebody"), (2, "somebody")]
