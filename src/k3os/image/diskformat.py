"""A raw disk in a hypervisor's format: qemu-img(1), made reproducible.

VMDK and VHD contain a random number and the current time; both are replaced by the caller's values.
Formats: VMware's "Virtual Disk Format 5.0", Microsoft's "Virtual Hard Disk Image Format".
"""

from __future__ import annotations

import re
import struct
import uuid
from pathlib import Path

from k3os.errors import UserError
from k3os.system.run import run

# name -> qemu-img's format name and options
FORMATS: dict[str, tuple[str, ...]] = {
    "raw": (),
    "qcow2": ("-c", "-O", "qcow2"),
    "vmdk": ("-O", "vmdk", "-o", "subformat=streamOptimized"),
    "vhd": ("-O", "vpc", "-o", "subformat=dynamic,force_size=on"),
}
# qemu-img writes this random number without leading zeros
_CID = re.compile(rb"(?<=\nCID=)[0-9a-f]{1,8}(?=\n)")
_DESCRIPTOR = re.compile(rb"# Disk DescriptorFile\n[^\0]*\0{8}")
_VHD_FOOTER = 512
_VHD_TIME, _VHD_SUM, _VHD_ID = 24, 64, 68
# the descriptor of a streamOptimized VMDK is near its start
_VMDK_HEAD = 64 << 10


def convert(raw: Path, kind: str, identity: uuid.UUID) -> Path:
    """The disk in another format, as a file beside it; for "raw" the file itself."""
    if kind == "raw":
        return raw
    target = raw.with_suffix(f".{kind}")
    run(["qemu-img", "convert", "-q", "-f", "raw", *FORMATS[kind], str(raw), str(target)])
    raw.unlink()
    if kind == "vmdk":
        _name_vmdk(target, identity)
    elif kind == "vhd":
        _name_vhd(target, identity)
    return target


def _name_vmdk(path: Path, identity: uuid.UUID) -> None:
    with open(path, "r+b") as file:
        match = _DESCRIPTOR.search(file.read(_VMDK_HEAD))
        number = b"%08x" % (identity.int & 0xFFFFFFFE)
        text, count = _CID.subn(number, match[0].rstrip(b"\0")) if match else (b"", 0)
        if match is None or count != 1 or len(text) > len(match[0]):
            raise UserError("qemu-img made a VMDK that this k3OS does not know", "try qcow2")
        file.seek(match.start())
        file.write(text.ljust(len(match[0]), b"\0"))


def _name_vhd(path: Path, identity: uuid.UUID) -> None:
    """Both copies of the footer; its checksum is the complement of the sum of its bytes."""
    with open(path, "r+b") as file:
        for position in (0, path.stat().st_size - _VHD_FOOTER):
            file.seek(position)
            footer = bytearray(file.read(_VHD_FOOTER))
            if not footer.startswith(b"conectix"):
                raise UserError("qemu-img made a VHD that this k3OS does not know", "try qcow2")
            footer[_VHD_TIME : _VHD_TIME + 4] = bytes(4)
            footer[_VHD_ID : _VHD_ID + 16] = identity.bytes
            footer[_VHD_SUM : _VHD_SUM + 4] = bytes(4)
            struct.pack_into(">I", footer, _VHD_SUM, ~sum(footer) & 0xFFFFFFFF)
            file.seek(position)
            file.write(footer)
