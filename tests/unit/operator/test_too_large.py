"""Objects that are too large for the API server: who is told, and what to do."""

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
from lightkube import ApiError

from k3os.cluster.spec import read_pool
from k3os.cluster.target import LARGEST, LARGEST_SECRET
from k3os.operator.decisions import NewJob, NodePatch
from k3os.operator.job import secret
from k3os.operator.job_maker import make_job
from k3os.operator.refusals import Refusals
from k3os.operator.status import status
from tests.unit.cluster import objects
from tests.unit.operator import test_hostile
from tests.unit.operator.test_hostile import StubApi, round_of
from tests.unit.operator.test_per_node import labelled, pool, until_still, world

TOO_LONG = "metadata.annotations: Too long: may not be more than 262144 bytes"


def refusal(code: int, message: str) -> ApiError:
    answer = {"kind": "Status", "apiVersion": "v1", "code": code, "message": message}
    response = httpx2.Response(code, json=answer)
    return ApiError(request=None, response=response)  # type: ignore[arg-type]


def degraded(body: dict[str, Any]) -> dict[str, Any]:
    return next(each for each in body["conditions"] if each["type"] == "Degraded")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (422, f'Node "bad" is invalid: {TOO_LONG}'),
        (413, "Request entity too large: limit is 3145728"),
        (500, "etcdserver: request is too large"),
        (500, "rpc error: code = ResourceExhausted desc = trying to send message larger than max"),
        (403, 'admission webhook "a" denied the request'),
    ],
)
def test_a_write_that_is_refused_is_told_with_its_node_and_others_go_on(
    monkeypatch: pytest.MonkeyPatch, code: int, message: str
) -> None:
    class Refusing(StubApi):
        async def patch_node(self, patch: Any, version: str) -> dict[str, Any]:
            if patch.node == "bad":
                raise refusal(code, message)
            return await super().patch_node(patch, version)

    monkeypatch.setattr(test_hostile, "StubApi", Refusing)
    bad = objects.node("bad", role="bad")
    api = round_of([bad], [objects.pool("bad", selector={"matchLabels": {"role": "bad"}})], 2)
    assert "good" in api.nodes
    told = degraded(api.statuses["bad"])
    assert (told["status"], told["reason"]) == ("True", "WriteRefused")
    assert told["message"].startswith("bad: ")
    assert message in told["message"]
    assert ("kubectl annotate" in told["message"]) == ("annotations" in message)
    assert degraded(api.statuses["good"])["status"] == "False"


def test_an_answer_that_names_its_request_is_one_answer() -> None:
    """A webhook may include the time, and the API server may quote our request, which has a time,
    too; but a new message starts the next round at once."""
    refusals = Refusals()

    def is_new(number: int, why: str) -> bool:
        said = f"at 2026-01-02T03:04:{number:02}Z: {why} (5f{number}e-0{number}, r-bad-17{number})"
        return refusals.note("bad", refusal(403, said))

    assert [is_new(number, "denied") for number in range(8, 12)] == [True, False, False, False]
    assert ":08Z" in refusals.told["bad"]
    assert is_new(12, "forbidden")
    assert "forbidden" in refusals.told["bad"]


@pytest.mark.parametrize("error", [refusal(429, "x"), refusal(503, "x"), OSError("no route")])
def test_what_passes_by_itself_is_tried_again_and_no_condition(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    class Failing(StubApi):
        fails = True

        async def patch_node(self, patch: Any, version: str) -> dict[str, Any]:
            if patch.node == "bad" and Failing.fails:
                Failing.fails = False
                raise error
            return await super().patch_node(patch, version)

    monkeypatch.setattr(test_hostile, "StubApi", Failing)
    bad = objects.node("bad", role="bad")
    api = round_of([bad], [objects.pool("bad", selector={"matchLabels": {"role": "bad"}})], 2)
    assert "bad" in api.nodes
    assert degraded(api.statuses["bad"])["status"] == "False"


def file(size: int, content: str = "") -> dict[str, Any]:
    return {"write_files": [{"path": "/a", "content": content or "x" * size}]}


def test_a_configuration_that_no_secret_holds_is_a_mistake_of_the_nodepool() -> None:
    half = file(LARGEST // 2)
    override = {"nodeSelector": {}, "config": half}
    for spec in ({"config": file(LARGEST)}, {"config": half, "overrides": [override]}):
        (problem,) = read_pool(
            {"metadata": {"name": "p"}, "spec": {"nodeSelector": {}} | spec}
        ).problems
        assert "KiB" in problem and "let the node fetch" in problem
    fine = {"nodeSelector": {}, "config": half}
    assert not read_pool({"metadata": {"name": "p"}, "spec": fine}).problems


def test_a_node_whose_values_make_it_too_large_is_told_and_the_others_go_on() -> None:
    there, wanted = world("a", "b"), pool(file(0, "$(node.annotations['x'])" * 9))
    for name, size in (("a", LARGEST // 8), ("b", 10)):
        view = there.nodes[name]
        there.nodes[name] = type(view)(**{**vars(view), "annotations": {"x": "y" * size}})
    waiting = until_still(there, wanted)
    told = degraded(status(wanted, there.cluster(), waiting, there.now, {}))
    assert told["reason"] == "NodeConfigInvalid"
    assert "node a" in told["message"] and "KiB" in told["message"]
    assert {each.node for each in there.done if isinstance(each, NewJob)} == {"b"}


def test_what_secrets_make_too_large_fails_its_node_and_asks_nobody() -> None:
    there, wanted = world("a"), pool({"hostname": "a"})
    there.reconcile(wanted)
    node = there.nodes["a"]
    order = NewJob("a", "r-a-1", reboot=True)

    class Reader:
        async def fill(self, *_: Any) -> tuple[Any, str]:
            return file(LARGEST_SECRET), ""

    made = asyncio.run(make_job(SimpleNamespace(), Reader(), order, wanted, node))  # type: ignore[arg-type]
    patch = next(each for each in made if isinstance(each, NodePatch))
    assert patch.state is not None
    assert (patch.state.step, patch.state.reason) == ("Failed", "NodeConfigInvalid")
    assert "KiB" in patch.state.message and len(patch.state.message) < 1000


def test_what_is_within_the_limit_of_a_configuration_is_within_that_of_a_secret() -> None:
    there, wanted = world("a"), pool({"hostname": "a"})
    config = file(LARGEST - len(json.dumps(file(1))))
    order = NewJob("a", "r-a-1", reboot=True)
    whole = secret(order, wanted, labelled(there.nodes["a"]), config)["stringData"]
    assert sum(map(len, whole.values())) < LARGEST_SECRET
