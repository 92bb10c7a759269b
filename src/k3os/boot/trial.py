"""The early boot of a generation on trial: a boot that fails or hangs ends in a reboot.

It must not decide what boots next: GRUB and k3os.upgrade.trial do. `rescue` on the command line
is a person who looks, and no trial.
"""

import os
import time

from k3os.system import mounts
from k3os.system.console import say
from k3os.upgrade import trial

MARK = "/run/k3os/trial"  # while it exists this boot is on trial
POLL_SECONDS = 5
MOUNTED_AT = ("/.base", "/sysroot/.base", "/run/k3os/medium", "/host")


def begin(text: str) -> None:
    """Mark this boot, and fork a guard that restarts the machine when it hangs.

    text: the seconds in which k3os-confirm.service wants it healthy; the guard's own limit is
    for a boot that never comes to that, and longer.
    """
    seconds = int(text) if text.isdigit() else trial.DEFAULT_SECONDS
    with open(MARK, "w") as file:
        file.write(f"{seconds}\n")
    if os.fork():
        return
    try:
        _guard(2 * seconds + 60)
    finally:
        os._exit(0)


def _guard(seconds: int) -> None:
    """Descriptors stay valid while the root is moved: /run and sysrq are opened now."""
    directory = os.open(os.path.dirname(MARK), os.O_RDONLY | os.O_DIRECTORY)
    trigger = os.open("/proc/sysrq-trigger", os.O_WRONLY)
    os.chdir("/proc")  # not in the way of what is unmounted
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(POLL_SECONDS)
        try:
            os.stat(os.path.basename(MARK), dir_fd=directory)
        except FileNotFoundError:
            return
    say(f"this version did not come up in {seconds} s: restarting")
    os.write(trigger, b"s")  # sync; Documentation/admin-guide/sysrq.rst
    time.sleep(POLL_SECONDS)
    os.write(trigger, b"b")


def is_on() -> bool:
    return os.path.exists(MARK)


def failed(reason: str) -> None:
    """Leave the reason on the disk, as well as that can be done now, and be restarted."""
    say(f"the boot of a new version failed: {reason}")
    for root in MOUNTED_AT:
        if not os.path.isdir(f"{root}/{trial.SYSTEM}"):
            continue
        try:
            mounts.mount("none", root, flags=mounts.MS_REMOUNT)
            mounts.make_writable(root)
            trial.fail(root, reason)
            return
        except OSError as error:
            say(f"the reason could not be written down: {error}")
    say("the attempts are counted; the previous version boots when none is left")
