"""Follows the channels of NodePools: looks them up when they are due and writes down the result.

It decides nothing: what a channel stands for is in the NodePool's status, where target.py reads
it. A failure affects only that channel, and is reported as an Event.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from k3os import names
from k3os.cluster.objects import inside, mapping
from k3os.cluster.spec import Pool
from k3os.cluster.target import COMPONENTS, channel
from k3os.errors import UserError
from k3os.operator import channels
from k3os.operator.api import Api, ApiFailure
from k3os.operator.decisions import Said
from k3os.operator.outage import words

log = logging.getLogger("k3os.operator")

RETRY = 30.0  # seconds after a failure, instead of channels.INTERVAL
# posts an Event: kind of the object, its name, its uid, the event
Say = Callable[[str, str, str, Said], None]


class Followed:
    """Remembers, by NodePool and component, when a channel was looked up and at which address."""

    def __init__(self, api: Api, say: Say) -> None:
        self._api, self._say = api, say
        self._asked: dict[tuple[str, str], tuple[float, str]] = {}
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}

    def look_up(self, pools: Iterable[tuple[Mapping[str, Any], Pool]], now: float) -> None:
        """Look up those that are due, in the background. now: seconds since 1970."""
        self._tasks = {key: task for key, task in self._tasks.items() if not task.done()}
        for body, pool in pools:
            spec = mapping(body.get("spec"))
            for name in COMPONENTS:
                wanted = channel(spec, name)
                if pool.problems or not wanted:
                    continue
                url = channels.address(name, mapping(inside(spec, name)))
                key = (pool.name, name)
                # a new pool may have the name of a deleted one
                asked = f"{pool.uid} {url}"
                looked, known = self._asked.get(key, (0.0, ""))
                if known == asked and now - looked < channels.INTERVAL:
                    continue
                self._asked[key] = (now, asked)
                self._tasks[key] = asyncio.create_task(self._look_up(pool, name, wanted, url))

    def forget(self, pool: str) -> None:
        for name in COMPONENTS:
            self._asked.pop((pool, name), None)

    def close(self) -> None:
        for task in self._tasks.values():
            task.cancel()

    async def _look_up(self, pool: Pool, name: str, wanted: str, url: str) -> None:
        try:
            version = await channels.look_up(url)
            known = {"channels": {name: {"channel": wanted, "version": version}}}
            await self._api.patch_status(pool.name, known)
            log.info("%s: %s's channel %s means %s", pool.name, name, wanted, version)
        except Exception as error:
            if not isinstance(error, (UserError, *ApiFailure)):
                log.exception("%s: %s's channel %s", pool.name, name, wanted)
            log.warning("%s: %s's channel %s: %s", pool.name, name, wanted, words(error))
            said = Said("ChannelUnknown", f"{name}: {words(error)}", warning=True)
            self._say(names.KIND, pool.name, pool.uid, said)
            # try again after RETRY, not in a quarter of an hour
            self._asked[pool.name, name] = (
                time.time() - channels.INTERVAL + RETRY,
                f"{pool.uid} {url}",
            )
