"""The libraries that an ELF file needs, and the file without debugging data.

Formats: elf(5), ld.so(8).
"""

from __future__ import annotations

import io
import struct

from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile

MAGIC = b"\x7fELF"
# in a 64-bit header: offset of the section headers; their size, their number, that of their names
SECTIONS_AT, SECTIONS = 40, 58


def needed_libraries(data: bytes) -> set[str]:
    """The names in the DT_NEEDED entries; none if it is not an ELF file."""
    if not data.startswith(MAGIC):
        return set()
    return {
        str(tag.needed)  # type: ignore[attr-defined]
        for segment in ELFFile(io.BytesIO(data)).iter_segments("PT_DYNAMIC")
        if isinstance(segment, DynamicSegment)
        for tag in segment.iter_tags("DT_NEEDED")
    }


def stripped(data: bytes) -> bytes:
    """A program or library without debugging data and section headers, which follow everything
    that is loaded. Anything but a 64-bit little-endian ELF file stays unchanged."""
    if data[:6] != MAGIC + b"\x02\x01":
        return data
    segments = ELFFile(io.BytesIO(data)).iter_segments()
    end = max(segment["p_offset"] + segment["p_filesz"] for segment in segments)
    header = bytearray(data[:end])
    struct.pack_into("<Q", header, SECTIONS_AT, 0)
    struct.pack_into("<HHH", header, SECTIONS, 0, 0, 0)
    return bytes(header)
