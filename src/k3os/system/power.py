"""reboot(2), for a PID 1 that has no systemd to ask. It stops nothing and unmounts nothing."""

import ctypes
import os
from typing import NoReturn

LINUX_REBOOT_CMD_RESTART = 0x01234567


def reboot() -> NoReturn:
    """Write out what is in memory and restart the machine at once. Raises OSError."""
    os.sync()
    libc = ctypes.CDLL(None, use_errno=True)
    libc.reboot(LINUX_REBOOT_CMD_RESTART)
    number = ctypes.get_errno()
    raise OSError(number, f"cannot reboot: {os.strerror(number)}")
