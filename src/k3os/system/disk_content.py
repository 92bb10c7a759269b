"""What a disk holds, whoever wrote it: by wipefs(8) and blkid(8), which know all formats, and by
its two ends.

It only reads. A read error is a UserError: such a disk must not be taken for an empty one.
"""

from __future__ import annotations

import os

from k3os.errors import UserError

MIB = 1 << 20
# what unused memory and flash contain
BLANK = (b"\0", b"\xff")
PROGRAM_SECONDS = 60
# exit code of blkid(8): nothing matched
NOTHING_FOUND = 2


class Signature:
    """A format's mark on a device: kind ("ext4", "gpt", "crypto_LUKS"), label and uuid, or ""."""

    __slots__ = ("device", "kind", "label", "uuid")

    def __init__(self, device: str, kind: str, label: str = "", uuid: str = "") -> None:
        self.device = device
        self.kind = kind
        self.label = label
        self.uuid = uuid

    def __str__(self) -> str:
        return f"{self.kind} {self.label!r}" if self.label else self.kind


def signatures(device: str) -> list[Signature]:
    """Every mark on a device, without duplicates. Raises UserError."""
    from k3os.system.run import CommandError, run

    command = ["wipefs", "--json", "--output", "TYPE,LABEL,UUID", device]
    try:
        return marks_in(device, run(command, timeout=PROGRAM_SECONDS, errors_apart=True))
    except CommandError as error:
        raise UserError(f"{device} cannot be read: {error}") from error
    except ValueError as error:
        raise UserError(f"wipefs says of {device} what nobody understands: {error}") from error


def marks_in(device: str, output: bytes) -> list[Signature]:
    """Parse the output of wipefs --json. Raises ValueError."""
    from k3os.system.json_text import an_object

    listed = an_object(output).get("signatures") if output.strip() else []
    if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
        raise ValueError("there is no list of signatures")
    found = [
        Signature(device, *(str(each.get(name) or "") for name in ("type", "label", "uuid")))
        for each in listed
    ]
    return list({(each.kind, each.label, each.uuid): each for each in found}.values())


def carriers(tag: str, text: str) -> list[Signature]:
    """Everything on any device with that LABEL or UUID. Raises UserError."""
    from k3os.system.run import CommandError, run

    # without the cache, which may be older than the disks
    command = ["blkid", "-c", "/dev/null", "-o", "export", "-t", f"{tag}={text}"]
    try:
        return carriers_in(run(command, timeout=PROGRAM_SECONDS))
    except CommandError as error:
        if error.returncode == NOTHING_FOUND:
            return []
        raise UserError(f"the disks cannot be looked through: {error}") from error


def carriers_in(output: bytes) -> list[Signature]:
    """Parse the output of blkid -o export."""
    found = []
    for block in output.decode(errors="replace").split("\n\n"):
        fields = dict(line.partition("=")[::2] for line in block.splitlines())
        if "DEVNAME" in fields:
            named = (fields.get(name, "") for name in ("TYPE", "LABEL", "UUID"))
            found.append(Signature(fields["DEVNAME"], *named))
    return found


def is_blank(device: str) -> bool:
    """Whether nobody seems to have written to a device: its first and its last MiB each consist of
    one repeated byte of BLANK. Raises OSError."""
    with open(device, "rb", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        ends = [os.pread(file.fileno(), MIB, place) for place in (0, max(0, size - MIB))]
    return all(end in [byte * len(end) for byte in BLANK] for end in ends)


def is_unfinished(device: str) -> bool:
    """Whether a device starts with an XFS whose mkfs did not finish (sb_inprogress of its
    superblock, fs/xfs/libxfs/xfs_format.h). Raises OSError."""
    with open(device, "rb", buffering=0) as file:
        head = file.read(512)
    return head[:4] == b"XFSB" and head[126:127] == b"\1"


def emptying(device: str, size: int) -> str:
    """The commands that make a device of size bytes blank (blkdiscard(8), -z: zeros)."""
    ends = [f"sudo blkdiscard -fz -l {MIB} {device}"]
    if size > MIB:
        ends.append(f"sudo blkdiscard -fz -o {size - MIB} {device}")
    return "; ".join([f"sudo wipefs -a {device}", *ends])
