"""Two file systems that may both be what this machine boots from: choose the right one, or fail.

Imported only when there are two. Without a UUID from GRUB (the menu of an older release), the right
one has the running kernel, or else a GRUB that counts this boot as a trial: GRUB has just read the
kernel from it and written to it. The same for two with the same UUID: one is a copy of the other.
"""

from __future__ import annotations

import os

from k3os.errors import UserError
from k3os.generation.layout import LINKS, has_kernel
from k3os.system import mounts
from k3os.system.blockdev import SYS_BLOCK, disk_of
from k3os.system.files import text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from k3os.system.blockdev import FileSystem

CMDLINE = "/proc/cmdline"
ON_TRIAL = "k3os.trial="


def distinct(candidates: list[FileSystem]) -> list[FileSystem]:
    """Each file system once: an ISO on a stick is on the disk and on its first partition, and the
    kernel sees a disk with two paths as two disks."""
    names = {each.device.rpartition("/")[2]: each for each in candidates}
    kept: dict[str, FileSystem] = {}
    for name, each in names.items():
        disk = disk_of(name)
        if disk != name and disk in names and names[disk].uuid == each.uuid:
            continue
        number = text_of(f"{SYS_BLOCK}/{name}/partition")
        kept.setdefault(f"{_wwid(disk) or disk} {number}", each)
    return list(kept.values())


def _wwid(disk: str) -> str:
    """The registered name of the disk itself, the same on every path to it."""
    for path in (f"{SYS_BLOCK}/{disk}/wwid", f"{SYS_BLOCK}/{disk}/device/wwid"):
        wwid = text_of(path)
        # cheap disks make one up from their model's name, or of zeros
        if wwid.startswith(("naa.", "eui.", "uuid.")) and wwid[5:].strip("0"):
            return wwid
    return ""


def right_one(
    candidates: list[FileSystem], look: Callable[[FileSystem], str | None], uuid: str
) -> list[FileSystem]:
    """The one candidate that is the medium, in a list; [] if none is.

    look: mounts a candidate and returns where, None if it is not a medium. Raises UserError.
    """
    media: list[tuple[FileSystem, bool, bool]] = []
    for each in candidates:
        path = look(each)
        if path is None:
            continue
        try:
            media.append((each, has_running_kernel(path), is_on_trial(path)))
        finally:
            mounts.unmount(path)
    for test in (1, 2):
        if len(media) > 1 and any(each[test] for each in media):
            media = [each for each in media if each[test]]
    left = [each for each, _, _ in media]
    if len(left) > 1:
        raise too_many(left, uuid)
    return left


def has_running_kernel(path: str) -> bool:
    """Whether one of the generations below path has the running kernel."""
    return any(has_kernel(path, generation, os.uname().release) for generation in LINKS)


def is_on_trial(path: str) -> bool:
    """Whether this boot is a trial that the GRUB of the medium at path counts."""
    from k3os.generation import grubenv
    from k3os.generation.trial import GENERATION

    with open(CMDLINE, errors="surrogateescape") as file:
        if not any(word.startswith(ON_TRIAL) for word in file.read().split()):
            return False
    try:
        return GENERATION in grubenv.read(path)
    except OSError:
        return False


def too_many(candidates: list[FileSystem], uuid: str) -> UserError:
    devices = " and ".join(str(each) for each in candidates)
    if uuid and all(each.uuid == uuid for each in candidates):
        return UserError(
            f"{devices} have the same UUID, {uuid}: one is a copy of the other, and it is "
            "not certain which one this machine booted from",
            "take one of them away; or, on another machine, give one of them a UUID of its own "
            "(`e2fsck -f DEVICE; tune2fs -U random DEVICE`, and the new one in its "
            "boot/grub/grub.cfg)",
        )
    choices = "; ".join(f"k3os.medium_uuid={each.uuid} for {each.device}" for each in candidates)
    return UserError(
        f"{devices} can both be what this machine boots from, and the boot menu does not say which",
        "take one of them away; or press `e` in the menu and add to the line that begins with "
        f"`linux`: {choices}",
    )
