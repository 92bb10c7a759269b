"""The serial console of a machine: read all the time, logged by line with the host's time.

A thread drains the socket, since a full one would stop the guest. The log's format:
`[seconds since the start] text`, without escape sequences (ECMA-48).
"""

from __future__ import annotations

import re
import socket
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

TAIL_LINES = 40
LONGEST_ESCAPE = 256  # bytes; a longer one is garbage
# CSI …, OSC … BEL/ST, and two-character escapes
ESCAPES = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]*[0-Z\\-~])")
MOVED_CURSOR = re.compile(rb"\x1b\[\d*;\d*[Hf]")  # how a menu draws its lines
UNFINISHED_ESCAPE = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]*|[ -/]*)\Z")


class ConsoleError(Exception):
    """What we waited for did not appear. The text has the end of the log and the log's path."""


class Seen:
    """A match on the console, and when it was complete (seconds since the machine's start)."""

    __slots__ = ("match", "seconds")

    def __init__(self, match: re.Match[str], seconds: float) -> None:
        self.match = match
        self.seconds = seconds


class Console:
    """Reads a socket to its end; `text` is the output so far, cleaned."""

    def __init__(
        self, link: socket.socket, log: Path, show: Callable[[bytes], None] | None = None
    ) -> None:
        self.log = log
        self.text = ""
        self.closed = False
        self.has_functions = False  # those of k3os.vm.shell
        self._link = link
        self._show = show
        self._started = time.monotonic()
        self._offsets: list[int] = []  # where each chunk ended in text …
        self._times: list[float] = []  # … and when it came
        self._position = 0
        self._rest = b""
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, name="console", daemon=True)

    def __enter__(self) -> Console:
        self._started = time.monotonic()
        self._file = open(self.log, "w", buffering=1)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Call after the machine has ended: waits for its last output."""
        self._thread.join(5)
        self._link.close()
        self._thread.join()
        self._file.close()

    def _read(self) -> None:
        line, line_started = "", 0.0
        while True:
            try:
                data = self._link.recv(65536)
            except OSError:
                data = b""  # the machine was killed
            now = time.monotonic() - self._started
            text = self._clean(data)
            for character in text.splitlines(keepends=True):
                line_started = line_started if line else now
                line += character
                if line.endswith("\n"):
                    self._file.write(f"[{line_started:9.3f}] {line}")
                    line = ""
            with self._changed:
                self.text += text
                self._offsets.append(len(self.text))
                self._times.append(now)
                self.closed = not data
                self._changed.notify_all()
            if not data:
                if line:
                    self._file.write(f"[{line_started:9.3f}] {line}\n")
                return
            self._pass_on(data)

    def _pass_on(self, data: bytes) -> None:
        if self._show is None:
            return
        try:
            self._show(data)
        except OSError:
            self._show = None  # nobody reads any more (`| head`); the machine goes on

    def _clean(self, data: bytes) -> str:
        data = self._rest + data
        unfinished = UNFINISHED_ESCAPE.search(data)
        end = (
            unfinished.start() if unfinished and len(data) - unfinished.start() < 256 else len(data)
        )
        self._rest = data[end:]
        if len(self._rest) == len(data):
            return ""
        kept = (
            ESCAPES.sub(b"", MOVED_CURSOR.sub(b"\n", data[:end]))
            .replace(b"\r", b"")
            .replace(b"\0", b"")
        )
        # one character per byte: chunks may split a multi-byte character
        return kept.decode("ascii", errors="replace")

    def expect(self, pattern: str, timeout: float) -> Seen:
        """Wait until pattern (re.MULTILINE) appears after the last match; the search goes on there.

        Raises ConsoleError after timeout seconds or when the machine has ended.
        """
        regex = re.compile(pattern, re.MULTILINE)
        end = time.monotonic() + timeout
        with self._changed:
            while True:
                match = regex.search(self.text, self._position)
                if match is not None:
                    self._position = match.end()
                    return Seen(match, self._when(match.end()))
                if self.closed:
                    raise ConsoleError(self.explain(f"the machine ended before {pattern!r} came"))
                if not self._changed.wait(end - time.monotonic()) and time.monotonic() >= end:
                    raise ConsoleError(self.explain(f"{pattern!r} did not come in {timeout:g} s"))

    def expect_all(self, patterns: Sequence[str], timeout: float) -> None:
        """Wait until each pattern has appeared after the last match, in any order; the next search
        starts after all of them. Raises ConsoleError as `expect` does, for the first one missing.
        """
        end = time.monotonic() + timeout
        with self._changed:
            start = furthest = self._position
        for pattern in patterns:
            with self._changed:
                self._position = start
            self.expect(pattern, max(0.0, end - time.monotonic()))
            furthest = max(furthest, self._position)
        with self._changed:
            self._position = furthest

    def send(self, text: str) -> None:
        """Type text; end it with a newline to have it run."""
        self._link.sendall(text.encode())

    def skip(self) -> None:
        """Forget the output so far: `expect` only looks at what comes from now on."""
        with self._changed:
            self._position = len(self.text)

    def when(self, pattern: str) -> float | None:
        """When the first match in all output so far was complete, None without a match."""
        with self._changed:
            match = re.search(pattern, self.text, re.MULTILINE)
            return None if match is None else self._when(match.end())

    def _when(self, offset: int) -> float:
        return self._times[bisect_left(self._offsets, offset)]

    def explain(self, what: str) -> str:
        """A message with the end of the console's output."""
        tail = "\n".join(f"  | {line}" for line in self.text.splitlines()[-TAIL_LINES:])
        return f"{what}; the console's last lines (all: {self.log}):\n{tail or '  | (nothing)'}"
