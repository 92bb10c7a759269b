"""What one input may cost: seconds of the processor, and memory. Beyond that it is a fault.

The processor's time and not the clock's: a machine that has much else to do is no fault. What no
signal gets through to, a loop in C or a wait, is the watchdog's (workers.py).
"""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SECONDS = 2.0
MEMORY = 200 << 20
_PAGE = resource.getpagesize()


class TooSlow(BaseException):
    """No Exception: a parser that survives every error must not survive this one."""


class TooLarge(BaseException):
    """The same of memory."""


@contextmanager
def bounded(seconds: float = SECONDS, memory: int = MEMORY) -> Iterator[None]:
    """Raises TooSlow, TooLarge. For the main thread of a process that has one."""
    most, hard = resource.getrlimit(resource.RLIMIT_AS)
    signal.signal(signal.SIGPROF, _interrupt)
    resource.setrlimit(resource.RLIMIT_AS, (_in_use() + memory, hard))
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    except MemoryError as error:
        raise TooLarge(f"more than {memory >> 20} MiB of memory") from error
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))


def _interrupt(_: int, __: FrameType | None) -> None:
    raise TooSlow(f"more than {SECONDS:g} s of the processor's time")


def _in_use() -> int:
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[0]) * _PAGE
