"""Whether firmware can read a FAT file system, by its boot sector: Linux accepts more.

Format: Microsoft's "FAT: General Overview of On-Disk Format", 1.03, which the UEFI specification
(13.3) refers to. It only reads.
"""

from __future__ import annotations

import struct

# only the number of clusters determines the type of FAT
FEWEST_OF_FAT16, FEWEST_OF_FAT32 = 4085, 65525
SIGNATURE = b"\x55\xaa"


def problem(device: str, sector: int) -> str:
    """Why firmware cannot read the FAT on a device, "" if it can.

    sector: bytes per logical sector of the disk. Raises OSError.
    """
    with open(device, "rb", buffering=0) as file:
        boot = file.read(4096)  # the smallest read that works on every disk
    if len(boot) < 512 or boot[510:512] != SIGNATURE:
        return "it has no FAT file system"
    size, per_cluster, reserved, tables, root_entries, small_total = struct.unpack_from(
        "<HBHBHH", boot, 11
    )
    small_table, total, large_table = (
        struct.unpack_from("<H", boot, 22)[0],
        small_total or struct.unpack_from("<I", boot, 32)[0],
        struct.unpack_from("<I", boot, 36)[0],
    )
    if not size or not per_cluster:
        return "it has no FAT file system"
    if size != sector:
        return f"its sectors have {size} bytes, those of the disk {sector}"
    root = -(-root_entries * 32 // size)
    clusters = (total - reserved - tables * (small_table or large_table) - root) // per_cluster
    if small_table == 0 and clusters < FEWEST_OF_FAT32:
        return f"it says it is a FAT32, but has {clusters} clusters, less than {FEWEST_OF_FAT32}"
    if small_table and clusters >= FEWEST_OF_FAT32:
        return f"it says it is a FAT16, but has {clusters} clusters, {FEWEST_OF_FAT32} or more"
    return ""
