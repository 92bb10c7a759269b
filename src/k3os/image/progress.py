"""A build's output: a live line per stage on a terminal, plain lines elsewhere, all of it in a log.

It decides nothing; `failure` prints the last log lines of a failed stage.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO

from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text

TAIL_LINES = 20


class _Elapsed:
    """Renders "name 12 s", computed at each refresh of the live line."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.started = time.monotonic()

    def __rich__(self) -> Text:
        return Text(f"{self.name}  {time.monotonic() - self.started:4.0f} s")


class Progress:
    """A context manager: opens the log, owns the console."""

    def __init__(self, log_path: Path, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        self.log_path = log_path
        self.times: list[tuple[str, float]] = []
        self._stage_offset = 0

    def __enter__(self) -> Progress:
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        self._log: IO[bytes] = open(self.log_path, "wb", buffering=0)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._log.close()

    @property
    def log(self) -> int:
        """The log's file descriptor, for `run(log=…)`."""
        return self._log.fileno()

    def write_log(self, text: str) -> None:
        self._log.write(text.encode() + b"\n")

    def note(self, text: str) -> None:
        """Something the user should read; also in the log."""
        self.write_log(f"note: {text}")
        self.console.print(Text(text))

    def warn(self, text: str) -> None:
        """Something the user must read."""
        self.write_log(f"WARNING: {text}")
        self.console.print(Text(f"WARNING: {text}", style="bold yellow"))

    def cached(self, name: str) -> None:
        self.write_log(f"== {name}: unchanged, taken from the cache")
        self.console.print(Text(f"  = {name:<12} unchanged"))

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Show a stage while it runs; a line with its duration stays when it is done."""
        self.write_log(f"== {name}")
        self._stage_offset = self._log.tell()
        started = time.monotonic()
        try:
            if self.console.is_terminal:
                with Status(_Elapsed(name), console=self.console):
                    yield
            else:
                yield
        except BaseException:
            self.console.print(Text(f"  ! {name:<12} failed", style="bold red"))
            raise
        seconds = time.monotonic() - started
        self.times.append((name, seconds))
        self.write_log(f"== {name}: done in {seconds:.1f} s")
        self.console.print(Text(f"  + {name:<12} {seconds:5.1f} s"))

    def stage_log(self) -> str:
        """The log of the stage that is running, or ran last."""
        with open(self.log_path, "rb") as log:
            log.seek(self._stage_offset)
            return log.read().decode(errors="replace")

    def failure(self) -> str:
        """The last log lines of the failed stage, and where the whole log is."""
        lines = self.stage_log().splitlines()[-TAIL_LINES:]
        return "\n".join([*(f"  | {line}" for line in lines), f"whole log: {self.log_path}"])

    def artifacts(self, paths: list[Path]) -> None:
        """The closing table: each artifact with its size."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("artifact")
        table.add_column("size", justify="right")
        for path in paths:
            table.add_row(Text(str(path)), f"{path.stat().st_size / 1e6:.1f} MB")
        Console(file=sys.stdout, soft_wrap=True).print(table)
