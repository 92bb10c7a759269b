"""Whatever a Node or NodePool contains, a round of the operator ends, and the others are
handled."""

import asyncio
import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from k3os import names
from k3os.cluster.budgets import hindrance, parse_budget
from k3os.cluster.node import STEPS, parse_node
from k3os.cluster.progress import progress
from k3os.cluster.selector import matches, selector_of
from k3os.cluster.spec import read_pool
from k3os.cluster.views import REQUEST_LABEL, parse_attachment, parse_pod
from k3os.operator.api import ApiFailure
from k3os.operator.engine import Engine, Sight, seen
from k3os.operator.job import answer, parse_job
from tests.unit.cluster import objects
from tests.unit.operator.test_revisions import StubClient

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.sampled_from(["\ud800", "1" * 5000, 10**400, "9" * 30, "../..", "\n"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)
STATE = {"step": "Draining", "request": "r-bad-0", "pool": "bad"}
NODE = objects.node("bad", state=STATE, role="bad")
NODE["metadata"]["annotations"][names.WORKLOADS] = json.dumps(
    {"request": "r-bad-0", "ready": {"Pod/a/b": 1}, "sick": {"Pod/a/b": "0 of 1 pods"}}
)
NODE["spec"] = {"unschedulable": True}
POOL = objects.pool(
    "bad",
    selector={
        "matchLabels": {"role": "bad"},
        "matchExpressions": [{"key": "x", "operator": "NotIn", "values": ["y"]}],
    },
    k3s={"channel": "stable"},
    config={"k3os": {"sysctls": {"vm.swappiness": "1"}}},
    strategy={
        "maxUnavailable": "25%",
        "drain": {"enabled": True, "timeout": "1m", "gracePeriod": 5},
        "window": {"start": "02:00", "days": ["Mon"], "timeZone": "UTC", "duration": "1h"},
        "canary": {
            "steps": [{"nodes": "10%", "pause": "1m"}],
            "analysis": [{"name": "smoke", "job": {"from": "cronjob/smoke"}}],
            "onFailure": "Rollback",
        },
        "workloads": {"onFailure": "Rollback", "soak": "2m"},
        "progressDeadline": "20m",
        "paused": False,
    },
    status={"channels": {"k3s": {"channel": "stable", "version": "v1.33.1+k3s1"}}},
)
POOL["status"]["conditions"] = [{"type": "Degraded", "status": "False"}]
POOL["metadata"]["uid"] = "1"


def paths(value: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of everything inside, except the name, which the API guarantees."""
    if here and here != ("metadata", "name"):
        yield here
    if isinstance(value, (dict, list)):
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        for key, each in inner:
            yield from paths(each, (*here, key))


def changed(body: Any, changes: list[tuple[tuple[Any, ...], Any]]) -> Any:
    found = copy.deepcopy(body)
    for path, value in changes:
        place = found
        try:
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = value
        except (LookupError, TypeError):
            continue  # another change removed it
    found["metadata"] = found["metadata"] if isinstance(found["metadata"], dict) else {}
    found["metadata"]["name"] = body["metadata"]["name"]
    return found


def hostile(body: Any) -> st.SearchStrategy[Any]:
    place = st.tuples(st.sampled_from(list(paths(body))), JSON)
    return st.lists(place, min_size=1, max_size=3).map(lambda changes: changed(body, changes))


def annotated(text: str) -> dict[str, Any]:
    body = copy.deepcopy(NODE)
    body["metadata"]["annotations"][names.ROLLOUT] = text
    return body


class NoPolicies(StubClient):
    async def get(self, kind: Any, name: str, namespace: str = "") -> Any:
        if not namespace:
            raise ConnectionError("no policy is applied here")
        return await super().get(kind, name, namespace)


class StubApi:
    """Accepts all writes, and has no objects."""

    def __init__(self) -> None:
        self.nodes: list[str] = []
        self.statuses: dict[str, Any] = {}
        self.deleted: list[str] = []
        self.client = NoPolicies()

    async def patch_node(self, patch: Any, _version: str) -> dict[str, Any]:
        self.nodes.append(patch.node)
        return {"metadata": {"name": patch.node}}

    async def patch_status(self, pool: str, status: Any, _version: str = "") -> dict[str, Any]:
        json.dumps(status)
        self.statuses[pool] = status
        return {"status": status}

    async def delete_job(self, name: str) -> None:
        self.deleted.append(name)

    async def create_job(self, *objects: Any) -> None:
        json.dumps(objects[:2])


class NothingWatched:
    """Watches nothing on nodes that are drained; another test covers that."""

    found = None

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    async def close(self) -> None:
        pass


def round_of(nodes: list[Any], pools: list[Any], rounds: int = 1) -> StubApi:
    """Run rounds with these and with a good node in a good NodePool. Raises what the last round
    raises."""
    nodes = [*nodes, objects.node("good", role="good")]
    pools = [*pools, objects.pool("good", selector={"matchLabels": {"role": "good"}})]
    api = StubApi()

    async def once() -> None:
        sight = Sight(
            {each["metadata"]["name"]: [each] for each in pools},
            {each["metadata"]["name"]: [seen(each)] for each in nodes},
            {},
            {},
        )
        engine = Engine(api, sight, lambda *_: None)  # type: ignore[arg-type]
        for left in range(rounds, 0, -1):
            try:
                await engine.reconcile()
            except ApiFailure:
                if left == 1:
                    raise
        await engine.close()

    asyncio.run(once())
    return api


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nobody(_: str) -> str:
        return "v1.33.1+k3s1"

    monkeypatch.setattr("k3os.operator.channels.look_up", nobody)
    monkeypatch.setattr("k3os.operator.watched.Watched", NothingWatched)


PROPERTY = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@PROPERTY
@given(hostile(NODE) | JSON.map(json.dumps).map(annotated) | st.text().map(annotated))
def test_no_node_keeps_another_ones_rollout_from_going_on(node: Any) -> None:
    api = round_of([node], [POOL])
    assert "good" in api.nodes
    assert {"good", "bad"} <= api.statuses.keys()
    progress("bad", [POOL], [node])


@PROPERTY
@given(hostile(POOL))
def test_no_nodepool_keeps_another_one_from_going_on_and_it_is_told_what_is_wrong(
    pool: Any,
) -> None:
    good = objects.node("good", role="good")["metadata"]["labels"]
    spec = pool.get("spec")
    assume(not matches(selector_of(spec if isinstance(spec, dict) else {}), good))
    api = round_of([NODE], [pool])
    assert "good" in api.nodes
    progress("bad", [pool], [NODE])
    if read_pool(pool).problems:
        told = {each["type"]: each for each in api.statuses["bad"]["conditions"]}
        assert told["Degraded"]["status"] == "True"


@pytest.mark.parametrize(
    "spec",
    [
        {"nodeSelector": "all"},
        {"nodeSelector": {"matchExpressions": [{"operator": "In"}]}},
        {"nodeSelector": {"matchLabels": {"a": ["b"]}}},
        {"nodeSelector": {"matchlabels": {"a": "b"}}},
        {"nodeSelector": {}, "strategy": {"drain": {"gracePeriod": 10**400}}},
        {"nodeSelector": {}, "strategy": {"drain": "yes"}},
        {"nodeSelector": {}, "strategy": {"window": {"start": "02:00", "days": 7}}},
        {"nodeSelector": {}, "k3os": {"version": ["v1"], "url": "https://example.com"}},
        {"nodeSelector": {}, "k3s": {"version": "../../etc"}},
        {"nodeSelector": {}, "config": "\ud800"},
        {"nodeSelector": {}, "config": {"hostname": "\ud800"}},
    ],
)
def test_a_spec_that_cannot_be_understood_is_a_problem_with_its_place(spec: Any) -> None:
    pool = read_pool({"metadata": {"name": "bad", "generation": 2}, "spec": spec})
    assert (pool.name, pool.generation) == ("bad", 2)
    assert pool.problems
    assert not pool.target.config
    selector = spec["nodeSelector"]
    assert pool.matches({"a": "b"}) is (selector == {}), "what it does not understand it leaves"


@pytest.mark.parametrize(
    "text",
    [
        '{"started":"x"}',
        "[" * 100_000,
        json.dumps({**json.loads(NODE["metadata"]["annotations"][names.ROLLOUT]), "step": "Go"}),
        json.dumps(
            {
                **json.loads(NODE["metadata"]["annotations"][names.ROLLOUT]),
                "request": "r-good-0",
                "step": STEPS[0],
            }
        ),
        # of a node whose name contains this one's
        json.dumps(
            {
                **json.loads(NODE["metadata"]["annotations"][names.ROLLOUT]),
                "request": "r-good-bad-1-0",
            }
        ),
    ],
)
def test_a_node_with_a_state_that_is_not_ours_is_left_alone_and_its_pool_says_so(text: str) -> None:
    api = round_of([annotated(text)], [objects.pool("bad", selector=POOL["spec"]["nodeSelector"])])
    assert api.nodes == ["good"]
    assert not api.deleted, "least of all another node's Job"
    told = {each["type"]: each for each in api.statuses["bad"]["conditions"]}
    assert (told["Degraded"]["status"], told["Degraded"]["reason"]) == ("True", "NodeUnreadable")
    assert names.ROLLOUT in told["Degraded"]["message"]


def test_a_fault_of_ours_costs_one_node_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from k3os.operator import rollout

    advance = rollout.advance

    def broken(pool: Any, node: Any, *more: Any) -> Any:
        if node.name == "bad":
            raise ZeroDivisionError("by nothing")
        return advance(pool, node, *more)

    monkeypatch.setattr(rollout, "advance", broken)
    api = round_of([NODE], [objects.pool("bad", selector={"matchLabels": {"role": "bad"}})])
    assert "good" in api.nodes
    told = {each["type"]: each for each in api.statuses["bad"]["conditions"]}
    assert told["Degraded"]["reason"] == "InternalError"
    assert "by nothing" in told["Degraded"]["message"]


async def nothing() -> float:
    return 0.0


def run_until(
    monkeypatch: pytest.MonkeyPatch, seen: list[int], times: int, **methods: Callable[[], Any]
) -> None:
    """Run an engine with replaced methods until seen has this many entries."""

    async def run() -> None:
        engine = Engine(StubApi(), Sight({}, {}, {}, {}), lambda *_: None)  # type: ignore[arg-type]
        for name, method in methods.items():
            monkeypatch.setattr(engine, name, method)
        task = asyncio.create_task(engine.run())
        async with asyncio.timeout(10):
            while len(seen) < times:
                await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())


def test_a_round_that_breaks_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    async def breaks() -> float:
        tried.append(1)
        if len(tried) == 1:
            raise KeyError("metadata")
        await asyncio.Event().wait()
        return 0.0

    monkeypatch.setattr("k3os.operator.engine.FIRST_RETRY", 0.01)
    run_until(monkeypatch, tried, 2, reconcile=breaks, _drop_strays=nothing)


def test_requests_that_no_job_owns_are_looked_for_again_and_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If the operator is killed while it writes one, that one is too young when it starts again."""
    looked: list[int] = []

    async def look() -> None:
        looked.append(1)

    monkeypatch.setattr("k3os.operator.engine.STRAY_SECONDS", 0.01)
    run_until(monkeypatch, looked, 3, reconcile=nothing, _drop_strays=look)


@given(JSON, JSON, JSON)
def test_no_pod_and_no_answer_of_a_kubelet_makes_trouble(one: Any, two: Any, three: Any) -> None:
    views = {
        "metadata": {"name": one, "generation": two, "creationTimestamp": three},
        "spec": {"selector": one, "minAvailable": two, "priority": three, "source": one},
        "status": {"currentHealthy": one, "conditions": two},
    }
    pod = {
        "metadata": {"name": one, "namespace": two, "labels": three, "ownerReferences": one},
        "spec": {"volumes": two},
        "status": {"phase": one, "containerStatuses": [{"state": {"terminated": three}}, two]},
    }
    str(parse_pod(pod))
    str(parse_attachment(views))
    hindrance(parse_pod(views), [parse_budget(views)] * 2)
    hindrance(parse_pod(views), [parse_budget(views)])
    said = {"status": {"containerStatuses": [{"state": {"terminated": {"message": one}}}]}}
    answer(said)
    parse_job(
        {"metadata": {"annotations": {REQUEST_LABEL: "r"}}, "status": {"conditions": one}}, said
    )
    parse_job({"metadata": one, "status": two}, pod)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"message":' * 100_000, "9" * 10_000])
def test_the_last_words_of_a_job_may_be_deep_and_long(text: str) -> None:
    answer({"status": {"containerStatuses": [{"state": {"terminated": {"message": text}}}]}})


def test_a_node_is_read_whatever_it_is() -> None:
    for body in ({}, {"metadata": None}, {"metadata": {"labels": ["a"]}, "status": [], "spec": 1}):
        assert parse_node(body).ready is False
