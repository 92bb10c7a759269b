"""The policy is in clusters that support admission policies, and is that of this version."""

import asyncio
from typing import Any

import httpx2
import pytest
from lightkube import ApiError

from k3os.operator.admission_policy import NAME, binding, policy
from k3os.operator.admission_sync import (
    HASH,
    RETRY,
    SECONDS,
    AdmissionSync,
    Binding,
    Policy,
    marked,
)


def failure(code: int, *, plain: bool = False) -> Exception:
    """plain: as for a kind that is not served: text, not a Status object."""
    request = httpx2.Request("GET", "http://api")
    if plain:
        answer = httpx2.Response(code, text="404 page not found", request=request)
        return httpx2.HTTPStatusError("not found", request=request, response=answer)
    body = {"kind": "Status", "code": code, "message": "no", "reason": "x"}
    answer = httpx2.Response(code, json=body, request=request)
    return ApiError(request=request, response=answer)


class Client:
    """The client of an API server that has the kinds, or does not."""

    def __init__(self, *, served: bool = True, plain: bool = False, refuses: int = 0) -> None:
        self.objects: dict[Any, dict[str, Any]] = {}
        self.done: list[str] = []
        self.served, self.plain, self.refuses = served, plain, refuses

    def _check(self, kind: Any) -> None:
        if not self.served:
            raise failure(404, plain=self.plain)

    async def get(self, kind: Any, name: str) -> dict[str, Any]:
        self._check(kind)
        assert name == NAME
        if kind not in self.objects:
            raise failure(404)
        return self.objects[kind]

    async def create(self, body: Any) -> None:
        self._check(type(body))
        if self.refuses:
            raise failure(self.refuses)
        self.objects[type(body)] = dict(body)
        self.done.append(f"create {body['kind']}")

    async def patch(self, kind: Any, name: str, body: Any, **_: Any) -> None:
        self.objects[kind] = body
        self.done.append(f"patch {body['kind']}")


class Api:
    def __init__(self, client: Client) -> None:
        self.client = client


def keep(client: Client, *times: float) -> AdmissionSync:
    found = AdmissionSync(Api(client))  # type: ignore[arg-type]

    async def run() -> None:
        for now in times:
            await found.keep(now)

    asyncio.run(run())
    return found


def test_both_are_made_the_policy_first_and_not_again() -> None:
    client = Client()
    keep(client, 1.0, 2.0, 2.0 + SECONDS)
    kind = "ValidatingAdmissionPolicy"
    assert client.done == [f"create {kind}", f"create {kind}Binding"]
    assert client.objects[Policy]["spec"] == policy()["spec"]
    assert client.objects[Binding]["spec"] == binding()["spec"]


def test_one_of_another_version_is_replaced_whatever_the_server_added_to_it() -> None:
    client = Client()
    client.objects = {Policy: marked(policy()), Binding: marked(binding())}
    client.objects[Policy] |= {"spec": {**policy()["spec"], "paramKind": None}}
    keep(client, 1.0)
    assert client.done == []
    client.objects[Policy]["metadata"]["annotations"][HASH] = "older"
    keep(client, 1.0)
    assert client.done == ["patch ValidatingAdmissionPolicy"]


@pytest.mark.parametrize("plain", [True, False])
def test_before_kubernetes_1_30_there_is_nothing_to_do_until_the_cluster_is_upgraded(
    plain: bool,
) -> None:
    client = Client(served=False, plain=plain)
    found = keep(client, 1.0)
    assert (found.served, client.done) == (False, [])
    client.served = True

    async def later() -> None:
        await found.keep(2.0)
        assert client.done == []
        await found.keep(1.0 + SECONDS)

    asyncio.run(later())
    assert (found.served, len(client.done)) == (True, 2)


def test_a_refusal_is_told_and_tried_again_later(caplog: pytest.LogCaptureFixture) -> None:
    client = Client(refuses=403)
    found = keep(client, 1.0, 1.1)
    assert (found.served, len(caplog.messages)) == (None, 1)
    assert "not applied" in caplog.text
    client.refuses = 0
    asyncio.run(found.keep(1.0 + RETRY))
    assert found.served is True


def test_another_replica_may_have_been_faster() -> None:
    assert keep(Client(refuses=409), 1.0).served is True
