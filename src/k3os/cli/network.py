"""`k3os network settle`: called by k3os-network.service when an address of the node changed.

Standard input is the socket with the kernel's messages (rtnetlink(7)); they are read away,
what they say does not matter.
"""

from __future__ import annotations

import os
import sys
import time

USAGE = """\
usage: k3os network settle   the default route and the addresses that k3os.network asks for
"""
# an interface that comes up brings several messages, and connman acts on them, too
PAUSE = 1.0


def main(argv: list[str]) -> int:
    """Exit code 0, 2 for wrong usage. Raises CommandError."""
    if argv in (["-h"], ["--help"]):
        print(USAGE, end="")
        return 0
    if argv != ["settle"]:
        print(USAGE, end="", file=sys.stderr)
        return 2
    from k3os.phases.routes import settle

    time.sleep(PAUSE)
    drain(0)
    done, missing = settle()
    for line in [*done, *missing]:
        print(line)
    return 0


def drain(descriptor: int) -> None:
    """Read what waits on a socket; nothing else is touched."""
    import stat

    if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
        return
    os.set_blocking(descriptor, False)
    try:
        while os.read(descriptor, 65536):
            continue
    except BlockingIOError:
        return
