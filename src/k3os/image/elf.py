"""What an ELF file asks its dynamic linker for, and the file without what only people read.

Formats: elf(5), ld.so(8).
"""

from __future__ import annotations

import io
import struct

from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile

MAGIC = b"\x7fELF"
# of a 64-bit header: where the section headers are; their size, number, and that of the names
SECTIONS_AT, SECTIONS = 40, 58


def needed_libraries(data: bytes) -> set[str]:
    """The names in the DT_NEEDED entries; none for what is no ELF file."""
    if not data.startswith(MAGIC):
        return set()
    return {
        str(tag.needed)  # type: ignore[attr-defined]
        for segment in ELFFile(io.BytesIO(data)).iter_segments("PT_DYNAMIC")
        if isinstance(segment, DynamicSegment)
        for tag in segment.iter_tags("DT_NEEDED")
    }


def stripped(data: bytes) -> bytes:
    """A program or library without debugging data and section headers, which come after all
    that is loaded. What is no 64-bit little-endian ELF file stays as it is."""
    if data[:6] != MAGIC + b"\x02\x01":
        return data
    segments = ELFFile(io.BytesIO(data)).iter_segments()
    end = max(segment["p_offset"] + segment["p_filesz"] for segment in segments)
    header = bytearray(data[:end])
    struct.pack_into("<Q", header, SECTIONS_AT, 0)
    struct.pack_into("<HHH", header, SECTIONS, 0, 0, 0)
    return bytes(header)
