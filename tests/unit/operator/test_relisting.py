"""kopf's watch, completed: objects that are missing in a new list were deleted."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from kopf._cogs.clients import watching
from kopf._core.reactor import queueing

from k3os.operator import relisting

LISTED = watching.Bookmark.LISTED


def event(kind: str | None, name: str, uid: str = "") -> dict[str, Any]:
    meta = {"name": name, "uid": uid or name, "labels": {"a": "b"}}
    return {"type": kind, "object": {"kind": "Node", "apiVersion": "v1", "metadata": meta}}


def told(*events: Any) -> list[Any]:
    """The remaining names, after each list and at the very end."""

    async def watch(**_: Any) -> AsyncIterator[Any]:
        for each in events:
            yield each

    async def go() -> list[Any]:
        there: dict[str, str] = {}
        found = []
        async for each in relisting.whole(watch)(resource="nodes"):
            if each is LISTED:
                found.append(sorted(there.values()))
            elif each["type"] == "BOOKMARK":
                continue
            elif each["type"] == "DELETED":
                there.pop(each["object"]["metadata"]["uid"], None)
            else:
                there[each["object"]["metadata"]["uid"]] = each["object"]["metadata"]["name"]
        return [*found, sorted(there.values())]

    return asyncio.run(go())


CASES = {
    "one that went while nobody watched": (
        [event(None, "a"), event(None, "b"), LISTED, event(None, "a"), LISTED],
        [["a", "b"], ["a"], ["a"]],
    ),
    "all of them": ([event(None, "a"), LISTED, LISTED], [["a"], [], []]),
    "one that came by the watch": (
        [LISTED, event("ADDED", "a"), event("MODIFIED", "a"), LISTED],
        [[], [], []],
    ),
    "another one of the same name": (
        [event(None, "a", "1"), LISTED, event(None, "a", "2"), LISTED],
        [["a"], ["a"], ["a"]],
    ),
    "one whose end was told": (
        [event(None, "a"), LISTED, event("DELETED", "a"), LISTED],
        [["a"], [], []],
    ),
    "a bookmark is nobody": (
        [LISTED, {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "9"}}}, LISTED],
        [[], [], []],
    ),
}


@pytest.mark.parametrize(("events", "left"), CASES.values(), ids=CASES.keys())
def test_what_a_new_list_has_no_more_is_told_as_deleted(events: Any, left: Any) -> None:
    assert told(*events) == left


def test_all_of_kopfs_watches_are_such_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """kopf calls this function of this module by this name, with keyword arguments."""
    monkeypatch.setattr(watching, "infinite_watch", watching.infinite_watch)
    relisting.install()
    assert watching.infinite_watch.__module__ == relisting.__name__
    assert queueing.watching is watching
    assert "infinite_watch" in queueing.watcher.__code__.co_names
