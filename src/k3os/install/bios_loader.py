"""The boot loader for BIOS on a disk: GRUB's core.

This does the work of grub-bios-setup in a few lines, so that an image file needs neither that
program nor root. Fields: include/grub/i386/pc/boot.h and diskboot.S in GRUB's sources.
"""

from __future__ import annotations

import os
import struct

from k3os.errors import UserError

SECTOR = 512
BOOT_CODE = 440  # bytes of the MBR for boot code
KERNEL_SECTOR, BOOT_DRIVE, DRIVE_CHECK = 0x5C, 0x64, 0x66
THE_BIOS_DRIVE = 0xFF
NO_OPERATIONS = b"\x90\x90"
# diskboot.img's block list: one entry, at the end of the core's first sector
BLOCK_LIST = SECTOR - 12
LOAD_SEGMENT = 0x820


def boot_sector(code: bytes, core_sector: int) -> bytes:
    """The first BOOT_CODE bytes of the MBR, which load the sector at core_sector."""
    sector = bytearray(code[:BOOT_CODE])
    struct.pack_into("<Q", sector, KERNEL_SECTOR, core_sector)
    sector[BOOT_DRIVE] = THE_BIOS_DRIVE
    # a hard disk needs no check of the drive number, and some BIOSes report a wrong one
    sector[DRIVE_CHECK : DRIVE_CHECK + 2] = NO_OPERATIONS
    return bytes(sector)


def located_core(core: bytes, core_sector: int) -> bytes:
    """The core image with its location, in one piece from core_sector on."""
    sectors = -(-len(core) // SECTOR)
    image = bytearray(core.ljust(sectors * SECTOR, b"\0"))
    struct.pack_into("<QHH", image, BLOCK_LIST, core_sector + 1, sectors - 1, LOAD_SEGMENT)
    return bytes(image)


def embed(disk: str, loaders: str, start: int, room: int) -> None:
    """Write GRUB for BIOS onto a disk (or image file): the core, then the boot code that loads it.

    If there is room for two cores, the one in use is not overwritten, so that a power cut always
    leaves one. start, room: of the BIOS boot partition, in bytes. Raises UserError, OSError.
    """
    with open(f"{loaders}/boot.img", "rb") as file:
        code = file.read()
    with open(f"{loaders}/core.img", "rb") as file:
        plain = file.read()
    size = -(-len(plain) // SECTOR) * SECTOR
    if size > room:
        raise UserError(
            f"the boot loader needs {size >> 10} KiB, but there are {room >> 10} KiB for it",
            "let the installer partition the disk",
        )
    # buffered: a disk with larger sectors rejects reads and writes of 512 bytes
    with open(disk, "r+b") as target:
        half = room // 2 // SECTOR * SECTOR
        started = struct.unpack_from("<Q", target.read(SECTOR), KERNEL_SECTOR)[0]
        if size <= half and started == start // SECTOR:
            start += half
        core = located_core(plain, start // SECTOR)
        target.seek(start)
        target.write(core)
        target.flush()
        os.fsync(target.fileno())
        target.seek(0)
        target.write(boot_sector(code, start // SECTOR))
        target.flush()
        os.fsync(target.fileno())
