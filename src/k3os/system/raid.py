"""Linux software RAID: reading members' superblocks, and starting an array without mdadm(8).

The kernel reads the superblocks itself and leaves out stale members. Nothing is written here, and a
started array is only written to when something writes to it (start_ro, md(4)).
Formats: include/uapi/linux/raid/md_p.h (version 1 superblock), md_u.h (ioctls).
"""

import errno
import fcntl
import os
import struct

from k3os.system import kernelmodules
from k3os.system.blockdev import RAID_MAGIC, BadHeader, at_end

MD_MAJOR = 9
SET_ARRAY_INFO, ADD_NEW_DISK = 0x40480923, 0x40140921
RUN_ARRAY, STOP_ARRAY = 0x400C0930, 0x0932
NEW_ARRAY = "/sys/module/md_mod/parameters/new_array"
START_READ_ONLY = "/sys/module/md_mod/parameters/start_ro"
SYS = "/sys/class/block"
SUPERBLOCK = 4096
MOST_ROLES = 384
SECTOR = 512
RESHAPING = 0x4 | 0x40  # features: a reshape, or data that moves to a new offset
LINEAR, STRIPED, MIRROR, MIRRORED_STRIPES = -1, 0, 1, 10
SPREAD = (4, 5, 6, MIRRORED_STRIPES)
NO_ROLE = 0xFFF0  # spares, failed disks and journals have roles from here on


class Member:
    """device: path; array: its identity (16 bytes); minor: of the superblock's version 1.x.

    active: how many members the array had when this one was last written. level: as in md(4);
    data: offset of the array's data, in bytes; is_reshaped: it may be elsewhere.
    """

    __slots__ = ("device", "array", "minor", "active", "level", "data", "is_reshaped")

    def __init__(
        self,
        device: str,
        array: bytes,
        minor: int,
        active: int,
        level: int = MIRROR,
        data: int = 0,
        is_reshaped: bool = False,
    ) -> None:
        self.device = device
        self.array = array
        self.minor = minor
        self.active = active
        self.level = level
        self.data = data
        self.is_reshaped = is_reshaped


def read_member(device: str) -> Member | None:
    """The superblock on a device, None if there is none of version 1. Raises OSError, BadHeader."""
    with open(device, "rb", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        for minor, place in ((2, 4096), (1, 0), (0, at_end(size))):
            block = os.pread(file.fileno(), SUPERBLOCK, place)
            if block[:8] == RAID_MAGIC:
                return _member(device, minor, block, size)
    return None


def _member(device: str, minor: int, block: bytes, size: int) -> Member:
    (count,) = struct.unpack_from("<I", block.ljust(SUPERBLOCK, b"\0"), 220)
    if len(block) < 256 + 2 * min(count, MOST_ROLES):
        raise BadHeader(f"the RAID superblock on {device} is cut off")
    roles = struct.unpack_from(f"<{min(count, MOST_ROLES)}H", block, 256)
    active = len({role for role in roles if role < NO_ROLE})
    (features,) = struct.unpack_from("<I", block, 8)
    (level,) = struct.unpack_from("<i", block, 72)
    (data,) = struct.unpack_from("<Q", block, 128)
    if not active:
        raise BadHeader(f"the RAID superblock on {device} is of an array without disks")
    if data * SECTOR >= size:
        raise BadHeader(f"the RAID superblock on {device} says that data begins behind its end")
    is_reshaped = bool(features & RESHAPING)
    return Member(device, block[16:32], minor, active, level, data * SECTOR, is_reshaped)


def start(members: list[Member]) -> str:
    """Start the array of these members; returns its path. Raises OSError; then nothing runs."""
    kernelmodules.load(["md_mod"])
    number = next((n for n in range(128) if not os.path.exists(f"{SYS}/md{n}")), None)
    if number is None:
        raise OSError(errno.ENOSPC, "there are 128 RAID arrays already")
    for path, text in ((NEW_ARRAY, f"md{number}"), (START_READ_ONLY, "1")):
        with open(path, "w") as file:
            file.write(text)
    path = f"/dev/md{number}"
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        # no number of disks: the superblocks have it
        info = struct.pack("=18i", 1, members[0].minor, *[0] * 16)
        fcntl.ioctl(descriptor, SET_ARRAY_INFO, info)
        for member in members:
            device = os.stat(member.device).st_rdev
            disk = struct.pack("=5i", 0, os.major(device), os.minor(device), 0, 0)
            fcntl.ioctl(descriptor, ADD_NEW_DISK, disk)
        fcntl.ioctl(descriptor, RUN_ARRAY, bytes(12))
    except OSError:
        fcntl.ioctl(descriptor, STOP_ARRAY, 0)
        raise
    finally:
        os.close(descriptor)
        with open(START_READ_ONLY, "w") as file:
            file.write("0")  # for arrays that users start
    return path


def stop(path: str) -> None:
    """Raises OSError, also if it is in use."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(descriptor, STOP_ARRAY, 0)
    finally:
        os.close(descriptor)
