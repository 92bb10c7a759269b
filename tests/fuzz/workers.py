"""Processes that fuzz, and a watchdog: what hangs or kills one is a fault, too.

A worker says in memory that both see what it is about to try. One that dies, or tries the same for
too long, leaves that input behind; another takes its place for the rest of the time.
"""

from __future__ import annotations

import mmap
import os
import signal
import struct
import time
from collections.abc import Callable
from pathlib import Path

from tests.fuzz.mutation import LONGEST
from tests.fuzz.session import CORPUS, Session, save
from tests.fuzz.target import Target

# of the clock; the processor's time is limited to a part of it
HANGS_SECONDS = 20.0
POLL_SECONDS = 0.2
# exit codes of a worker: how many kinds of faults, and that it broke itself
MOST_TOLD, BROKEN = 100, 101
_HEAD = struct.Struct("=QHI")


class Worker:
    """A process with some of the targets."""

    def __init__(self, run: Callable[[Callable[[str, bytes], None]], int]) -> None:
        self.memory = mmap.mmap(-1, _HEAD.size + 256 + LONGEST)
        self.count = 0
        self.since = time.monotonic()
        self.pid = os.fork()
        if not self.pid:
            code = BROKEN
            try:
                code = min(run(self._note), MOST_TOLD)
            except BaseException:
                import traceback

                traceback.print_exc()
            finally:
                os._exit(code)

    def _note(self, name: str, data: bytes) -> None:
        self.count += 1
        text = name.encode()
        start = _HEAD.size
        self.memory[start : start + len(text) + len(data)] = text + data
        _HEAD.pack_into(self.memory, 0, self.count, len(text), len(data))

    def tried(self) -> tuple[int, str, bytes]:
        """How many so far, and the last one."""
        count, name, size = _HEAD.unpack_from(self.memory)
        whole = self.memory[_HEAD.size : _HEAD.size + name + size]
        return count, whole[:name].decode(), whole[name:]

    def state(self, hangs: float) -> str:
        """ "" while it works, a number of kinds of faults, or what is wrong with it."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid:
            code = os.waitstatus_to_exitcode(status)
            return str(code) if 0 <= code <= MOST_TOLD else f"the process died ({code})"
        count = self.tried()[0]
        if count != self.count:
            self.count, self.since = count, time.monotonic()
        if time.monotonic() - self.since < hangs:
            return ""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        return f"no end within {hangs:g} s"


def fuzz(
    targets: list[Target],
    seconds: float,
    seed: int,
    found: Path,
    jobs: int = 1,
    say: Callable[[str], None] = print,
    hangs: float = HANGS_SECONDS,
    corpus: Path = CORPUS,
) -> tuple[int, int]:
    """How many inputs were tried, and how many kinds of faults were found (at least)."""
    end = time.monotonic() + seconds
    shares = [targets[number::jobs] for number in range(min(jobs, len(targets)))]
    tried = faults = 0

    def start(share: list[Target], round_: int) -> Worker:
        left = end - time.monotonic()
        number = seed + round_  # the same inputs would hang again
        return Worker(lambda now: Session(share, number, found, say, now, corpus).run(left))

    running = [(start(share, 0), share, 0) for share in shares]
    while running:
        time.sleep(POLL_SECONDS)
        for entry in list(running):
            worker, share, round_ = entry
            state = worker.state(hangs)
            if not state:
                continue
            running.remove(entry)
            count, name, data = worker.tried()
            tried += count
            if state.isdigit():
                faults += int(state)
                continue
            faults += 1
            path = save(found, name, data)
            say(f"{name}: {state}\nagain: make fuzz ARGS={path}\n")
            rest = [each for each in share if each.name != name]
            if rest and time.monotonic() < end:
                running.append((start(rest, round_ + 1), rest, round_ + 1))
    return tried, faults
