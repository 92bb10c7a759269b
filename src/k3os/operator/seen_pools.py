"""The NodePools from the watch or our own last request, whichever is newer, and writes of their
status.

What a canary may do depends on what is written there. So it never overwrites what somebody else
wrote in the meantime: an operator that lost the lease while it was about to write would let a
failed rollout continue.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from lightkube import ApiError

from k3os.cluster.objects import inside, mapping, text
from k3os.cluster.spec import Pool, read_pool
from k3os.operator.api import CONFLICT, NOT_FOUND, Api
from k3os.operator.secret_reader import Changed
from k3os.system.numbers import whole

Body = Mapping[str, Any]
Key = tuple[str, str]  # name and uid: a new one may have the name of a deleted one


def version_of(body: Body) -> int:
    """Compared as numbers: Kubernetes allows it since 1.35, and etcd's always were."""
    return whole(text(inside(body, "metadata", "resourceVersion")), most=2**64) or 0


def key_of(body: Body) -> Key:
    meta = mapping(body.get("metadata"))
    return text(meta.get("name")), text(meta.get("uid"))


class SeenPools:
    """watched: by name, what the watch shows."""

    def __init__(self, api: Api, watched: Mapping[str, Iterable[Body]]) -> None:
        self._api, self._watched = api, watched
        self._own: dict[Key, Body] = {}
        self._parsed: dict[str, tuple[str, Pool]] = {}

    def all(self) -> list[tuple[Body, Pool]]:
        """By name; parsed once per version of the object."""
        found = []
        for name in sorted(map(str, self._watched)):
            for body in map(self._newest, self._watched[name]):
                version = str(inside(body, "metadata", "resourceVersion"))
                known = self._parsed.get(name)
                if known is None or known[0] != version:
                    known = self._parsed[name] = (version, read_pool(body, known and known[1]))
                found.append((body, known[1]))
        return found

    def _newest(self, body: Body) -> Body:
        key = key_of(body)
        own = self._own.get(key)
        if own is not None and version_of(own) > version_of(body):
            return own
        self._own.pop(key, None)
        return body

    async def write(self, body: Body, status: Mapping[str, Any]) -> bool:
        """Write a status decided on this body; False if the NodePool is gone. Raises ApiFailure;
        Changed if it has changed."""
        key = key_of(body)
        version = text(inside(body, "metadata", "resourceVersion"))
        try:
            self._own[key] = await self._api.patch_status(key[0], status, version)
        except ApiError as error:
            if error.status.code == NOT_FOUND:
                return False
            if error.status.code != CONFLICT:
                raise
            await self._look_again(key)
            raise Changed from error
        return True

    async def _look_again(self, key: Key) -> None:
        """Raises ApiFailure."""
        found = await self._api.get_pool(key[0])
        if key_of(found) == key:
            self._own[key] = found

    def forget(self, pools: Collection[Key]) -> list[str]:
        """Forget all but these; returns the names of those that are gone."""
        self._own = {key: body for key, body in self._own.items() if key in pools}
        gone = self._parsed.keys() - {name for name, _ in pools}
        for name in gone:
            del self._parsed[name]
        return sorted(gone)
