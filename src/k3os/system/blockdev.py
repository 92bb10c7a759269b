"""What block devices there are and what file system each one carries.

It only reads, and little: anyone may have written these headers. An invalid one is a BadHeader, as
in system/raid.py and system/lvm.py, and only affects that device. Formats: ext4 superblock (kernel
Documentation/filesystems/ext4/super.rst), ISO 9660 primary volume descriptor (ECMA-119, 8.4), FAT
boot sector (EFI FAT specification), UDF volume recognition sequence (ECMA-167, part 2, 9.2; its
label is not read). Members of RAID and LVM have the names that blkid(8) gives them. UUIDs are
written like GRUB and blkid(8) write them.
"""

import os
import struct

from k3os.system.numbers import are_digits

TYPE_CHECKING = False
if TYPE_CHECKING:
    import io

SYS_BLOCK = "/sys/class/block"
LVM_MEMBER, RAID_MEMBER = "LVM2_member", "linux_raid_member"
RAID_MAGIC = b"\xfc\x4e\x2b\xa9\x01\0\0\0"  # including the version, 1
OLD_RAID_MAGIC = RAID_MAGIC[:4]
HEAD = 8192
# the part of it that is contiguous even if pieces of 4 KiB are striped over disks
FIRST_PIECE = 4096
INCOMPAT_64BIT = 0x80
VOLUME_PLACE, VOLUME_SIZE = 32768, 2048
# offsets of the volume's serial number in both kinds of FAT boot sectors; of an ISO's change date
FAT32_SERIAL, FAT_SERIAL = 67, 39
ISO_DATE = slice(830, 846)
LARGEST_DEVICE = 2**63 - 1
# names that never carry a medium: our loop devices, RAM disks, floppies (a probe takes seconds)
_SKIPPED = ("loop", "ram", "fd", "zram", "nbd")


class BadHeader(ValueError):
    """Looks like a known header, but is not a valid one."""


class FileSystem:
    """A block device's file system: device ("/dev/sda1"), kind ("ext4", …, ""), label.

    uuid: for ext4, ISO 9660 and FAT; "" for others.
    """

    __slots__ = ("device", "kind", "label", "uuid")

    def __init__(self, device: str, kind: str, label: str, uuid: str = "") -> None:
        self.device = device
        self.kind = kind
        self.label = label
        self.uuid = uuid

    def __str__(self) -> str:
        what = f"{self.kind} {self.label!r}" if self.label else self.kind or "nothing we know"
        return f"{self.device} ({what})"


def block_devices() -> list[str]:
    """Device names ("sda1"), partitions included, in the kernel's order."""
    try:
        names = os.listdir(SYS_BLOCK)
    except FileNotFoundError:
        return []
    return sorted(name for name in names if not name.startswith(_SKIPPED))


def holders(device: str) -> list[str]:
    """Names of the devices that are built on this one."""
    try:
        return sorted(os.listdir(f"{SYS_BLOCK}/{device.rpartition('/')[2]}/holders"))
    except OSError:
        return []


def disk_of(device: str) -> str:
    """The disk of a partition, by name ("sda"); otherwise the device itself."""
    name = device.rpartition("/")[2]
    if not os.path.exists(f"{SYS_BLOCK}/{name}/partition"):
        return name
    return os.path.basename(os.path.dirname(os.path.realpath(f"{SYS_BLOCK}/{name}")))


def probe(device: str) -> FileSystem:
    """What a device carries; kind "" if unknown. Raises OSError (no medium, I/O error)."""
    with open(device, "rb", buffering=0) as file:
        head = os.pread(file.fileno(), HEAD, 0)
        volume = os.pread(file.fileno(), VOLUME_SIZE, VOLUME_PLACE)
        kind, label = identify(head, volume)
        if kind == "ext4" and _is_mirrored(file, ext4_size(head)):
            kind, label = RAID_MEMBER, ""
    return FileSystem(device, kind, label, uuid_of(kind, head, volume))


def peek(device: str, offset: int) -> FileSystem:
    """What starts at an offset of a device, judging by its first 4 KiB: a piece of an array or of a
    logical volume. Raises OSError, BadHeader."""
    if not 0 <= offset <= LARGEST_DEVICE - FIRST_PIECE:
        raise BadHeader(f"{device} says that its data begins at {offset}")
    with open(device, "rb", buffering=0) as file:
        head = os.pread(file.fileno(), FIRST_PIECE, offset)
    kind, label = identify(head, b"")
    return FileSystem(device, kind, label, uuid_of(kind, head, b""))


def at_end(size: int) -> int:
    """Where RAID metadata of version 1.0 starts on a device of size bytes."""
    return max(0, (size // 512 - 16) // 8 * 8 * 512)


def _is_mirrored(file: "io.FileIO", used: int) -> bool:
    """Whether what looks like a file system is half of a mirror, whose metadata 1.0 or 0.90 is at
    the end. Such a half must not be written to by itself.

    used: bytes of the file system. On a mirror it ends before the metadata; metadata inside of it
    is left over from an earlier use.
    """
    size = file.seek(0, os.SEEK_END)
    for place, magic in (
        (at_end(size), RAID_MAGIC),
        (max(0, size // 65536 * 65536 - 65536), OLD_RAID_MAGIC),
    ):
        if used <= place and os.pread(file.fileno(), len(magic), place) == magic:
            return True
    return False


def ext4_size(head: bytes) -> int:
    """Bytes of the ext4 file system that starts with head (HEAD bytes), by its superblock."""
    head = head.ljust(HEAD, b"\0")
    low, log_size, incompat, high = (
        struct.unpack_from("<I", head, 1024 + offset)[0] for offset in (0x4, 0x18, 0x60, 0x150)
    )
    return int((low | (high << 32 if incompat & INCOMPAT_64BIT else 0)) << (10 + log_size % 32))


def identify(head: bytes, volume: bytes) -> tuple[str, str]:
    """(kind, label) from the first HEAD bytes and the 2048 bytes at 32768; ("", "") if unknown.

    Members of RAID and LVM are checked first, since they may look like a file system, too.
    """
    if RAID_MAGIC in (head[:8], head[4096:4104]):
        return RAID_MEMBER, ""
    if any(head[at : at + 8] == b"LABELONE" for at in (0, 512, 1024, 1536)):
        return LVM_MEMBER, ""
    if volume[1:6] == b"CD001" and volume[:1] == b"\x01":
        return "iso9660", _text(volume[40:72])
    if volume[1:6] == b"BEA01":
        return "udf", ""
    if head[1080:1082] == b"\x53\xef":
        return "ext4", _text(head[1144:1160])
    if head[510:512] == b"\x55\xaa" and head[82:87] == b"FAT32":
        return "vfat", _text(head[71:82])
    if head[510:512] == b"\x55\xaa" and head[54:57] == b"FAT":
        return "vfat", _text(head[43:54])
    return "", ""


def _text(data: bytes) -> str:
    return data.partition(b"\0")[0].decode("utf-8", "replace").strip()


def uuid_of(kind: str, head: bytes, volume: bytes) -> str:
    """The UUID of a file system that identify() knows, "" for none. For an ISO it is the date of
    its last change, for FAT the volume's serial number."""
    if kind == "ext4":
        text = head[1024 + 0x68 : 1024 + 0x78].hex()
        return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
    if kind == "iso9660":
        if len(volume[ISO_DATE]) != 16 or not are_digits(volume[ISO_DATE]):
            return ""
        text = volume[ISO_DATE].decode()
        return "-".join((text[:4], *(text[at : at + 2] for at in range(4, 16, 2))))
    if kind == "vfat":
        place = FAT32_SERIAL if head[82:87] == b"FAT32" else FAT_SERIAL
        text = head[place : place + 4][::-1].hex().upper()
        return f"{text[:4]}-{text[4:]}"
    return ""
