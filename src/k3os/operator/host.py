"""The program in the pod with which `kubectl k3os` works on a node: it waits, and it starts
programs as root on the host, with the host's files.

The container is privileged and sees the host's processes; it enters the namespaces of process 1
with setns(2). It decides nothing: anyone who may start a program in this pod is root on the node.
"""

from __future__ import annotations

import os
import sys
import time

NAMESPACES = ("ipc", "uts", "net", "mnt")
NOT_FOUND, NOT_STARTED = 127, 126  # sh(1), "Exit Status"


def enter(process: str = "/proc/1") -> None:
    """Do all imports before this: afterwards the files are the host's."""
    doors = [os.open(f"{process}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC) for name in NAMESPACES]
    for door in doors:
        os.setns(door)  # type: ignore[attr-defined]  # Python 3.12, which the image has
    os.chdir("/")
    os.environ["PATH"] = "/usr/sbin:/usr/bin:/sbin:/bin"


def main(argv: list[str]) -> int:
    """argv: `--wait SECONDS`, or a program with its arguments, which replaces this one.
    Exit code: NOT_FOUND, NOT_STARTED; 0 after waiting."""
    if argv[0] == "--wait":
        time.sleep(int(argv[1]))
        return 0
    enter()
    # pass on only the image's variables that make sense for a program of the host
    kept = {name: os.environ[name] for name in ("PATH", "TERM") if name in os.environ}
    try:
        os.execvpe(argv[0], argv, {**kept, "HOME": "/root", "LANG": "C.UTF-8"})
    except OSError as error:
        print(f"{argv[0]} cannot be started on this node: {error.strerror}", file=sys.stderr)
        return NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_STARTED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
