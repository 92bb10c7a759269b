"""Partitions and file systems: sfdisk(8), mke2fs(8), mkfs.vfat(8).

Only `partition` and the two `make_*` write; devices come from a plan, which has checked them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable

from k3os.errors import UserError
from k3os.generation.layout import EFI_LABEL
from k3os.install.plan import MIB, Partition
from k3os.system import disks
from k3os.system.blockdev import probe
from k3os.system.disks import Device
from k3os.system.run import CommandError, run

APPEAR_SECONDS = 20
# until the end: a disk with this label does not count as installed
UNFINISHED_LABEL = "K3OS_UNFINISHED"
# unknown to older GRUBs, including that of a remastered ISO
EXT4_FEATURES = "^metadata_csum_seed,^orphan_file"


def script(layout: Iterable[Partition], name: Callable[[str], str] | None = None) -> str:
    """sfdisk's input: a GPT with the partitions in sequence, aligned to 1 MiB.

    name: returns the UUID of the "disk" and of each partition, by its name; default: random.
    """
    lines = ["label: gpt"]
    if name is not None:
        lines.append(f"label-id: {name('disk')}")
    for part in layout:
        size = f"size={part.size // MIB}MiB, " if part.size else ""
        uuid = f"uuid={name(part.name)}, " if name is not None else ""
        lines.append(f'{size}{uuid}type={part.kind}, name="k3os-{part.name}"')
    return "\n".join(lines) + "\n"


def partition(disk: Device, layout: tuple[Partition, ...]) -> dict[str, Device]:
    """Write the partition table, which erases the disk; returns the new partitions by name."""
    # first of all, an installed system is no longer recognized as one
    for name in (*disk.partitions, disk.name):
        run(["wipefs", "--all", "--quiet", f"/dev/{name}"])
    command = ["sfdisk", "--quiet", "--lock", "--wipe", "always", "--wipe-partitions", "always"]
    run([*command, disk.path], stdin=script(layout).encode())
    _wait_for_udev()
    names = _wait_for_partitions(disk, len(layout))
    return {part.name: disks.describe(name) for part, name in zip(layout, names, strict=True)}


def _wait_for_udev() -> None:
    """Wait for udev, which makes the kernel reread a new table: partitions go and come back."""
    try:
        run(["udevadm", "settle", f"--timeout={APPEAR_SECONDS}"], check=False)
    except CommandError as error:
        if error.returncode != 127:  # without udev, nothing rereads the table
            raise


def _wait_for_partitions(disk: Device, count: int) -> tuple[str, ...]:
    """The kernel's names of the new partitions, which appear a moment after the table."""
    end = time.monotonic() + APPEAR_SECONDS
    while True:
        names = disks.partitions(disk.name)
        if len(names) == count and all(os.path.exists(f"/dev/{name}") for name in names):
            return names
        if time.monotonic() >= end:
            raise UserError(
                f"the kernel does not show the new partitions of {disk.path}",
                "reboot and install again",
            )
        time.sleep(0.1)


MAKE_STATE = ("mke2fs", "-q", "-F", "-t", "ext4", "-m", "1", "-O", EXT4_FEATURES)
MAKE_EFI = ("mkfs.vfat", "-F", "32", "-s", "1", "-n", EFI_LABEL)


def make_state(device: Device) -> None:
    """An empty ext4 without the label of an installed system."""
    run([*MAKE_STATE, "-L", UNFINISHED_LABEL, device.path])


def make_efi(device: Device) -> None:
    run([*MAKE_EFI, device.path])


def set_label(device: Device, label: str) -> None:
    run(["e2label", device.path, label])


def uuid(device: Device) -> str:
    """The UUID of the device's ext4 file system."""
    return probe(device.path).uuid
