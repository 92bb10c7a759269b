"""The shell of last resort: says what failed and what to try, then opens on every console."""

import fcntl
import os
import time

from k3os.errors import UserError
from k3os.system.console import console_devices, say

TIOCSCTTY = 0x540E  # ioctl_tty(2)
QUICK_SECONDS = 2
PAUSE_SECONDS = 10
HELP = """\
This is the rescue shell of the early boot: a small system in memory, nothing is changed.
  blkid; cat /proc/partitions    the disks and their labels
  dmesg | less                   what the kernel says of the hardware
  mount -o ro /dev/X /mnt        look at a disk; k3OS keeps its own in /k3os/system
  reboot -f                      try again from the start
Leaving the shell with `exit` {after}."""


def explain(error: BaseException) -> str:
    """What went wrong, for a person: one line if the cause is known, the traceback for our bugs."""
    if isinstance(error, UserError):
        return f"{error.message}\n{error.hint}" if error.hint else error.message
    if isinstance(error, OSError) and error.filename:
        return f"{error.strerror}: {error.filename} {error.filename2 or ''}".rstrip()
    import traceback

    lines = traceback.format_exception(error)
    return "this is a bug of k3OS, please report it:\n" + "".join(lines)


def open_shells(reason: str, *, after: str, program: str = "/bin/sh") -> None:
    """Open a shell on each console; returns when a person leaves one of them.

    If no console works, it returns after a pause, since the boot may end up here again.
    """
    say("")
    say(reason)
    say(HELP.format(after=after))
    children = {_start(device, program): time.monotonic() for device in console_devices()}
    while children:
        pid, status = os.wait()
        started = children.pop(pid, None)
        # on a console that does not exist (EIO), the shell ends at once: no person left it
        if started is not None and (status == 0 or time.monotonic() - started > QUICK_SECONDS):
            break
    else:
        time.sleep(PAUSE_SECONDS)


def _start(device: str, program: str) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        terminal = os.open(device, os.O_RDWR)
        fcntl.ioctl(terminal, TIOCSCTTY, 1)
        for descriptor in (0, 1, 2):
            os.dup2(terminal, descriptor)
        environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "TERM": "linux" if "/tty" in device and device[8:9].isdigit() else "vt220",
            "HOME": "/root",
            "PS1": "k3OS rescue # ",
        }
        os.execve(program, [program], environment)
    except OSError:
        os._exit(127)
