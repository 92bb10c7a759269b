"""The lease: which operator leads, and when another one may."""

import asyncio
from typing import Any

import pytest
from lightkube import ApiError
from lightkube.models.meta_v1 import Status

from k3os.operator import leader
from k3os.operator.leader import Leadership
from k3os.operator.outage import Outage


def refusal(code: int) -> ApiError:
    return ApiError(status=Status(code=code, message="no"))


class Client:
    """One Lease in memory, with the API's optimistic locking."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.version = 0
        self.down = False

    async def get(self, _kind: Any, _name: str, namespace: str) -> dict[str, Any]:
        if self.down:
            raise OSError("refused")
        if self.lease is None:
            raise refusal(404)
        return {**self.lease, "spec": dict(self.lease["spec"])}

    async def create(self, lease: Any, namespace: str) -> None:
        if self.lease is not None:
            raise refusal(409)
        self._keep(lease)

    async def replace(self, lease: Any, name: str, namespace: str) -> None:
        assert self.lease is not None
        if lease["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            raise refusal(409)
        self._keep(lease)

    def _keep(self, lease: Any) -> None:
        self.version += 1
        meta = {"name": "k3os-operator", "resourceVersion": str(self.version)}
        self.lease = {"metadata": meta, "spec": dict(lease["spec"])}


class Api:
    def __init__(self, client: Client) -> None:
        self.client = client
        self.outage = Outage()


@pytest.fixture
def clock(monkeypatch):
    """Time that only advances in sleep()."""

    class Clock:
        now = 1000.0

    async def sleep(seconds: float) -> None:
        Clock.now += seconds

    monkeypatch.setattr(leader.asyncio, "sleep", sleep)
    monkeypatch.setattr(leader.time, "monotonic", lambda: Clock.now)
    return Clock


def two() -> tuple[Client, Leadership, Leadership]:
    client = Client()
    return client, Leadership(Api(client), "one"), Leadership(Api(client), "two")  # type: ignore[arg-type]


def test_the_first_leads_and_the_other_takes_over_when_it_is_silent(clock) -> None:
    client, one, other = two()
    asyncio.run(one.acquire())
    began = clock.now
    asyncio.run(other.acquire())
    assert client.lease is not None
    assert client.lease["spec"]["holderIdentity"] == "two"
    assert client.lease["spec"]["leaseTransitions"] == 1
    assert clock.now - began >= leader.DURATION


def test_one_that_ends_is_followed_at_once(clock) -> None:
    _, one, other = two()
    asyncio.run(one.acquire())
    asyncio.run(one.release())
    began = clock.now
    asyncio.run(other.acquire())
    assert clock.now == began


def test_a_leader_without_an_api_server_gives_up_before_another_may_take_it(clock) -> None:
    client, one, _ = two()
    asyncio.run(one.acquire())
    began, client.down = clock.now, True
    asyncio.run(one.hold())
    assert clock.now - began < leader.DURATION


def test_a_leader_that_was_replaced_stops(clock) -> None:
    client, one, other = two()
    asyncio.run(one.acquire())
    assert client.lease is not None
    client.lease["spec"]["holderIdentity"] = ""
    asyncio.run(other.acquire())
    asyncio.run(one.hold())
    assert client.lease["spec"]["holderIdentity"] == "two"


def test_a_leader_renews_as_long_as_it_can(clock, monkeypatch) -> None:
    client, one, _ = two()
    asyncio.run(one.acquire())

    async def sleep(seconds: float) -> None:
        clock.now += seconds
        client.down = client.version > 20

    monkeypatch.setattr(leader.asyncio, "sleep", sleep)
    asyncio.run(one.hold())
    assert client.version == 21
