"""Time that passes only where everybody waits, and a clock of its own for each who looks at one.

An event loop whose selector does not sleep: hours cost nothing, and a run is the same each time.
`time.time` and `time.monotonic` are those of whoever calls them: `WHO` says who that is, in the
context of its task.
"""

import asyncio
import selectors
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any
from unittest import mock

from k3os.operator import api, leader

EPOCH = 1_900_000_000.0  # seconds since 1970, at the beginning of each run


class Someone:
    """ahead: seconds by which its clock is wrong. tasks: what it does now."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self.tasks: set[asyncio.Task[Any]] = set()


WHO: ContextVar[Someone | None] = ContextVar("WHO", default=None)


class _Jumping(selectors.EpollSelector):
    def __init__(self, loop: "Loop") -> None:
        super().__init__()
        self._owner = loop

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            raise RuntimeError("everybody waits for ever")
        self._owner.now += max(0.0, timeout)
        return super().select(0)


class Loop(asyncio.SelectorEventLoop):
    """now: seconds since the run began."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(_Jumping(self))
        self.set_task_factory(_task)
        self.set_exception_handler(lambda *_: None)

    def time(self) -> float:
        return self.now


def _task(loop: Any, work: Any, **more: Any) -> asyncio.Task[Any]:
    task = asyncio.Task(work, loop=loop, **more)
    if (who := WHO.get()) is not None:
        who.tasks.add(task)
        task.add_done_callback(who.tasks.discard)
    return task


@contextmanager
def simulated() -> Iterator[Loop]:
    """The loop, with all clocks that are looked at by its tasks."""
    loop = Loop()

    def wall() -> float:
        who = WHO.get()
        return EPOCH + loop.now + (who.ahead if who else 0.0)

    class Now(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.fromtimestamp(wall(), tz or UTC)

    try:
        with (
            mock.patch.object(time, "time", wall),
            mock.patch.object(time, "monotonic", lambda: loop.now),
            mock.patch.object(api, "datetime", Now),
            mock.patch.object(leader, "datetime", Now),
        ):
            yield loop
    finally:
        loop.close()
