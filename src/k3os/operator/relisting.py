"""What kopf does not notice: objects that were deleted while it could not watch.

If the version that it watched from has expired (410: the API server restarted, or etcd was
compacted), kopf lists again, and what is missing from that list stays in its indices forever: it
would wait for a deleted node, or see a node twice if it came back. Here its watch reports such
objects as deleted. This patches kopf, whose version requirements-operator.lock pins.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

from kopf._cogs.clients import watching

Watch = Callable[..., AsyncIterator[Any]]
_ORIGINAL: Watch = watching.infinite_watch


def install() -> None:
    """For all watches that kopf starts from now on."""
    watching.infinite_watch = whole(_ORIGINAL)


def whole(watch: Watch) -> Watch:
    """The watch; at the end of each list it also reports what is no longer in it."""

    async def watched(**given: Any) -> AsyncIterator[Any]:
        known: dict[str, Any] = {}
        listed: dict[str, Any] = {}
        async for event in watch(**given):
            if event is watching.Bookmark.LISTED:
                for uid in [each for each in known if each not in listed]:
                    yield {"type": "DELETED", "object": known[uid]}
                known, listed = listed, {}
            elif isinstance(event, dict) and event["type"] != "BOOKMARK":
                body = event["object"]
                uid = str(body["metadata"].get("uid"))
                if event["type"] == "DELETED":
                    known.pop(uid, None)
                else:  # None: it is part of a list
                    (listed if event["type"] is None else known)[uid] = _name_of(body)
            yield event

    return watched


def _name_of(body: Any) -> dict[str, Any]:
    """Just enough of an object to identify it: there may be thousands."""
    meta = body["metadata"]
    kept = {name: meta[name] for name in ("namespace", "name", "uid") if name in meta}
    return {"apiVersion": body.get("apiVersion"), "kind": body.get("kind"), "metadata": kept}
