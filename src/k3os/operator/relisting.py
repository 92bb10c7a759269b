"""What kopf does not notice: objects that were deleted while it could not watch.

Where the version that it watched from is forgotten (410: an API server that has restarted, an etcd
that was compacted), it lists anew, and what is not in that list stays in its indices for ever: a
node that is gone would be waited for, and two of one name seen where it came back. Here its watch
tells of them as deleted. This reaches into kopf, whose version requirements-operator.lock has.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

from kopf._cogs.clients import watching

Watch = Callable[..., AsyncIterator[Any]]
_ORIGINAL: Watch = watching.infinite_watch


def install() -> None:
    """For all watches that kopf begins from now on."""
    watching.infinite_watch = whole(_ORIGINAL)


def whole(watch: Watch) -> Watch:
    """Such a watch that tells at the end of each list what is not in it any more."""

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
    """As much of an object as says which one it is: there may be thousands."""
    meta = body["metadata"]
    kept = {name: meta[name] for name in ("namespace", "name", "uid") if name in meta}
    return {"apiVersion": body.get("apiVersion"), "kind": body.get("kind"), "metadata": kept}
