"""UEFI's boot list in the machine's NVRAM: add an entry for k3OS, first in BootOrder.

efibootmgr(8) reads and writes it (UEFI specification, 3.1). Without an entry, the firmware must
find the fallback path on the disk by itself, which not all can. If the list cannot be written, the
installation continues.
"""

from __future__ import annotations

import os
import re

from k3os.system.disks import Device
from k3os.system.run import CommandError, run

LABEL = "k3OS"
VARIABLES = "/sys/firmware/efi/efivars"
# the fallback path: UEFI specification, 3.5.1.1
FALLBACK = {"amd64": "BOOTX64.EFI", "arm64": "BOOTAA64.EFI"}
ENTRY = re.compile(r"^Boot([0-9A-Fa-f]{4})\*?\s+(.*?)(?:\t(.*))?$", re.MULTILINE)
PARTITION = re.compile(r"HD\(\d+,GPT,([0-9a-f-]{36})", re.IGNORECASE)


def add_entries(partitions: tuple[Device, ...], arch: str) -> list[str]:
    """Add an entry for each EFI partition, remove those of former installations; lines to print.

    arch: of the loaders, in Debian's names.
    """
    if not os.path.isdir(VARIABLES) or not os.listdir(VARIABLES):
        return []  # booted by a BIOS, or the list is not accessible
    try:
        listing = run(["efibootmgr"]).decode(errors="replace")
        own = {uuid for each in partitions for uuid in partition_uuids(each.path)}
        for number in stale(listing, partition_uuids() - own):
            run(["efibootmgr", "--quiet", "--bootnum", number, "--delete-bootnum"])
        # each new entry becomes the first, so the first disk's is added last
        for partition in reversed(partitions):
            command = ["efibootmgr", "--quiet", "--create", "--label", LABEL]
            command += ["--disk", f"/dev/{partition.disk}", "--part", str(partition.number)]
            run([*command, "--loader", f"\\EFI\\BOOT\\{FALLBACK[arch]}"])
    except CommandError as error:
        return [f"the firmware's boot list was left as it is: {error}; it may find the disk itself"]
    return [f"the firmware's boot list has {LABEL} in the first place"]


def stale(listing: str, known: set[str]) -> list[str]:
    """Numbers of our entries whose partition is not in known.

    listing: output of efibootmgr; known: UUIDs in lower case.
    """
    found = []
    for number, label, path in ENTRY.findall(listing):
        partition = PARTITION.search(path)
        if label == LABEL and partition and partition[1].lower() not in known:
            found.append(number)
    return found


def partition_uuids(*devices: str) -> set[str]:
    """UUIDs of these partitions, or of all, according to lsblk(8). Raises CommandError."""
    listing = run(["lsblk", "-rno", "PARTUUID", *devices]).decode(errors="replace")
    return set(listing.lower().split())
