"""A watchdog device: it restarts the machine if nobody has written to it for a while.

This is for a trial, whose guard may start before systemd. At all other times PID 1 has the device
(RuntimeWatchdogSec= in system.conf.d/30-watchdog.conf); only one process can have it open.
Format: the kernel's Documentation/watchdog/watchdog-api.rst and include/uapi/linux/watchdog.h.
"""

import array
import fcntl
import os
from contextlib import suppress

from k3os.system import kernelmodules

DEVICE = "/dev/watchdog"
SECONDS = 60
SET_TIMEOUT = 0xC0045706
# written last: the close is intended, and the machine should not restart
MAGIC_CLOSE = b"V"
KERNELS_OWN = ["softdog"]


class Watchdog:
    """The machine's watchdog, else the kernel's own; without either, this does nothing.

    From now on `feed` must be called at least every SECONDS.
    """

    def __init__(self, device: str = DEVICE) -> None:
        self._loaded = not os.path.exists(device)
        if self._loaded:
            kernelmodules.load(KERNELS_OWN)
        try:
            self._descriptor = os.open(device, os.O_WRONLY | os.O_CLOEXEC)
        except OSError:
            self._descriptor = -1  # there is none, or another process feeds it
            return
        if self._loaded:
            # PID 1 would open it before it can be unloaded
            for name in (device, f"{device}0"):
                with suppress(FileNotFoundError):
                    os.unlink(name)
        try:
            fcntl.ioctl(self._descriptor, SET_TIMEOUT, array.array("i", [SECONDS]))
        except OSError:
            pass  # its timeout is fixed

    def feed(self) -> None:
        """All is well."""
        if self._descriptor >= 0:
            os.write(self._descriptor, b"\0")

    def stop(self) -> None:
        """Stop feeding it on purpose; PID 1 may take it."""
        if self._descriptor >= 0:
            os.write(self._descriptor, MAGIC_CLOSE)
            os.close(self._descriptor)
            self._descriptor = -1

    def forget(self) -> None:
        """Unload the kernel's own after `stop`: only hardware should watch all the time.

        It runs modprobe(8), which must be there.
        """
        if self._loaded:
            kernelmodules.unload(KERNELS_OWN)
