"""Each failure of a channel becomes an Event, whatever the cause, and it is tried again soon."""

import asyncio
import time
from typing import Any

import pytest

from k3os.cluster.spec import parse_pool
from k3os.errors import UserError
from k3os.operator import channels
from k3os.operator.followed_channels import RETRY, Followed

BODY = {
    "metadata": {"name": "p", "uid": "1"},
    "spec": {"nodeSelector": {}, "k3s": {"channel": "stable"}},
}


class StubApi:
    def __init__(self) -> None:
        self.written: list[Any] = []

    async def patch_status(self, *what: Any) -> None:
        self.written.append(what)


def looked_up(times: list[float]) -> tuple[StubApi, list[Any]]:
    """Look channels up at these times, in seconds from now."""
    api, said = StubApi(), []  # type: ignore[var-annotated]

    async def rounds() -> None:
        followed = Followed(api, lambda *what: said.append(what))  # type: ignore[arg-type]
        now = time.time()
        for after in times:
            followed.look_up([(BODY, parse_pool(BODY))], now + after)
            await asyncio.sleep(0.01)
        followed.close()

    asyncio.run(rounds())
    return api, said


@pytest.mark.parametrize("error", [UserError("no answer"), OSError("gone"), KeyError("location")])
def test_every_failure_is_an_event_and_the_next_look_comes_soon(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def fails(_: str) -> str:
        raise error

    monkeypatch.setattr(channels, "look_up", fails)
    api, said = looked_up([0, RETRY / 2, RETRY + 5])
    assert [(kind, name, each.reason) for kind, name, _, each in said] == [
        ("NodePool", "p", "ChannelUnknown")
    ] * 2
    assert all(each.warning and "k3s" in each.message for *_, each in said)
    assert not api.written


def test_what_was_found_is_written_down_and_holds_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def found(_: str) -> str:
        return "v1.33.1+k3s1"

    monkeypatch.setattr(channels, "look_up", found)
    api, said = looked_up([0, RETRY + 5, channels.INTERVAL + 5])
    known = {"channels": {"k3s": {"channel": "stable", "version": "v1.33.1+k3s1"}}}
    assert api.written == [("p", known)] * 2
    assert not said
