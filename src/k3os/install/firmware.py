"""UEFI's own list of what boots, in the machine's NVRAM: an entry for k3OS, the first in BootOrder.

efibootmgr(8) reads and writes it (UEFI specification, 3.1). Without an entry the firmware has to
look for the fallback path on the disk by itself, which not every one does. That the list cannot be
written is no reason to stop an installation.
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
    """An entry for each EFI partition, those of former installations removed; lines for a person.

    arch: of the loaders, as Debian calls it.
    """
    if not os.path.isdir(VARIABLES) or not os.listdir(VARIABLES):
        return []  # started by a BIOS, or where the list cannot be seen
    try:
        listing = run(["efibootmgr"]).decode(errors="replace")
        own = {uuid for each in partitions for uuid in partition_uuids(each.path)}
        for number in stale(listing, partition_uuids() - own):
            run(["efibootmgr", "--quiet", "--bootnum", number, "--delete-bootnum"])
        # each becomes the first: the first disk's comes last
        for partition in reversed(partitions):
            command = ["efibootmgr", "--quiet", "--create", "--label", LABEL]
            command += ["--disk", f"/dev/{partition.disk}", "--part", str(partition.number)]
            run([*command, "--loader", f"\\EFI\\BOOT\\{FALLBACK[arch]}"])
    except CommandError as error:
        return [f"the firmware's boot list was left as it is: {error}; it may find the disk itself"]
    return [f"the firmware's boot list has {LABEL} in the first place"]


def stale(listing: str, known: set[str]) -> list[str]:
    """Numbers of our entries whose partition is not one of the known ones.

    listing: what efibootmgr prints; known: UUIDs, in small letters.
    """
    found = []
    for number, label, path in ENTRY.findall(listing):
        partition = PARTITION.search(path)
        if label == LABEL and partition and partition[1].lower() not in known:
            found.append(number)
    return found


def partition_uuids(*devices: str) -> set[str]:
    """UUIDs of these partitions, or of all, as lsblk(8) knows them. Raises CommandError."""
    listing = run(["lsblk", "-rno", "PARTUUID", *devices]).decode(errors="replace")
    return set(listing.lower().split())
