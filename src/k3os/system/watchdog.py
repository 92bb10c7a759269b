"""A watchdog device: it restarts the machine when nobody has written to it for a while.

Format: the kernel's Documentation/watchdog/watchdog-api.rst and include/uapi/linux/watchdog.h.
"""

import array
import fcntl
import os

from k3os.system import kernelmodules

DEVICE = "/dev/watchdog"
SECONDS = 60
SET_TIMEOUT = 0xC0045706
# written last: the one who closes means it, and the machine is not to restart
MAGIC_CLOSE = b"V"


def start(device: str = DEVICE) -> int:
    """Open the machine's watchdog, else the kernel's own; -1 where none can be had.

    From now on `feed` must be called more often than every SECONDS.
    """
    if not os.path.exists(device):
        kernelmodules.load(["softdog"])
    try:
        descriptor = os.open(device, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return -1  # there is none, or somebody else feeds it
    try:
        fcntl.ioctl(descriptor, SET_TIMEOUT, array.array("i", [SECONDS]))
    except OSError:
        pass  # it has a time of its own
    return descriptor


def feed(descriptor: int) -> None:
    """All is well. Does nothing without a watchdog."""
    if descriptor >= 0:
        os.write(descriptor, b"\0")


def stop(descriptor: int) -> None:
    """Nobody is going to feed it any more, on purpose."""
    if descriptor >= 0:
        os.write(descriptor, MAGIC_CLOSE)
        os.close(descriptor)
