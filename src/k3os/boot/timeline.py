"""When each step of the early boot started and ended, for `make bench` and for people.

Seconds since the kernel started (CLOCK_BOOTTIME, clock_gettime(2)).
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

PATH = "/run/k3os/timeline.json"
_steps: list[tuple[str, float, float]] = []


def now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@contextmanager
def step(name: str) -> Iterator[None]:
    """Record one step, also when it fails."""
    start = now()
    try:
        yield
    finally:
        _steps.append((name, round(start, 3), round(now(), 3)))


def dump() -> bytes:
    """The steps so far as a JSON list of {"name", "start", "end"}."""
    # the names are ours and need no escaping; importing json costs time
    rows = [f'{{"name": "{n}", "start": {s:.3f}, "end": {e:.3f}}}' for n, s, e in _steps]
    return ("[" + ",\n ".join(rows) + "]\n").encode()


def started_at_boot() -> None:
    """Record the time before our first line: kernel, unpacking of the initrd, Python."""
    _steps.append(("kernel and python", 0.0, round(now(), 3)))


def write() -> None:
    """Leave the steps at PATH for other programs."""
    with open(PATH, "wb") as file:
        file.write(dump())
