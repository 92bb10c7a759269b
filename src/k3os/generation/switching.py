"""Which generation boots: the links `current` and `previous`, and how they reach the disk.

Each link changes in one rename(2), in an order that makes a power cut harmless.
"""

from __future__ import annotations

import fcntl
import os

from k3os.system.files import atomic_symlink, sync_directory
from k3os.system.run import run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# include/uapi/linux/fs.h
FIFREEZE, FITHAW = 0xC0045877, 0xC0045878


def switch(system: str, current: str, previous: str) -> None:
    """Point both links, for an upgrade. After a power cut in between, both are the old system."""
    atomic_symlink(previous, f"{system}/previous", sync=True)
    atomic_symlink(current, f"{system}/current", sync=True)
    flush_journal(system)


def exchange(system: str, current: str, previous: str, end_trial: Callable[[], None]) -> None:
    """Point both links, for a rollback. After a power cut in between, both are the good system.

    end_trial: GRUB starts `previous` if no attempt is left, so the trial must end before that
    points to the failed system.
    """
    atomic_symlink(current, f"{system}/current", sync=True)
    flush_journal(system)
    end_trial()
    atomic_symlink(previous, f"{system}/previous", sync=True)
    flush_journal(system)


def flush_journal(system: str) -> None:
    """Write the journal's contents to their place: GRUB reads ext4 without replaying the journal.

    fsync(2) is content with the journal; freezing the file system is not (ioctl_fsfreeze(2)).
    """
    os.sync()
    descriptor = os.open(system, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.ioctl(descriptor, FIFREEZE, 0)
    except OSError:
        return  # cannot be frozen; GRUB can replay its journal or does not need to
    else:
        fcntl.ioctl(descriptor, FITHAW, 0)
    finally:
        os.close(descriptor)


def remove(system: str, paths: tuple[str, ...]) -> None:
    """Remove generations and components; a generation's manifest goes first, so that a partly
    removed one is ignored."""
    for path in paths:
        full = f"{system}/{path}"
        if os.path.exists(f"{full}/manifest.json"):
            os.unlink(f"{full}/manifest.json")
            sync_directory(full)
        run(["rm", "-rf", "--one-file-system", full])
