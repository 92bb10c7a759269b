"""The one place that starts processes.

Every other module calls `run([...])`. Secrets never go into an argument list: pass them
on standard input (`stdin=`) or in a file of mode 0600. Arguments are lists, never shell
strings; whoever wants a shell says ["/bin/sh", "-c", text].
"""

import os
from collections.abc import Mapping

TAIL_LINES = 15


class CommandError(Exception):
    """A program that could not be started, was killed, or exited non-zero.

    argv, returncode (negative: the signal; 127: not found; 124: timed out), output (bytes,
    standard output and error as far as they were captured).
    """

    def __init__(self, argv: list[str], returncode: int, output: bytes = b"") -> None:
        self.argv = argv
        self.returncode = returncode
        self.output = output
        super().__init__(str(self))

    def __str__(self) -> str:
        if self.returncode == 127:
            how = "is not installed"
        elif self.returncode == 124:
            how = "timed out"
        elif self.returncode < 0:
            how = f"was killed by signal {-self.returncode}"
        else:
            how = f"exited with {self.returncode}"
        tail = self.output.decode(errors="replace").strip().splitlines()[-TAIL_LINES:]
        return "\n  ".join([f"{self.argv[0]} {how}", *tail])


def run(
    argv: list[str],
    *,
    stdin: bytes | int | None = None,
    env: Mapping[str, str | None] | None = None,
    cwd: str | None = None,
    timeout: float | None = None,
    log: int | None = None,
    check: bool = True,
) -> bytes:
    """Run a program to its end and return what it printed on standard output and error.

    stdin:   bytes to feed, or a file descriptor; without it the program reads /dev/null.
    env:     variables added to (not instead of) our own; None removes one.
    timeout: seconds; then the program's whole process group is killed.
    log:     a file descriptor that receives the output instead; b"" is returned.
    check:   False returns the output whatever the exit code.

    Raises CommandError. On KeyboardInterrupt or any other exception the program's process
    group is killed before the exception goes on: an interrupted caller leaves no child.
    """
    import signal
    import subprocess  # 8 ms: only where a process is started

    feed = stdin if isinstance(stdin, bytes) else None
    source = subprocess.PIPE if isinstance(stdin, bytes) else stdin
    changed = {**os.environ, **(env or {})}
    full_env = {name: value for name, value in changed.items() if value is not None}
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL if source is None else source,
            stdout=subprocess.PIPE if log is None else log,
            stderr=subprocess.STDOUT,
            env=full_env,
            cwd=cwd,
            start_new_session=True,
        )
    except FileNotFoundError:
        raise CommandError(argv, 127) from None
    try:
        output, _ = process.communicate(feed, timeout=timeout)
    except subprocess.TimeoutExpired:
        _kill_group(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        raise CommandError(argv, 124, output or b"") from None
    except BaseException:
        _kill_group(process.pid, signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            _kill_group(process.pid, signal.SIGKILL)
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
        raise
    output = output or b""
    if check and process.returncode != 0:
        raise CommandError(argv, process.returncode, output)
    return output


def preload() -> None:
    """Import what `run` needs, for a caller that knows when this is cheap."""
    import signal  # noqa: F401
    import subprocess  # noqa: F401


def _kill_group(pid: int, signal_number: int) -> None:
    try:
        os.killpg(pid, signal_number)
    except ProcessLookupError:
        return  # it ended in the meantime, which is what we wanted
