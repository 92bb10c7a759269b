"""What block devices there are and what file system each one carries.

It only reads. Formats: ext4 superblock (kernel Documentation/filesystems/ext4/super.rst),
ISO 9660 primary volume descriptor (ECMA-119, 8.4), FAT boot sector (EFI FAT specification), UDF
volume recognition sequence (ECMA-167, part 2, 9.2; its label is not read).
"""

import os

SYS_BLOCK = "/sys/class/block"
# names that never carry a medium: loops of ours, RAM disks, floppies (a probe costs seconds)
_SKIPPED = ("loop", "ram", "fd", "zram", "nbd")


class FileSystem:
    """A block device's file system: device ("/dev/sda1"), kind ("ext4", …, ""), label.

    uuid: of an ext4, in the usual form; "" for others.
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


def probe(device: str) -> FileSystem:
    """What a device carries; kind "" when unknown. Raises OSError (no medium, I/O error)."""
    with open(device, "rb", buffering=0) as file:
        head = file.read(2048)
        file.seek(32768)
        volume = file.read(2048)
    kind, label = identify(head, volume)
    return FileSystem(device, kind, label, _uuid(head) if kind == "ext4" else "")


def identify(head: bytes, volume: bytes) -> tuple[str, str]:
    """(kind, label) from the first 2048 bytes and the 2048 bytes at 32768; ("", "") if unknown."""
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


def _uuid(head: bytes) -> str:
    """s_uuid of an ext4's superblock."""
    text = head[1024 + 0x68 : 1024 + 0x78].hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
