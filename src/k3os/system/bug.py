"""An unexpected exception: only the current work fails, and it is reported.

People get one line with its place. The traceback goes to the journal, or to the kernel's log while
there is no journal; without the exception's message, which may contain a secret.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

KERNEL_LOG = "/dev/kmsg"
ASK = "this is a bug of k3OS, please report it"
MOST_FRAMES, LONGEST_WORDS = 12, 300


def report(error: BaseException, words: str = "") -> str:
    """The line for people. words: the exception's message, if it contains no secret."""
    frames = _frames(error.__traceback__)
    name = type(error).__name__
    _log([f"{name}, {ASK}:", *(f"  {place} in {function}" for place, function in frames)])
    said = f"{name}: {words[:LONGEST_WORDS]}" if words else name
    # if the error was raised in a library, the last place in our code is more useful
    ours = [place for place, _ in frames if place.startswith("k3os/")]
    where = f" in {(ours or [frames[-1][0]])[-1]}" if frames else ""
    return f"{said}{where}: {ASK}"


def _frames(trace: TracebackType | None) -> list[tuple[str, str]]:
    """The last places, as "k3os/phases/k3s.py:84", and their functions."""
    found: list[tuple[str, str]] = []
    while trace is not None:
        code = trace.tb_frame.f_code
        path = code.co_filename
        begin = path.rfind("/k3os/")
        short = path[begin + 1 :] if begin >= 0 else os.path.basename(path)
        found.append((f"{short}:{trace.tb_lineno}", code.co_name))
        trace = trace.tb_next
    return found[-MOST_FRAMES:]


def _log(lines: list[str]) -> None:
    if os.getpid() != 1:
        print("\n".join(f"k3os: {line}" for line in lines), file=sys.stderr, flush=True)
        return
    for line in lines:
        try:
            descriptor = os.open(KERNEL_LOG, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(descriptor, f"<4>k3os: {line}".encode(errors="replace")[:900])
            finally:
                os.close(descriptor)
        except OSError:
            return  # there is no log yet; the line for people has the place
