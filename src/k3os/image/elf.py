"""What an ELF file asks its dynamic linker for (elf(5), ld.so(8))."""

from __future__ import annotations

import io

from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile


def needed_libraries(data: bytes) -> set[str]:
    """The names in the DT_NEEDED entries; none for what is no ELF file."""
    if not data.startswith(b"\x7fELF"):
        return set()
    section = ELFFile(io.BytesIO(data)).get_section_by_name(".dynamic")
    if not isinstance(section, DynamicSection):
        return set()
    return {str(tag.needed) for tag in section.iter_tags("DT_NEEDED")}  # type: ignore[attr-defined]
