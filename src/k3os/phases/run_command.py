"""The user's commands and scripts: run them, pass on their output as it comes, end them in time.

A line of output reaches the journal (before that runs: the kernel's log) within a second, after the
command's name. Nothing but that name is ever shown of a command: it may contain secrets.
"""

from __future__ import annotations

import fcntl
import os

from k3os.phases.actions import DONE, LATER, UNCHANGED, Action

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from k3os.config.value import Place
    from k3os.phases.node import Node

ANNOUNCE_SECONDS = 10
# a live system's journal is small, and a line in it takes more space than its text
MOST_OUTPUT, MOST_LINES = 1 << 20, 10_000
# usually; with a flood of output, read as fast as the command writes
POLL_SECONDS, POLL_FLOOD_SECONDS = 0.1, 0.005
FLOOD = 1 << 16
KEEP_SIZE, PUNCH_HOLE = 1, 2  # linux/falloc.h


def shown(command: str | list[str]) -> str:
    """The program, or the first variable that it sets; nothing that may contain a secret."""
    words = command.split() if isinstance(command, str) else command
    word, more = (words[0] if words else ""), "" if len(words) < 2 else " …"
    name, equals, _ = word.partition("=")
    if equals:
        return f"{name}= …" if name.isidentifier() else "…"
    return f"{word}{more}" if all(each.isalnum() or each in "-_./+" for each in word) else "…"


class RunCommand(Action):
    """A string for /bin/sh, or a list as it is. limit: seconds; then its processes are killed."""

    __slots__ = ("command", "label", "limit")

    def __init__(
        self, key: str, place: Place, label: str, command: str | list[str], limit: float
    ) -> None:
        super().__init__(key, place)
        self.label = label
        self.command = command
        self.limit = limit

    def describe(self) -> str:
        return f"run {self.label}: {shown(self.command)}"

    def perform(self, node: Node) -> str:
        from k3os.errors import UserError
        from k3os.system.run import CommandError, run

        if self.describe() in node.ran:
            return UNCHANGED
        if not node.is_real:
            self.note = "not on this machine"
            return LATER
        shell = isinstance(self.command, str)
        argv = ["/bin/sh", "-c", str(self.command)] if shell else list(self.command)
        output = Output(lambda line: node.output(f"{self.label}: {line}"))
        announced = node.phase not in ("initrd", "boot")  # in later phases nobody waits for it

        def watch(elapsed: float) -> float:
            nonlocal announced
            if elapsed >= ANNOUNCE_SECONDS and not announced:
                announced = True
                node.say(f"{self.label} is still running, at most {self.limit:.0f} s")
            return output.pass_on()

        try:
            environment = {"HOME": "/root", **node.environment}
            run(argv, env=environment, cwd="/", log=output.file, watch=watch, timeout=self.limit)
        except CommandError as error:
            output.finish()
            said = f": {output.last}" if output.last else ""
            if error.timed_out:
                hint = "what takes longer belongs into a unit of its own"
                raise UserError(f"was killed after {self.limit:g} s{said}", hint) from None
            how = error.how if error.returncode != 127 else "is not there"
            raise UserError(f"{how}{said}") from None
        except PermissionError:
            raise UserError(f"{argv[0]} is not executable", f"chmod +x {argv[0]}") from None
        finally:
            output.finish()
        return DONE


class Output:
    """What a command prints, line by line; at most MOST_OUTPUT bytes and MOST_LINES of it.

    A file in memory, not a pipe: a daemon that the command leaves behind keeps it open, and nobody
    should wait for it.
    """

    def __init__(self, line: Callable[[str], None]) -> None:
        self.file = os.memfd_create("output", os.MFD_CLOEXEC)
        # `echo x >/dev/stderr` truncates; later output must follow directly, not after a gap
        fcntl.fcntl(self.file, fcntl.F_SETFL, os.O_APPEND)
        self.last = ""
        self._line = line
        self._position = 0
        self._when = os.fstat(self.file).st_mtime_ns
        self._half = b""
        self._passed = 0
        self._lines = 0
        self._dropped = False

    def pass_on(self) -> float:
        """Pass on complete lines; returns the seconds to wait for more."""
        status = os.fstat(self.file)
        size = status.st_size
        if size < self._position or (size == self._position and status.st_mtime_ns != self._when):
            self._position = 0  # it was truncated and rewritten
        self._when = status.st_mtime_ns
        came = size - self._position
        if self._passed < MOST_OUTPUT:
            # not beyond `size`: the next call would take newer data for a rewritten file
            most = min(came, MOST_OUTPUT - self._passed)
            data = os.pread(self.file, most, self._position)
            self._passed += len(data)
            self._position += len(data)
            lines, newline, self._half = (self._half + data).rpartition(b"\n")
            self._tell(lines + newline)
        if size > self._position:  # more than the limit
            self._tell(self._half)
            self._half = b""
            self._drop()
            # the last lines tell why a command failed
            self._remember(os.pread(self.file, 4096, max(self._position, size - 4096)))
            self._free(size)
            self._position = size
        return POLL_FLOOD_SECONDS if came > FLOOD else POLL_SECONDS

    def _free(self, end: int) -> None:
        """Free the memory of what was read, fallocate(2). Truncating the file would lose what the
        command is writing at this moment."""
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
        length = ctypes.c_int64(end)
        if libc.fallocate(self.file, KEEP_SIZE | PUNCH_HOLE, ctypes.c_int64(0), length):
            raise OSError(ctypes.get_errno(), "fallocate")

    def finish(self) -> None:
        """Pass on the rest, including a last line without a line feed. May be called twice."""
        if self.file < 0:
            return
        try:
            self.pass_on()
            self._tell(self._half)
        finally:
            os.close(self.file)
            self.file = -1

    def _tell(self, data: bytes) -> None:
        for line in data.decode(errors="replace").splitlines():
            if self._lines == MOST_LINES:
                self._drop()
                break
            self._lines += 1
            self._line(line)
        self._remember(data)

    def _drop(self) -> None:
        if not self._dropped:
            self._dropped = True
            limit = f"{MOST_OUTPUT >> 20} MiB or {MOST_LINES} lines"
            self._line(f"the rest is dropped: it is more than {limit}")

    def _remember(self, data: bytes) -> None:
        lines = data.decode(errors="replace").split("\n")
        self.last = next((line.strip() for line in reversed(lines) if line.strip()), self.last)
