"""Objects that are watched for a while: listed, watched, and listed again if nothing arrives."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from k3os.operator import watched


class Listing:
    resourceVersion = "1"  # noqa: N815 - lightkube's name

    def __init__(self, found: list[dict[str, Any]]) -> None:
        self._found = found

    async def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        for each in self._found:
            yield each


class Client:
    """Returns one list after another; its watch never sends anything."""

    def __init__(self, *lists: list[str]) -> None:
        self._lists = list(lists)

    def list(self, _kind: Any, **_: Any) -> Listing:
        found = self._lists.pop(0) if len(self._lists) > 1 else self._lists[0]
        return Listing([{"metadata": {"namespace": "d", "name": each}} for each in found])

    async def watch(self, _kind: Any, **_: Any) -> AsyncIterator[Any]:
        await asyncio.get_running_loop().create_future()
        yield


class Api:
    def __init__(self, client: Client) -> None:
        self.client = client


def test_a_connection_that_is_dead_does_not_show_for_ever_what_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watched, "SILENT_SECONDS", 0.01)
    monkeypatch.setattr(watched, "pause", lambda _: 0.0)

    async def go() -> list[set[str]]:
        seen: list[set[str]] = []
        news = asyncio.Event()

        def changed() -> None:
            seen.append({name for _, name in following.found or ()})
            news.set()

        api: Any = Api(Client(["a", "b"], ["a"]))
        following = watched.pods_of(api, "n", changed)
        while len(seen) < 2:
            await asyncio.wait_for(news.wait(), 10)
            news.clear()
        await following.close()
        return seen[:2]

    assert asyncio.run(go()) == [{"a", "b"}, {"a"}]
