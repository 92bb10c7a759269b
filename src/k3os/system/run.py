"""The only place that starts processes.

Every other module calls `run([...])`. Secrets never go into an argument list: pass them on standard
input (`stdin=`) or in a file of mode 0600. Arguments are lists, never shell strings; if you need a
shell, write ["/bin/sh", "-c", text].
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from subprocess import Popen

TAIL_LINES = 15
# a killed process that hangs in the kernel (a dead disk, a lost server) is left behind
REAP_SECONDS = 5


class CommandError(Exception):
    """A program that could not be started, was killed, or exited non-zero.

    argv, returncode (negative: the signal; 127: not found; 124: timed out), output (bytes,
    standard output and error as far as they were captured).
    """

    def __init__(
        self, argv: list[str], returncode: int, output: bytes = b"", *, timed_out: bool = False
    ) -> None:
        self.argv = argv
        self.timed_out = timed_out  # by us; a program such as timeout(1) may exit with 124, too
        self.returncode = returncode
        self.output = output
        super().__init__(str(self))

    @property
    def how(self) -> str:
        """How it ended, without the program's name."""
        if self.returncode == 127:
            return "is not installed"
        if self.timed_out:
            return "timed out"
        if self.returncode < 0:
            return f"was killed by signal {-self.returncode}"
        return f"exited with {self.returncode}"

    def __str__(self) -> str:
        tail = self.output.decode(errors="replace").strip().splitlines()[-TAIL_LINES:]
        return "\n  ".join([f"{self.argv[0]} {self.how}", *tail])


def run(
    argv: list[str],
    *,
    stdin: bytes | int | None = None,
    env: Mapping[str, str | None] | None = None,
    cwd: str | None = None,
    timeout: float | None = None,
    log: int | None = None,
    watch: Callable[[float], float] | None = None,
    check: bool = True,
    errors_apart: bool = False,
) -> bytes:
    """Run a program to its end and return its output: standard output and error.

    stdin:   bytes to feed, or a file descriptor; without it the program reads /dev/null.
    env:     variables added to (not instead of) our own; None removes one.
    timeout: seconds; then the program's whole process group is killed.
    log:     a file descriptor that receives the output instead; b"" is returned.
    watch:   with log: called repeatedly while the program runs, with the seconds since its
             start; returns the seconds until the next call.
    check:   False: return the output whatever the exit code.
    errors_apart: return only standard output; CommandError then has only standard error.

    Raises CommandError. On KeyboardInterrupt or any other exception the program's process
    group is killed before the exception propagates: an interrupted caller leaves no child.
    """
    import signal
    import subprocess  # 8 ms: only if a process is started

    feed = stdin if isinstance(stdin, bytes) else None
    source = subprocess.PIPE if isinstance(stdin, bytes) else stdin
    changed = {**os.environ, **(env or {})}
    full_env = {name: value for name, value in changed.items() if value is not None}
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL if source is None else source,
            stdout=subprocess.PIPE if log is None else log,
            stderr=subprocess.PIPE if errors_apart else subprocess.STDOUT,
            env=full_env,
            cwd=cwd,
            start_new_session=True,
        )
    except FileNotFoundError:
        raise CommandError(argv, 127) from None
    try:
        if watch is not None:
            _watch(process, watch, timeout)
            timeout = 0.0 if process.poll() is None else None
        output, errors = process.communicate(feed, timeout=timeout)
    except subprocess.TimeoutExpired:
        _kill_group(process.pid, signal.SIGKILL)
        raise CommandError(argv, 124, _reap(process), timed_out=True) from None
    except BaseException:
        _kill_group(process.pid, signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            _kill_group(process.pid, signal.SIGKILL)
            process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
        raise
    output = output or b""
    if check and process.returncode != 0:
        raise CommandError(argv, process.returncode, errors or output)
    return output


def attached(argv: list[str]) -> int:
    """Run a program on our terminal to its end; returns its exit code (128 + signal, as in sh).

    Raises CommandError if it is not installed. On KeyboardInterrupt or any other exception it is
    ended before the exception propagates.
    """
    import subprocess

    try:
        process = subprocess.Popen(argv)
    except FileNotFoundError:
        raise CommandError(argv, 127) from None
    try:
        code = process.wait()
    except BaseException:
        process.terminate()
        try:
            process.wait(REAP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        raise
    return code if code >= 0 else 128 - code


class Stream:
    """A program whose lines are read while it runs; also for select(2). `close` ends it.

    over: it has closed its output, and all of it was read.
    Raises CommandError if the program is not installed.
    """

    def __init__(self, argv: list[str]) -> None:
        import subprocess
        import tempfile

        self.argv = argv
        self.over = False
        self._parts: list[bytes] = []  # of an unfinished line
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - `close` closes it
        try:
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                start_new_session=True,
            )
        except FileNotFoundError:
            self._errors.close()
            raise CommandError(argv, 127) from None
        os.set_blocking(self.fileno(), False)

    def fileno(self) -> int:
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def read(self) -> list[bytes]:
        """The available lines, without waiting; the last one even if it is unterminated."""
        found: list[bytes] = []
        while not self.over:
            try:
                data = os.read(self.fileno(), 1 << 16)
            except BlockingIOError:
                break
            self.over = not data
            if self.over and any(self._parts):
                data = b"\n"
            if b"\n" not in data:
                self._parts.append(data)
                continue
            *lines, rest = b"".join([*self._parts, data]).split(b"\n")
            found += lines
            self._parts = [rest]
        return found

    def check(self) -> None:
        """When it is over: raises CommandError if it failed, with its error output."""
        returncode, errors = self.end()
        if returncode != 0:
            raise CommandError(self.argv, returncode, errors)

    def end(self) -> tuple[int, bytes]:
        """When it is over: its exit code, and what it printed on standard error."""
        returncode = self._process.wait()
        self._errors.seek(0)
        return returncode, self._errors.read()

    def close(self) -> None:
        """End it, if it still runs; may be called again."""
        import signal

        if self._process.stdout is None or self._process.stdout.closed:
            return
        if self._process.poll() is None:
            _kill_group(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._process.stdout.close()
        self._errors.close()


def _watch(process: Popen[bytes], watch: Callable[[float], float], timeout: float | None) -> None:
    """Call watch as often as it wants until the program ends or its time is up."""
    import select
    import time

    start = time.monotonic()
    ended = select.poll()
    descriptor = os.pidfd_open(process.pid)
    try:
        ended.register(descriptor, select.POLLIN)
        while True:
            elapsed = time.monotonic() - start
            if timeout is not None and elapsed >= timeout:
                return
            left = timeout - elapsed if timeout is not None else float("inf")
            if ended.poll(1000 * min(watch(elapsed), left)):
                process.wait()
                return
    finally:
        os.close(descriptor)


def _reap(process: Popen[bytes]) -> bytes:
    """The output of a killed program; waits at most REAP_SECONDS for it, and for other processes
    that inherited its pipe."""
    import subprocess

    try:
        return process.communicate(timeout=REAP_SECONDS)[0] or b""
    except subprocess.TimeoutExpired as error:
        if process.stdout is not None:
            process.stdout.close()
        process.poll()
        return error.output or b""


def preload() -> None:
    """Import what `run` needs, for a caller that knows when this is cheap."""
    import signal  # noqa: F401
    import subprocess  # noqa: F401


def _kill_group(pid: int, signal_number: int) -> None:
    try:
        os.killpg(pid, signal_number)
    except ProcessLookupError:
        return  # it ended in the meantime, which is what we wanted
