"""What a gate says about the answers it gets, and when it gets none."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k3os.cluster.canary_spec import Canary, Gate, Step
from k3os.cluster.spec import Pool, Strategy
from k3os.cluster.target import Target
from k3os.operator import gates
from k3os.operator.canary import State, Verdict
from k3os.operator.gates import Gates, condition_of, job, job_name, job_of, pods_of, prometheus_of
from tests.unit.local_server import content, local_site, moved, stalling, status

ERRORS = Gate("errors", "prometheus", {"address": "", "query": "x", "max": 0.1})
PODS = Gate("web", "pods", {"namespace": "web", "labels": {"app": "web"}})
JOB = Gate("smoke", "job", {"cronjob": "smoke"})
CONDITION = Gate(
    "ceph",
    "condition",
    {"apiVersion": "v1", "kind": "Node", "name": "a", "namespace": "", "type": "Ready"}
    | {"status": "True"},
)
KEY = ("uid", "digest", 0, 0, 0, "smoke", "")


def pool(*asked: Gate) -> Pool:
    wanted = Canary((Step(1),), asked)
    return Pool("workers", "uid", 1, {}, Target(), Strategy(canary=wanted))


def vector(*values: str) -> dict[str, Any]:
    rows = [{"metric": {}, "value": [0, value]} for value in values]
    return {"status": "success", "data": {"resultType": "vector", "result": rows}}


@pytest.mark.parametrize(
    ("answer", "passed", "words"),
    [
        (vector("0.05"), True, ""),
        (vector("0.1"), True, ""),
        (vector("0.05", "0.3"), False, "0.3 is above 0.1"),
        (vector("NaN"), False, "nan is above 0.1"),
        (vector(), False, "the query has no result"),
        ({"data": {"resultType": "scalar", "result": [0, "0.5"]}}, False, "0.5 is above 0.1"),
        ({}, False, "the query has no result"),
    ],
)
def test_each_value_of_a_query_is_within_the_range(answer, passed, words) -> None:
    assert prometheus_of(ERRORS, answer) == Verdict("errors", passed, words)


def test_a_lower_limit_is_one_too() -> None:
    gate = Gate("up", "prometheus", {"min": 1.0})
    assert prometheus_of(gate, vector("0")).message == "0 is below 1"


def body(name: str, ready: str = "True", **more: Any) -> dict[str, Any]:
    status = {"conditions": [{"type": "Ready", "status": ready, "message": "why"}], **more}
    return {"metadata": {"name": name}, "status": status}


def test_pods_that_are_over_do_not_count_and_none_is_too_few() -> None:
    assert pods_of(PODS, [body("a"), body("b", "False", phase="Succeeded")]).passed
    assert pods_of(PODS, [body("a"), body("b", "False")]).message == "not ready: b"
    assert pods_of(PODS, []).message == "no pod in web has these labels"


def test_a_condition_that_does_not_hold_says_why() -> None:
    assert condition_of(CONDITION, body("a")).passed
    assert condition_of(CONDITION, body("a", "False")).message == "Node a: Ready is False: why"
    assert condition_of(CONDITION, {}).message == "Node a: Ready is not there"


def test_a_job_is_made_of_its_cronjob_and_has_the_last_word() -> None:
    template = {"spec": {"backoffLimit": 2, "template": {"spec": {"containers": []}}}}
    cronjob = {"spec": {"suspend": True, "jobTemplate": {**template, "metadata": {"labels": {}}}}}
    made = job(job_name(KEY), cronjob, pool(JOB))
    assert made["spec"]["backoffLimit"] == 2
    assert made["metadata"]["ownerReferences"][0]["uid"] == "uid"
    assert job_name(KEY) != job_name((*KEY[:3], 1, *KEY[4:])), "another attempt is another Job"
    assert job_of(JOB, made).passed is None
    for kind, passed in (("Complete", True), ("Failed", False)):
        ended = made | {"status": {"conditions": [{"type": kind, "status": "True"}]}}
        verdict = job_of(JOB, ended)
        assert (verdict.passed, verdict.final) == (passed, True)
    assert f"logs job/{job_name(KEY)}" in verdict.message


def verdict(gate: Gate) -> Verdict:
    asked = Gates(None, lambda: None)  # type: ignore[arg-type]
    return asyncio.run(asked.verdict(KEY, gate, pool(gate)))


def of(url: str) -> Gate:
    return Gate("errors", "prometheus", {"address": url, "query": "x", "max": 0.1})


def test_prometheus_is_asked_and_what_is_no_answer_is_no_verdict(monkeypatch) -> None:
    good = json.dumps(vector("0.05")).encode()
    path = "/api/v1/query?query=x"
    for page, passed, words in (
        (content(good), True, ""),
        (content(b"<html>"), None, "no answer that can be read"),
        (content(b"[1]"), False, "no result"),
        (content(b" " * (gates.LONGEST + 1)), None, "longer than 65536 bytes"),
        (status(500), None, "status 500"),
        (moved("http://127.0.0.1:1"), None, "status 302"),
    ):
        with local_site() as site:
            site.page(path, page)
            found = verdict(of(site.url))
        assert (found.passed, words in found.message) == (passed, True), found
    monkeypatch.setattr(gates, "DEADLINE", 0.3)
    with local_site() as site:
        site.page(path, stalling(good, 3, trickle=0.05))
        assert verdict(of(site.url)).message == "no answer within 0 s"
    assert verdict(of("http://127.0.0.1:1")).passed is None


KEYS = st.sampled_from(["data", "result", "resultType", "value"])
ANSWERS = st.recursive(
    st.none() | st.floats() | st.text(), lambda one: st.lists(one) | st.dictionaries(KEYS, one)
)


@given(ANSWERS)
def test_whatever_prometheus_answers_the_loop_goes_on(answer: Any) -> None:
    found = verdict_of(answer)
    assert found.gate == "errors"


def verdict_of(answer: Any) -> Verdict:
    async def said(*_: str) -> Any:
        return gates.mapping(answer)

    before, gates.query = gates.query, said
    try:
        return verdict(ERRORS)
    finally:
        gates.query = before


def test_gates_of_another_step_are_not_asked_any_more() -> None:
    async def steps() -> None:
        asked = Gates(None, lambda: None)  # type: ignore[arg-type]
        gate = of("http://127.0.0.1:1")
        one, two = State("t", 0), State("t", 1)
        assert asked.ask(pool(gate), one)[0].passed is None
        first = set(asyncio.all_tasks())
        asked.ask(pool(gate), two)
        await asyncio.sleep(0)
        assert sum(each.cancelling() > 0 for each in first) == 1
        asked.close()

    asyncio.run(steps())


@pytest.mark.parametrize(
    "answer",
    [
        {"data": {"result": 5, "resultType": "vector"}},
        {"data": {"result": [{"value": [0, None]}]}},
        {"data": {"result": [{"value": [0, {}]}]}},
        {"data": {"result": [0, "1"], "resultType": "string"}},
    ],
)
def test_an_answer_of_another_shape_is_a_verdict_too(answer: Any) -> None:
    """Otherwise it would wait forever: the time limit only applies to gates that were asked."""
    found = verdict_of(answer)
    assert found.asked and not found.passed and found.message


def test_an_answer_that_is_nested_without_an_end_is_none_that_can_be_read() -> None:
    with local_site() as site:
        site.page("/api/v1/query?query=x", content(b"[" * 60000))
        assert "no answer that can be read" in verdict(of(site.url)).message


def test_a_mistake_of_ours_is_a_verdict_too(monkeypatch) -> None:
    def broken(*_: Any) -> Any:
        raise AttributeError("ours")

    monkeypatch.setattr(gates, "prometheus_of", broken)
    found = verdict_of({})
    assert (found.passed, found.asked) == (None, True)
    assert "AttributeError" in found.message


def asking(*steps: tuple[Pool, State] | None) -> list[set[Any]]:
    """The tasks that exist after each step; None: no gate is asked."""

    async def go() -> list[set[Any]]:
        asked, found = Gates(None, lambda: None), []  # type: ignore[arg-type]
        for step in steps:
            if step is not None:
                asked.ask(*step)
            asked.only({step[0].uid} if step else set())
            await asyncio.sleep(0)
            tasks = asyncio.all_tasks()
            gates_asked = {each for each in tasks if each.get_name().startswith("gate ")}
            found.append({each for each in gates_asked if not each.cancelling()})
        asked.close()
        return found

    return asyncio.run(go())


def test_gates_of_a_nodepool_that_is_gone_are_not_asked_any_more() -> None:
    """Otherwise a Job would be created and garbage-collected with its owner, again and again."""
    one, none = asking((pool(of("http://127.0.0.1:1")), State("t")), None)
    assert len(one) == 1 and not none


def test_a_gate_that_is_written_anew_is_asked_anew() -> None:
    state = State("t", 0)
    before, after = asking(
        (pool(of("http://127.0.0.1:1")), state), (pool(of("http://127.0.0.1:2")), state)
    )
    assert len(before) == len(after) == 1 and before != after


def test_each_time_that_gates_are_asked_has_a_job_of_its_own() -> None:
    """A Job from before a rollback, or for the same target a day ago, says nothing about now."""
    wanted = pool(JOB)
    states = [
        *(State("t", 0, since=1), State("t", 1, since=1), State("t", 0, since=2)),
        *(State("t", 0, since=1, attempt=1), State("u", 0, since=1)),
    ]
    keys = [gates.key_of(wanted, each, JOB) for each in states]
    assert len({job_name(key) for key in keys}) == len(keys)
    assert job_name(keys[0]) == job_name(gates.key_of(wanted, states[0], JOB))


def test_a_job_stays_until_it_was_looked_at() -> None:
    cronjob = {"spec": {"jobTemplate": {"spec": {"ttlSecondsAfterFinished": 0}}}}
    assert job("x", cronjob, pool(JOB))["spec"]["ttlSecondsAfterFinished"] == gates.KEEP_SECONDS
