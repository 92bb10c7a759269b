"""The boot that finishes a takeover: the old contents of the partition are deleted, k3OS stays.

It runs in the initrd, before anything on the partition is used, and only if the marker of
install/takeover.py exists. The marker is deleted last, so that after a power cut the next boot
completes the work. It never leaves the file system and never follows a link.
ioctls: include/uapi/linux/fs.h.
"""

import fcntl
import os
import struct

from k3os.boot import state
from k3os.boot.media import Medium
from k3os.generation import takeover_marker
from k3os.generation.layout import MENU, STATE_LABEL
from k3os.generation.takeover_marker import BACKUP, MARKER, POWER_OFF
from k3os.system import mounts, power
from k3os.system.console import Say
from k3os.system.files import atomic_write, sync_directory
from k3os.system.plural import counted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

# directory -> what is kept in it; None: everything
KEPT: dict[str, tuple[str, ...] | None] = {
    "": ("k3os", "boot", "lost+found"),
    "boot": ("grub",),
    "boot/grub": None,
    "k3os": None,
    "lost+found": (),
}
FS_IOC_GETFLAGS, FS_IOC_SETFLAGS = 0x80086601, 0x40086602
FS_IOC_SETFSLABEL = 0x41009432
FSLABEL_MAX = 256
IMMUTABLE, APPEND_ONLY = 0x10, 0x20


def is_wanted(medium: Medium) -> bool:
    return medium.kind == "disk" and os.path.exists(f"{medium.path}/{MARKER}")


def finish(medium: Medium, say: Say) -> "NoReturn":
    """Check the file system, delete, and restart or power off. Raises UserError, OSError."""
    device = medium.file_system.device
    mounts.unmount(medium.path)
    state.check(device, say)
    mounts.mount(device, medium.path, "ext4")
    then = carry_out(medium.path, say)
    mounts.unmount(medium.path)
    if then == POWER_OFF:
        say("takeover: done, powering off")
        power.power_off()
    say("takeover: done, rebooting into k3OS")
    power.reboot()


def carry_out(root: str, say: Say) -> str:
    """Do all of it below the mounted partition; returns what to do then. Can be repeated."""
    path = f"{root}/{MARKER}"
    then, menu = takeover_marker.read(path)
    say("takeover: deleting the system that was here")
    # first, because it can start a system that is about to be broken
    if os.path.lexists(f"{root}/{BACKUP}"):
        os.unlink(f"{root}/{BACKUP}")
        sync_directory(os.path.dirname(f"{root}/{BACKUP}"))
    count = delete_others(root)
    os.sync()
    set_label(root, STATE_LABEL)
    atomic_write(f"{root}/{MENU}", menu, sync=True)
    os.sync()
    os.unlink(path)
    sync_directory(os.path.dirname(path))
    say(f"takeover: {counted(count, 'file or directory', 'files and directories')} deleted")
    return then


def delete_others(root: str) -> int:
    """Delete what is not in KEPT; returns the number of files and directories deleted."""
    count = 0
    for directory, kept in KEPT.items():
        path = f"{root}/{directory}".rstrip("/")
        # a link here is the old system's: it is deleted with the rest of its directory
        if kept is None or os.path.islink(path) or not os.path.isdir(path):
            continue
        opened = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            count += _empty(opened, os.fstat(opened).st_dev, kept)
        finally:
            os.close(opened)
    return count


def _empty(directory: int, device: int, kept: tuple[str, ...] = ()) -> int:
    """Delete the contents of an open directory, as far as they are on the device."""
    count = 0
    with os.scandir(directory) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_directory in found:
        if name in kept:
            continue
        if is_directory:
            child = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
            try:
                if os.fstat(child).st_dev != device:
                    continue
                count += _empty(child, device)
            finally:
                os.close(child)
        _remove(directory, name, is_directory)
        count += 1
    return count


def _remove(directory: int, name: str, is_directory: bool) -> None:
    remove = os.rmdir if is_directory else os.unlink
    try:
        remove(name, dir_fd=directory)
    except PermissionError:  # chattr +i or +a, which stops even root
        _unlock(directory)
        kind = os.O_DIRECTORY if is_directory else os.O_NONBLOCK
        entry = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | kind, dir_fd=directory)
        try:
            _unlock(entry)
        finally:
            os.close(entry)
        remove(name, dir_fd=directory)


def _unlock(descriptor: int) -> None:
    flags = bytearray(8)
    fcntl.ioctl(descriptor, FS_IOC_GETFLAGS, flags)
    (value,) = struct.unpack_from("=I", flags)
    plain = struct.pack("=I4x", value & ~(IMMUTABLE | APPEND_ONLY))
    fcntl.ioctl(descriptor, FS_IOC_SETFLAGS, plain)


def set_label(root: str, label: str) -> None:
    """Set the label of the mounted file system."""
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.ioctl(descriptor, FS_IOC_SETFSLABEL, label.encode().ljust(FSLABEL_MAX, b"\0"))
    finally:
        os.close(descriptor)
