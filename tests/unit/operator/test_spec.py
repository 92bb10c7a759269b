"""Parsing a NodePool, with the defaults of its schema, and what is refused."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k3os.cluster.duration import seconds
from k3os.cluster.spec import Strategy, parse_pool
from k3os.cluster.window import DAYS, Window
from k3os.errors import UserError
from k3os.operator import crd

EXAMPLE = {
    "apiVersion": "k3os.io/v1alpha1",
    "kind": "NodePool",
    "metadata": {"name": "workers", "uid": "u", "generation": 3},
    "spec": {
        "nodeSelector": {"matchLabels": {"node-role": "worker"}},
        "k3os": {"version": "v1.2.0", "url": "https://example.com/releases/v1.2.0"},
        "k3s": {"version": "v1.33.1+k3s1"},
        "config": {"k3os": {"sysctls": {"vm.max_map_count": "262144"}, "labels": {"tier": "gold"}}},
        "strategy": {
            "maxUnavailable": "25%",
            "drain": {"timeout": "1m30s", "force": True, "gracePeriod": 30},
            "window": {"start": "02:00", "duration": "3h", "days": ["Sat", "Sun"]},
            "progressDeadline": "20m",
        },
    },
}


def with_strategy(**strategy: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p"}, "spec": {"strategy": strategy}}


def test_an_example_becomes_records() -> None:
    pool = parse_pool(EXAMPLE)
    assert pool.matches({"node-role": "worker"})
    assert not pool.matches({"node-role": "server"})
    assert pool.target.k3os and pool.target.k3os.url.endswith("v1.2.0")
    assert (pool.strategy.limit(8), pool.strategy.limit(3)) == (2, 1)
    assert (pool.strategy.drain.timeout, pool.strategy.drain.grace_period) == (90, 30)
    assert pool.problems == ()


def test_without_a_strategy_the_defaults_are_those_of_the_schema() -> None:
    properties = crd.schema()["properties"]["spec"]["properties"]["strategy"]["properties"]

    def defaults(of: dict[str, Any]) -> dict[str, Any]:
        return {
            name: defaults(field["properties"]) if "properties" in field else field["default"]
            for name, field in of.items()
            if name not in ("window", "canary", "podSelector", "workloads")
            and ("properties" in field or "default" in field)
        }

    assert parse_pool(with_strategy()).strategy == Strategy()
    assert parse_pool(with_strategy(**defaults(properties))).strategy == Strategy()


@pytest.mark.parametrize(
    ("strategy", "where"),
    [
        ({"maxUnavailable": 0}, "maxUnavailable"),
        ({"maxUnavailable": "0%"}, "maxUnavailable"),
        ({"maxUnavailable": "many"}, "maxUnavailable"),
        ({"progressDeadline": "soon"}, "progressDeadline"),
        ({"drain": {"timeout": "0s"}}, "drain.timeout"),
        ({"drain": {"detachTimeout": "soon"}}, "drain.detachTimeout"),
        ({"drain": {"skipWaitForDeleteTimeout": 0}}, "drain.skipWaitForDeleteTimeout"),
        ({"workloads": {"onFailure": "Retry"}}, "workloads.onFailure"),
        ({"workloads": {"soak": "0s"}}, "workloads.soak"),
        ({"window": {"start": "25:00"}}, "window.start"),
        ({"window": {"start": "02:00", "days": ["Funday"]}}, "window.days"),
        ({"window": {"start": "02:00", "timeZone": "Mars/Base"}}, "window.timeZone"),
        ({"window": {"start": "02:00", "timeZone": "../../etc/passwd"}}, "window.timeZone"),
    ],
)
def test_what_makes_no_sense_is_named_with_its_field(strategy: dict, where: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_pool(with_strategy(**strategy))
    assert caught.value.where == f"spec.strategy.{where}"
    assert caught.value.hint


def test_errors_of_the_configuration_are_kept_for_the_status() -> None:
    body = {"metadata": {"name": "p"}, "spec": {"config": {"hostname": "a_b"}}}
    assert "hostname" in parse_pool(body).problems[0]


def test_a_target_changes_its_digest_with_anything_in_it() -> None:
    one = parse_pool(EXAMPLE).target
    spec = EXAMPLE["spec"]
    others = [
        {**spec, "k3os": {**spec["k3os"], "version": "v1.2.1"}},  # type: ignore[dict-item]
        {**spec, "k3s": {**spec["k3s"], "url": "https://x"}},  # type: ignore[dict-item]
        {**spec, "config": {}},  # type: ignore[dict-item]
    ]
    digests = {parse_pool({**EXAMPLE, "spec": each}).target.digest for each in others}
    assert len({one.digest, *digests}) == 4
    assert parse_pool(EXAMPLE).target.digest == one.digest


@pytest.mark.parametrize(
    ("expression", "labels", "wanted"),
    [
        ({"key": "a", "operator": "In", "values": ["1"]}, {"a": "1"}, True),
        ({"key": "a", "operator": "In", "values": ["1"]}, {}, False),
        ({"key": "a", "operator": "NotIn", "values": ["1"]}, {}, True),
        ({"key": "a", "operator": "NotIn", "values": ["1"]}, {"a": "1"}, False),
        ({"key": "a", "operator": "Exists"}, {"a": ""}, True),
        ({"key": "a", "operator": "DoesNotExist"}, {"a": ""}, False),
    ],
)
def test_expressions_select_as_kubernetes_does(expression, labels, wanted) -> None:
    body = {"metadata": {"name": "p"}, "spec": {"nodeSelector": {"matchExpressions": [expression]}}}
    assert parse_pool(body).matches(labels) == wanted


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("when", "wanted"),
    [
        ("2026-11-28 21:59", False),
        ("2026-11-28 22:00", True),  # Saturday
        ("2026-11-29 01:59", True),  # it started on Saturday
        ("2026-11-29 02:00", False),
        ("2026-11-29 22:30", False),
    ],
)
def test_a_window_may_go_over_midnight(when: str, wanted: bool) -> None:
    assert Window(22 * 60, 4 * 3600, ("Sat",)).opened(at(when)) == wanted


@given(
    st.integers(0, 1439),
    st.integers(60, 86400),
    st.lists(st.sampled_from(DAYS), min_size=1, unique=True),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu"]),
    st.floats(1.7e9, 1.9e9),
)
def test_the_next_opening_is_one(start, duration, days, zone, now) -> None:
    window = Window(start, duration, tuple(days), zone)
    following = window.next_opening(now)
    assert now < following <= now + 8 * 86400
    assert window.opened(following)


@given(st.text(max_size=12))
def test_any_text_is_a_duration_or_refused(text: str) -> None:
    try:
        assert 0 < seconds(text, "x") <= 7 * 86400
    except UserError as error:
        assert error.where == "x"
