"""Linux software RAID: what a member says of its array, and starting one without mdadm(8).

The kernel reads the superblocks itself and leaves out what is stale; nothing is written here.
Formats: include/uapi/linux/raid/md_p.h (version 1 superblock), md_u.h (ioctls).
"""

import fcntl
import os
import struct

from k3os.system import kernelmodules
from k3os.system.blockdev import RAID_MAGIC, at_end

MD_MAJOR = 9
SET_ARRAY_INFO, ADD_NEW_DISK = 0x40480923, 0x40140921
RUN_ARRAY, STOP_ARRAY = 0x400C0930, 0x0932
NEW_ARRAY = "/sys/module/md_mod/parameters/new_array"
SYS = "/sys/class/block"
NO_ROLE = 0xFFF0  # a spare, a failed disk or a journal has a role from here on


class Member:
    """device: path; array: its identity (16 bytes); minor: of the superblock's version 1.x.

    active: how many members the array had when this one was last written.
    """

    __slots__ = ("device", "array", "minor", "active")

    def __init__(self, device: str, array: bytes, minor: int, active: int) -> None:
        self.device = device
        self.array = array
        self.minor = minor
        self.active = active


def read_member(device: str) -> Member | None:
    """What the superblock on a device says, None without one of version 1. Raises OSError."""
    with open(device, "rb", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        for minor, place in ((2, 4096), (1, 0), (0, at_end(size))):
            file.seek(place)
            block = file.read(4096)
            if block[:8] == RAID_MAGIC and len(block) >= 256:
                (count,) = struct.unpack_from("<I", block, 220)
                roles = struct.unpack_from(f"<{min(count, 384)}H", block, 256)
                active = len({role for role in roles if role < NO_ROLE})
                return Member(device, block[16:32], minor, active)
    return None


def start(members: list[Member]) -> str:
    """Start the array of these members; its path. Raises OSError; then nothing is started."""
    kernelmodules.load(["md_mod"])
    number = next(n for n in range(128) if not os.path.exists(f"{SYS}/md{n}"))
    with open(NEW_ARRAY, "w") as file:
        file.write(f"md{number}")
    path = f"/dev/md{number}"
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        # no number of disks: the superblocks tell
        info = struct.pack("=18i", 1, members[0].minor, *[0] * 16)
        fcntl.ioctl(descriptor, SET_ARRAY_INFO, info)
        for member in members:
            number = os.stat(member.device).st_rdev
            disk = struct.pack("=5i", 0, os.major(number), os.minor(number), 0, 0)
            fcntl.ioctl(descriptor, ADD_NEW_DISK, disk)
        fcntl.ioctl(descriptor, RUN_ARRAY, bytes(12))
    except OSError:
        fcntl.ioctl(descriptor, STOP_ARRAY, 0)
        raise
    finally:
        os.close(descriptor)
    return path


def stop(path: str) -> None:
    """Raises OSError, also when somebody uses it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(descriptor, STOP_ARRAY, 0)
    finally:
        os.close(descriptor)
