"""Which disks there are, what is on them, and why one must not be written to.

It only reads: sysfs (Documentation/ABI/stable/sysfs-block), proc_pid_mountinfo(5), /proc/swaps.
Names of partitions come from sysfs, never from guessed suffixes.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass

from k3os.errors import UserError
from k3os.system.blockdev import FileSystem, holders, probe
from k3os.system.files import text_of
from k3os.system.numbers import whole

SYS = "/sys/class/block"
# in a chroot of install.sh, our own table does not show the mounts of the machine's system
MOUNTS, OWN_MOUNTS = "/proc/1/mountinfo", "/proc/self/mountinfo"
SWAPS = "/proc/swaps"
SECTOR = 512  # of sysfs, whatever the disk's own is
# never offered by themselves: memory, our own images, drives that cannot be written
_SKIPPED = ("loop", "ram", "zram", "fd", "sr", "nbd", "dm-", "md")


@dataclass(frozen=True)
class Device:
    """A disk or partition: the kernel's name ("nvme0n1p3"), bytes; disk: its disk ("nvme0n1").

    number: of a partition, 0 for a whole disk; start: its offset in bytes.
    partitions: their names, in order. sector: bytes of a logical one, the firmware's unit.
    """

    name: str
    size: int
    disk: str
    number: int = 0
    start: int = 0
    partitions: tuple[str, ...] = ()
    model: str = ""
    serial: str = ""
    read_only: bool = False
    sector: int = SECTOR

    @property
    def path(self) -> str:
        return f"/dev/{self.name}"

    def __str__(self) -> str:
        words = " ".join(word for word in (self.model, self.serial) if word)
        return f"{self.path} ({human(self.size)}{', ' if words else ''}{words})"


@dataclass(frozen=True)
class Mount:
    """A line of proc_pid_mountinfo(5): device number ("8:1"), which part of it is mounted, where;
    the file system's type and source."""

    number: str
    root: str
    target: str
    kind: str
    source: str


def human(size: int) -> str:
    """A size in decimal units, like disks are sold."""
    if size >= 10**9:
        return f"{size / 10**9:.1f} GB"
    return f"{size / 10**6:.0f} MB"


def look_up(path: str) -> Device:
    """The block device of a path (also of a /dev/disk/by-id link). Raises UserError."""
    real = os.path.realpath(path)
    try:
        status = os.stat(real)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}", _there_are(), "device") from None
    if not stat.S_ISBLK(status.st_mode):
        raise UserError(f"{path} is not a block device", _there_are(), "device")
    number = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    name = os.path.basename(os.path.realpath(f"/sys/dev/block/{number}"))
    return describe(name)


def describe(name: str) -> Device:
    """A device as described by sysfs."""
    base = f"{SYS}/{name}"
    number = _number(f"{base}/partition")
    disk = os.path.basename(os.path.dirname(os.path.realpath(base))) if number else name
    return Device(
        name=name,
        size=_number(f"{base}/size") * SECTOR,
        disk=disk,
        number=number,
        start=_number(f"{base}/start") * SECTOR,
        partitions=() if number else partitions(name),
        model=_read(f"{SYS}/{disk}/device/model"),
        serial=_read(f"{SYS}/{disk}/serial") or _read(f"{SYS}/{disk}/device/serial"),
        read_only=_read(f"{base}/ro") == "1",
        sector=_number(f"{SYS}/{disk}/queue/logical_block_size") or SECTOR,
    )


def partitions(disk: str) -> tuple[str, ...]:
    """The names of a disk's partitions in the order of their numbers."""
    numbers = {}
    for name in os.listdir(os.path.realpath(f"{SYS}/{disk}")):
        # it may disappear at any time: udev has a newly written table read again
        number = _number(f"{SYS}/{disk}/{name}/partition")
        if number:
            numbers[name] = number
    return tuple(sorted(numbers, key=lambda name: numbers[name]))


def all_disks() -> list[Device]:
    """Whole disks that a user could mean, including the installation medium."""
    found = []
    for name in sorted(os.listdir(SYS)):
        if name.startswith(_SKIPPED) or os.path.exists(f"{SYS}/{name}/partition"):
            continue
        device = describe(name)
        if device.size:
            found.append(device)
    return found


def disks_below(name: str) -> list[str]:
    """The disks that a partition, array or volume is on."""
    parts = _list(f"{SYS}/{name}/slaves")
    if not parts:
        return [describe(name).disk]
    found = [disk for part in parts for disk in disks_below(part)]
    return list(dict.fromkeys(found))


def file_systems(device: Device) -> list[FileSystem]:
    """What a disk and its partitions carry, as far as we know the formats."""
    found = []
    for name in (device.name, *device.partitions):
        try:
            file_system = probe(f"/dev/{name}")
        except OSError:
            continue
        if file_system.kind:
            found.append(file_system)
    return found


def in_use(device: Device) -> str:
    """Why a device must not be written to, "" if nothing speaks against it."""
    # defined here: changing this module does not rebuild images (k3os.image.sources)
    from k3os.paths import BASE

    names = {device.name, *device.partitions}
    used = mounted()
    for name in sorted(names | {device.disk} if device.number else names):
        targets = used.get(number_of(name), []) or used.get(f"/dev/{name}", [])
        if BASE in targets:
            return f"/dev/{name} is the medium this system runs from"
        if name in names and targets:
            return f"/dev/{name} is mounted at {targets[0]}"
    if device.read_only:
        return f"{device.path} is read-only"
    for name in sorted(names):
        for holder in holders(name):
            kind = "a RAID" if holder.startswith("md") else "LVM or another mapping"
            return f"/dev/{name} is in use by {kind} (/dev/{holder})"
        if f"/dev/{name}" in swaps():
            return f"/dev/{name} is in use as swap"
    if claimed(device):
        return f"{device.path} is in use; `lsblk {device.path}` may say by what"
    return ""


def claimed(device: Device) -> bool:
    """Whether the kernel refuses exclusive use (open(2), O_EXCL) because the device is in use, even
    if no table shows it (other disks of a btrfs, ZFS)."""
    try:
        os.close(os.open(device.path, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
    except OSError as error:
        return error.errno == errno.EBUSY
    return False


def mounts(table: str = "") -> list[Mount]:
    """A mount table; table: by default that of the machine's own system."""
    found = []
    with open(table or MOUNTS, errors="surrogateescape") as file:
        for line in file:
            head, _, tail = line.partition(" - ")
            fields, rest = head.split(), tail.split()
            if len(fields) >= 5 and len(rest) >= 2:
                found.append(Mount(*fields[2:5], *rest[:2]))
    return found


def mounted() -> dict[str, list[str]]:
    """Device number ("8:1") and path to the mount points, in our own and in the system's table."""
    found: dict[str, list[str]] = {}
    for mount in (*mounts(), *mounts(OWN_MOUNTS)):
        names = [mount.number]
        if mount.source.startswith("/dev/"):  # btrfs shows a number that is not a device's
            names.append(os.path.realpath(mount.source))
        for name in names:
            targets = found.setdefault(name, [])
            if mount.target not in targets:
                targets.append(mount.target)
    return found


def swaps(table: str = "") -> set[str]:
    """Devices of proc_swaps(5), links resolved; table: by default the machine's own."""
    try:
        with open(table or SWAPS, errors="surrogateescape") as file:
            return {os.path.realpath(line.split()[0]) for line in file.readlines()[1:]}
    except FileNotFoundError:
        return set()


def _there_are() -> str:
    listed = ", ".join(str(device) for device in all_disks())
    return f"there are: {listed}" if listed else "the kernel sees no disk; `dmesg` may say why"


def number_of(name: str) -> str:
    """A device's number in the form of a mount table ("8:1")."""
    return _read(f"{SYS}/{name}/dev")


def _read(path: str) -> str:
    return text_of(path, "surrogateescape")


def _number(path: str) -> int:
    return whole(_read(path)) or 0


def _list(path: str) -> list[str]:
    try:
        return sorted(os.listdir(path))
    except OSError:
        return []
