"""The early boot of a generation or configuration on trial: if it fails or hangs, reboot.

It must not decide what boots next: that is up to GRUB and k3os.generation.trial, and for a
configuration, k3os.cluster.config_trial. With `rescue` on the command line, a person is looking,
and the boot is no trial.
"""

import os
import signal
import time

from k3os.cluster import config_trial
from k3os.generation import layout, trial
from k3os.generation.layout import DATA
from k3os.paths import BASE, ON_TRIAL
from k3os.system import mounts, watchdog
from k3os.system.console import say
from k3os.system.numbers import whole

# one day; the schema allows no more
LONGEST_TRIAL = 86400
PANIC = "/proc/sys/kernel/panic"  # seconds until the kernel restarts the machine
POLL_SECONDS = 5
WRITE_SECONDS = 10
CMDLINE = "/proc/cmdline"
UNCOUNTED = "k3os.uncounted"  # k3os.generation.grub
MOUNTED_AT = (BASE, f"/sysroot{BASE}", "/run/k3os/medium", "/host")


def begin(text: str) -> None:
    """Mark this boot, and fork a guard that restarts the machine when it hangs.

    text: the seconds within which k3os-confirm.service must find it healthy. The guard's own limit
    is longer: it is for a boot that never reaches that service.
    """
    seconds = whole(text, most=LONGEST_TRIAL) or trial.DEFAULT_SECONDS
    with open(ON_TRIAL, "w") as file:
        file.write(f"{seconds}\n")
    with open(PANIC, "w") as file:
        file.write("10\n")  # GRUB's menu sets it, too, but does not know of configurations on trial
    if os.fork():
        return
    try:
        _guard(seconds + max(30, seconds // 2))
    finally:
        os._exit(0)


def _guard(seconds: int) -> None:
    """Wait until the mark is gone. If everything hangs, this process included, the watchdog acts.

    Descriptors stay valid while the root is moved, so /run and sysrq are opened now.
    """
    directory = os.open(os.path.dirname(ON_TRIAL), os.O_RDONLY | os.O_DIRECTORY)
    trigger = os.open("/proc/sysrq-trigger", os.O_WRONLY)
    os.chdir("/proc")  # so as not to block unmounting
    dog = watchdog.Watchdog()
    # a shutdown ends all processes: from then on systemd's own time limits apply

    def let_go(*_: object) -> None:
        dog.stop()
        os._exit(0)

    signal.signal(signal.SIGTERM, let_go)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        dog.feed()
        time.sleep(POLL_SECONDS)
        try:
            os.stat(os.path.basename(ON_TRIAL), dir_fd=directory)
        except FileNotFoundError:
            dog.stop()
            _follow_pid_1()
            dog.forget()
            return
    _follow_pid_1()
    _leave_reason(f"it hung: nothing confirmed it in {seconds} s")
    say("restarting")
    os.write(trigger, b"s")  # sync; Documentation/admin-guide/sysrq.rst
    time.sleep(POLL_SECONDS)
    os.write(trigger, b"b")


def _follow_pid_1() -> None:
    """Enter PID 1's current root; this process stayed in the initrd, in /proc."""
    os.chroot("1/root")
    os.chdir("/")


def _leave_reason(reason: str) -> None:
    """Record the failure, which avoids further attempts, if the disk can be written to at all."""
    child = os.fork()
    if not child:
        try:
            failed(reason)
        finally:
            os._exit(0)
    for _ in range(WRITE_SECONDS):
        if os.waitpid(child, os.WNOHANG)[0]:
            return
        time.sleep(1)


def is_on(words: str = "") -> bool:
    """Whether this boot is a trial, even if it failed before `begin`: a new kernel may not see its
    disk. Without `begin` and where GRUB does not count the attempts, restarts would never end, so
    that is none. words: as in k3os.boot.init.main."""
    try:
        with open(CMDLINE, errors="surrogateescape") as file:
            given = {word.partition("=")[0] for word in f"{file.read()} {words}".split()}
    except OSError:
        given = set()
    return os.path.exists(ON_TRIAL) or (
        trial.ON_TRIAL in given and not given & {"rescue", UNCOUNTED}
    )


def failed(reason: str) -> None:
    """Record the reason on the disk, as far as that is possible; the machine is then restarted."""
    say(f"the boot of a new version or configuration failed: {reason}")
    for root in MOUNTED_AT:
        if not os.path.isdir(f"{root}/{layout.SYSTEM}"):
            continue
        try:
            safety = mounts.options(root) & mounts.SAFETY
            mounts.mount("none", root, flags=mounts.MS_REMOUNT | safety)
            mounts.make_writable(root)
            config_trial.fail(reason, f"{root}/{DATA}")
            if trial.on_trial(root):
                trial.fail(root, reason)
            return
        except OSError as error:
            say(f"the reason could not be recorded: {error}")
    say("attempts are counted; when none is left, the previous version comes back")
