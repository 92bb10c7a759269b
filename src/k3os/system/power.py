"""reboot(2), for a PID 1 without systemd. It stops nothing and unmounts nothing."""

import ctypes
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

LINUX_REBOOT_CMD_RESTART, LINUX_REBOOT_CMD_POWER_OFF = 0x01234567, 0x4321FEDC


def reboot() -> "NoReturn":
    """Sync and restart the machine at once. Raises OSError."""
    _end(LINUX_REBOOT_CMD_RESTART, "reboot")


def power_off() -> "NoReturn":
    """The same, but power off."""
    _end(LINUX_REBOOT_CMD_POWER_OFF, "power off")


def _end(command: int, name: str) -> "NoReturn":
    os.sync()
    libc = ctypes.CDLL(None, use_errno=True)
    libc.reboot(command)
    number = ctypes.get_errno()
    raise OSError(number, f"cannot {name}: {os.strerror(number)}")
