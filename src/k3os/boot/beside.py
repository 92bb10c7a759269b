"""Cloud data on the stick that we boot from, in a partition beside the ISO's: copied to /run.

The ISO is mounted from the whole disk, and while it is, the kernel lets nobody mount a partition of
that disk. So the contents of a partition labelled as cloud data are read first; the data sources
use the copy (k3os.datasource.media).
"""

import os
from functools import partial

from k3os.boot.media import Medium
from k3os.boot.steps import try_each
from k3os.system import mounts
from k3os.system.blockdev import SYS_BLOCK, FileSystem, probe
from k3os.system.console import Say

LABELS = ("cidata", "config-2")
FLAGS = mounts.MS_RDONLY | mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC


def keep(medium: Medium, say: Say) -> None:
    """Copy the cloud data, if any; the medium is unmounted meanwhile. Raises OSError when it
    cannot be mounted again."""
    file_systems: list[FileSystem] = []
    look = f"look for cloud data beside {medium.file_system}"
    device = medium.file_system.device
    try_each({look: lambda: file_systems.extend(partitions(device, say=say))}, say)
    if not file_systems:
        return
    mounts.unmount(medium.path)
    try:
        for each in file_systems:
            try_each({f"read the cloud data on {each}": partial(_copy, each)}, say)
    finally:
        again = medium.file_system
        mounts.mount(again.device, medium.path, again.kind, mounts.MS_RDONLY)


def partitions(device: str, root: str = SYS_BLOCK, say: Say = lambda _: None) -> list[FileSystem]:
    """The partitions of a disk that have a label of cloud data."""
    disk = device.rpartition("/")[2]
    found = []
    for name in sorted(os.listdir(f"{root}/{disk}")):
        if not os.path.exists(f"{root}/{disk}/{name}/partition"):
            continue
        try:
            file_system = probe(f"/dev/{name}")
        except OSError:
            continue  # unreadable, so it is not what we booted from
        except Exception as error:  # whatever a header triggers in our code
            say(f"/dev/{name} is left out: {error!r}")
            continue
        if file_system.label.lower() in LABELS:
            found.append(file_system)
    return found


def _copy(file_system: FileSystem) -> None:
    from k3os.datasource.beside import COPIES, copy_known

    where = f"{COPIES}/{file_system.label.lower()}"
    mounted = f"{COPIES}/mounted"
    os.makedirs(COPIES, mode=0o700, exist_ok=True)
    os.makedirs(mounted, mode=0o700, exist_ok=True)
    mounts.mount(file_system.device, mounted, file_system.kind, FLAGS)
    try:
        copy_known(mounted, where)
    finally:
        mounts.unmount(mounted)
        os.rmdir(mounted)
