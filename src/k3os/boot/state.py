"""The state partition of an installed system: checked, mounted writable, reset on request.

It decides where this boot's persistent data is; root.py mounts it at /var, /home and /opt. The
markers are empty files in /k3os/system (docs/reference/files.md). Exit codes: e2fsck(8).
"""

import os

from k3os.boot.media import Medium
from k3os.errors import UserError
from k3os.generation.layout import CONFIG, DATA, EPHEMERAL, FACTORY_RESET
from k3os.system import mounts
from k3os.system.console import Say
from k3os.system.files import atomic_write, sync_directory
from k3os.system.run import CommandError, run

UNREPAIRED = 4
# The 1 % that ext4 reserves is for root's uid by default, and root in a pod has that uid. With a
# uid that nobody has, it is for those with CAP_SYS_RESOURCE: people with sudo, k3OS, k3s.
RESERVED_FOR_PRIVILEGED = "resuid=4294967293"


def prepare(medium: Medium, *, factory_reset: bool, say: Say) -> str:
    """Make the mounted medium writable; returns the data's directory on it, "" for memory.

    A foreign root (overlay) was checked and mounted by its own system's initrd.

    Raises UserError when a person must repair the file system, OSError.
    """
    if medium.kind == "disk":
        mounts.unmount(medium.path)
        check(medium.file_system.device, say)
        mounts.mount(medium.file_system.device, medium.path, "ext4", 0, RESERVED_FOR_PRIVILEGED)
    # the phases, which close the other files of the configuration, find this one read-only
    protect(f"{medium.path}/{CONFIG}", say)
    if factory_reset and not os.path.exists(f"{medium.path}/{FACTORY_RESET}"):
        # after a power cut in the middle, the next boot must not keep half of the data
        atomic_write(f"{medium.path}/{FACTORY_RESET}", b"", sync=True)
    if os.path.exists(f"{medium.path}/{FACTORY_RESET}"):
        wipe(medium.path, say)
    if os.path.exists(f"{medium.path}/{EPHEMERAL}"):
        say("this boot keeps its data in memory, because the file /k3os/system/ephemeral exists")
        return ""
    os.makedirs(f"{medium.path}/{DATA}", exist_ok=True)
    return DATA


def protect(config: str, say: Say) -> None:
    """For root alone: a person created or edited it, and it holds tokens and passwords. Later it is
    on a read-only file system (k3os.phases.config_files)."""
    try:
        mode = os.stat(config).st_mode & 0o777
    except FileNotFoundError:
        return
    if not mode & 0o077:
        return
    try:
        os.chmod(config, 0o600)
    except OSError as error:  # chattr +i stops even root, and the boot must not stop for it
        say(f"/{CONFIG} is readable by everybody (mode {mode:04o}): {error.strerror}")
    else:
        say(f"/{CONFIG} was readable by everybody: it has mode 0600 now, not {mode:04o}")


def check(device: str, say: Say) -> None:
    """Check the file system, repair what can be repaired safely. Raises UserError otherwise."""
    try:
        run(["e2fsck", "-p", device])
    except CommandError as error:
        if not 0 < error.returncode < UNREPAIRED:
            raise UserError(
                f"the file system on {device} is damaged: {error}",
                f"`e2fsck -y {device}` in this shell repairs it; it may give up damaged files",
            ) from error
        say(f"the file system on {device} was repaired")


def wipe(medium: str, say: Say) -> None:
    """The factory reset: delete the data; the system and its configuration stay."""
    say("factory reset: deleting everything in /var, /home and /opt")
    run(["rm", "-rf", f"{medium}/{DATA}"])
    os.sync()
    os.unlink(f"{medium}/{FACTORY_RESET}")
    sync_directory(os.path.dirname(f"{medium}/{FACTORY_RESET}"))
    say("factory reset: done")
