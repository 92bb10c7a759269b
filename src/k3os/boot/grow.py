"""Growing the state partition and its file system into a disk that became larger.

`gain` is cheap and read-only: PID 1 calls it. `grow` works on the mounted file system, with
sfdisk(8), partx(8) and resize2fs(8). Formats: UEFI specification 5.2, 5.3 (MBR, GPT).
"""

import os

from k3os.system import blockdev
from k3os.system.run import run

SYS = "/sys/class/block"
WORTHWHILE = 64 << 20  # bytes
SECTOR = 512  # unit of sysfs, whatever the disk's sector size is
# for the second partition table at the end of the disk, and for alignment
RESERVED = 1 << 20
GPT_MAGIC = b"EFI PART"
MBR_MAGIC, MBR_TABLE, MBR_ENTRY, MBR_PRIMARY = b"\x55\xaa", 446, 16, 4
MBR_LARGEST = (1 << 32) * SECTOR  # MBR entries have 32-bit sector numbers
MBR_CONTAINERS = (0x05, 0x0F, 0x85, 0xEE)  # extended partitions, and a GPT's protective MBR
# bytes of the backup GPT's entries at the end of a disk, before its one-sector header
GPT_ENTRIES = 16 << 10
# metadata of RAID and ZFS is at the end of a partition
TAIL = 2 << 20


def gain(device: str) -> int:
    """Bytes that growing would add; 0 if none, or if the layout is unknown to us."""
    try:
        return partition_gain(device) + max(0, device_size(device) - file_system_size(device))
    except (OSError, ValueError):
        return 0


def partition_gain(device: str) -> int:
    """Free bytes after the last partition of a disk; 0 for another partition or an unknown table.

    Known are GPT, and MBR with primary partitions only.
    """
    disk, number = disk_of(device)
    limit = device_size(disk) - RESERVED
    if not number:
        return 0
    if not has_gpt(f"/dev/{disk}"):
        if not has_simple_mbr(f"/dev/{disk}"):
            return 0
        limit = min(limit, MBR_LARGEST)
    ends = {}
    for name in os.listdir(f"{SYS}/{disk}"):
        if os.path.exists(f"{SYS}/{disk}/{name}/partition"):
            start = _number(f"{SYS}/{disk}/{name}/start")
            ends[name] = (start + _number(f"{SYS}/{disk}/{name}/size")) * SECTOR
    end = ends[_name(device)]
    return max(0, limit - end) if end == max(ends.values()) else 0


def disk_of(device: str) -> tuple[str, int]:
    """The disk's name ("nvme0n1") and the partition's number, 0 if it is not a partition."""
    name = _name(device)
    if not os.path.exists(f"{SYS}/{name}/partition"):
        return name, 0
    parent = os.path.dirname(os.path.realpath(f"{SYS}/{name}"))
    return os.path.basename(parent), _number(f"{SYS}/{name}/partition")


def device_size(device: str) -> int:
    return _number(f"{SYS}/{_name(device)}/size") * SECTOR


def has_gpt(disk: str) -> bool:
    with open(disk, "rb", buffering=0) as file:
        head = file.read(8192)
    return GPT_MAGIC in (head[512:520], head[4096:4104])


def has_simple_mbr(disk: str) -> bool:
    """Whether the disk has an MBR with primary partitions only."""
    with open(disk, "rb", buffering=0) as file:
        head = file.read(SECTOR).ljust(SECTOR, b"\0")
    table = head[MBR_TABLE : MBR_TABLE + MBR_PRIMARY * MBR_ENTRY]
    kinds = {table[offset + 4] for offset in range(0, len(table), MBR_ENTRY)}
    return head[510:512] == MBR_MAGIC and kinds != {0} and kinds.isdisjoint(MBR_CONTAINERS)


def file_system_size(device: str) -> int:
    """Bytes of an ext4 file system, from its superblock."""
    with open(device, "rb", buffering=0) as file:
        head = file.read(blockdev.HEAD)
    if blockdev.identify(head, b"")[0] != "ext4":
        raise ValueError(f"{device} is not ext4")
    return blockdev.ext4_size(head)


def usable_end(disk: str, size: int, sector: int) -> int:
    """Where the last partition of a disk may end. size, sector: bytes of disk, logical sector."""
    return size - sector - GPT_ENTRIES if has_gpt(disk) else min(size, MBR_LARGEST)


def wipe_tail(disk: str, begin: int, end: int) -> None:
    """Zero the last bytes of the space that a partition is about to get, [begin, end) of the disk.

    Old data there may say that the partition is part of a RAID; the next boot would believe it.
    Raises OSError.
    """
    with open(disk, "r+b", buffering=0) as file:
        file.seek(max(begin, end - TAIL))
        file.write(bytes(end - file.tell()))
        os.fsync(file.fileno())


def grow(device: str) -> None:
    """Grow the partition, then its mounted file system. Raises CommandError, OSError."""
    disk, number = disk_of(device)
    if partition_gain(device) > 0:
        begin = _number(f"{SYS}/{_name(device)}/start") * SECTOR + device_size(device)
        sector = _number(f"{SYS}/{disk}/queue/logical_block_size")
        wipe_tail(f"/dev/{disk}", begin, usable_end(f"/dev/{disk}", device_size(disk), sector))
        # only the table: partx tells the kernel, since the disk is in use
        command = ["sfdisk", "--no-reread", "--no-tell-kernel", "--quiet", "-N", str(number)]
        run([*command, f"/dev/{disk}"], stdin=b", +\n")
        run(["partx", "--update", "--nr", str(number), f"/dev/{disk}"])
    run(["resize2fs", device])


def _name(device: str) -> str:
    return os.path.basename(os.path.realpath(device)) if device.startswith("/") else device


def _number(path: str) -> int:
    with open(path, errors="replace") as file:
        return int(file.read())
