"""What an installation will do, decided before anything is written.

`make_plan` refuses with a reason, or returns a record for perform.py to carry out. It inspects the
machine and changes nothing.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from k3os.errors import UserError
from k3os.generation.install_medium import InstallMedium
from k3os.install import fat
from k3os.system import disks
from k3os.system.blockdev import LVM_MEMBER, RAID_MEMBER, holders
from k3os.system.disks import SECTOR, Device
from k3os.system.json_text import WRONG_SHAPE, an_object
from k3os.system.run import CommandError, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MIB = 1 << 20
STATE_LABEL, EFI_LABEL = "K3OS_STATE", "K3OS_GRUB"
# partition types: UEFI specification 5.3.3, systemd's Discoverable Partitions
BIOS_TYPE = "21686148-6449-6E6F-744E-656564454649"
EFI_TYPE = "C12A7328-F81F-11D2-BA4B-00C04F79B27A"
LINUX_TYPE = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
EFI_SIZE = 64 * MIB
# a FAT32 has at least 65,525 clusters, each at least one sector
EFI_SIZE_OF_LARGE_SECTORS = 260 * MIB
# in addition to two generations: ext4's overhead, and a little data
SPARE = 256 * MIB


@dataclass(frozen=True)
class InstallRequest:
    """What a person, or the command line, asks for; "" and False mean not given."""

    device: str = ""
    config_url: str = ""
    no_format: bool = False
    force_efi: bool = False
    tty: str = ""
    debug: bool = False
    # leave the firmware's boot list unchanged
    no_boot_entry: bool = False
    # refuse a disk with an installed system: install mode was only a fallback
    keep_installed: bool = False


@dataclass(frozen=True)
class Partition:
    """A partition to create; size 0: the rest of the disk. label: of its file system."""

    name: str
    kind: str
    size: int
    label: str = ""


LAYOUT = (
    Partition("bios", BIOS_TYPE, MIB),
    Partition("efi", EFI_TYPE, EFI_SIZE, EFI_LABEL),
    Partition("state", LINUX_TYPE, 0, STATE_LABEL),
)


def layout(sector: int) -> tuple[Partition, ...]:
    """The partitions of a disk with logical sectors of that many bytes."""
    if sector == SECTOR:
        return LAYOUT
    return tuple(
        replace(part, size=EFI_SIZE_OF_LARGE_SECTORS) if part.name == "efi" else part
        for part in LAYOUT
    )


@dataclass(frozen=True)
class BiosPlace:
    """Where GRUB for BIOS goes on a disk that keeps its partitions: the disk's path, bytes."""

    disk: str
    start: int
    size: int


@dataclass(frozen=True)
class Plan:
    """disk: the device to partition; None with no_format, which uses the other fields.

    state: the existing partition, array or volume to use. efi, bios: where the boot loaders go, on
    each disk that state is on.
    """

    source: InstallMedium
    config: bytes
    menu: str
    disk: Device | None = None
    state: Device | None = None
    efi: tuple[Device, ...] = ()
    bios: tuple[BiosPlace, ...] = ()
    boot_entry: bool = True

    def lines(self) -> list[str]:
        """The summary for a person, before anything is written."""
        versions = ", ".join(f"{name} {text}" for name, text in self.source.versions.items())
        lines = [f"install {versions}"]
        if self.disk is not None:
            lines.append(f"onto {self.disk}: everything on it is lost")
            lines += [f"  lost: {each}" for each in disks.file_systems(self.disk)]
            if self.disk.sector != SECTOR:
                lines.append(
                    f"  it boots with UEFI only: its sectors have {self.disk.sector} bytes"
                )
        if self.state is not None:
            lines.append(f"into {self.state}, as it is; what it holds is kept")
            lines += [f"  boot loader for UEFI: {each.path}" for each in self.efi]
            lines += [f"  boot loader for BIOS: {each.disk}" for each in self.bios]
        return lines


def make_plan(request: InstallRequest, source: InstallMedium, config: bytes, menu: str) -> Plan:
    """Raises UserError with the reason if this must not be done."""
    if request.no_format:
        return _in_place(request, source, config, menu)
    disk = disks.look_up(request.device) if request.device else the_only_disk(source, request)
    problem = refusal(disk, source, keep_installed=request.keep_installed)
    if problem:
        raise UserError(f"cannot install: {problem}", "nothing was written", "device")
    return Plan(source, config, menu, disk=disk, boot_entry=not request.no_boot_entry)


def needed(source: InstallMedium, sector: int = SECTOR) -> int:
    """Bytes that a whole disk must have, including room for an upgrade."""
    return 2 * source.size + SPARE + 3 * MIB + sum(part.size for part in layout(sector))


def refusal(device: Device, source: InstallMedium, *, keep_installed: bool = False) -> str:
    """Why a device cannot be installed to, "" if it can."""
    if device.number:
        return (
            f"{device.path} is a partition; give the whole disk, /dev/{device.disk}, or use "
            f"no_format with a partition labelled {STATE_LABEL}"
        )
    problem = disks.in_use(device)
    if problem:
        return problem
    if device.sector != SECTOR and source.has_bios and not booted_with_efi():
        return (
            f"{device.path} has sectors of {device.sector} bytes, from which no BIOS boots; start "
            "this machine with UEFI"
        )
    size = needed(source, device.sector)
    if device.size < size:
        have, want = disks.human(device.size), disks.human(size)
        return f"{device.path} is too small: it has {have}, {want} are needed"
    return installed_on(device) if keep_installed else ""


PART_OF = {RAID_MEMBER: "a RAID", LVM_MEMBER: "an LVM volume group"}


def installed_on(device: Device) -> str:
    """Why it may hold an installed system, "" if it does not."""
    for file_system in disks.file_systems(device):
        if file_system.label == STATE_LABEL:
            return (
                f"{file_system.device} already carries {STATE_LABEL}; a fallback never "
                "formats an installed system, k3os.mode=install does"
            )
        if whole := PART_OF.get(file_system.kind):
            return (
                f"{file_system.device} is part of {whole} that may hold an installed system; a "
                "fallback never formats one, k3os.mode=install does"
            )
    return ""


def usable(source: InstallMedium, *, keep_installed: bool = False) -> list[Device]:
    """The disks that a person may choose from."""
    return [
        device
        for device in disks.all_disks()
        if not refusal(device, source, keep_installed=keep_installed)
    ]


def the_only_disk(source: InstallMedium, request: InstallRequest) -> Device:
    """The one disk that can be installed to. Raises UserError unless there is exactly one, and if
    there may be an installed system that is to be kept: the other disk may be its data."""
    found, reasons = [], []
    for device in disks.all_disks():
        if request.keep_installed and (reason := installed_on(device)):
            raise UserError(
                f"no disk is chosen beside an installed system: {reason}",
                "let the firmware boot the disk before this medium, or give a device",
            )
        if problem := refusal(device, source):
            reasons.append(problem)
        else:
            found.append(device)
    if not found:
        raise UserError(
            "there is no disk to install to",
            "; ".join(reasons) or "the kernel sees no disk at all: `dmesg` may say why",
        )
    if len(found) > 1:
        raise UserError(
            f"there are {len(found)} disks, and none was chosen",
            "give one as device: " + ", ".join(str(device) for device in found),
        )
    return found[0]


def _in_place(request: InstallRequest, source: InstallMedium, config: bytes, menu: str) -> Plan:
    state = _labelled(STATE_LABEL, request.device)
    if state is None and not request.device:
        show_volumes()
        state = _labelled(STATE_LABEL, "")
    if state is None:
        raise UserError(
            f"no_format needs a partition with an ext4 file system labelled {STATE_LABEL}",
            f"make one: mkfs.ext4 -L {STATE_LABEL} /dev/…",
        )
    problem = disks.in_use(state)
    if problem:
        raise UserError(f"cannot install: {problem}", "nothing was written", "device")
    if state.size < source.size + SPARE:
        have, want = disks.human(state.size), disks.human(source.size + SPARE)
        raise UserError(f"{state.path} is too small: it has {have}, {want} are needed")
    below = disks.disks_below(state.name)
    on = " or ".join(f"/dev/{name}" for name in below)
    efi = tuple(each for name in below if (each := _labelled(EFI_LABEL, f"/dev/{name}")))
    with_bios = (name for name in below if disks.describe(name).sector == SECTOR)
    places = (bios_place(name) for name in with_bios) if source.has_bios else ()
    bios = tuple(place for place in places if place)
    if booted_with_efi() or request.force_efi or not source.has_bios:
        if not efi:
            raise UserError(
                f"UEFI needs a FAT32 partition labelled {EFI_LABEL} on {on}",
                "make one of 64 MiB, of 260 on a disk with sectors of 4096 bytes: "
                f"mkfs.vfat -F 32 -n {EFI_LABEL} /dev/…; nothing was written",
            )
        for each in efi:
            if wrong := fat.problem(each.path, each.sector):
                raise UserError(
                    f"no UEFI reads {each.path}: {wrong}",
                    f"make it again: mkfs.vfat -F 32 -n {EFI_LABEL} {each.path}; "
                    "nothing was written",
                )
    elif not bios:
        raise UserError(
            f"{on} has no place for a boot loader that a BIOS could start",
            "make a BIOS boot partition of 1 MiB (GPT), or leave 1 MiB before the first partition "
            "(msdos); nothing was written",
        )
    entry = not request.no_boot_entry
    return Plan(source, config, menu, state=state, efi=efi, bios=bios, boot_entry=entry)


def booted_with_efi() -> bool:
    return os.path.exists("/sys/firmware/efi")


def bios_place(disk: str) -> BiosPlace | None:
    """A GPT disk's BIOS boot partition, or the gap before an msdos disk's first partition."""
    try:
        table = an_object(run(["sfdisk", "--json", f"/dev/{disk}"]))["partitiontable"]
        return _bios_place(disk, table)
    except (CommandError, *WRONG_SHAPE):
        return None  # no partition table: a file system on the whole device


def _bios_place(disk: str, table: dict[str, Any]) -> BiosPlace | None:
    unit = int(table.get("sectorsize", 512))
    parts = table.get("partitions", [])
    if table.get("label") == "gpt":
        for part in parts:
            if part["type"].upper() == BIOS_TYPE:
                return BiosPlace(f"/dev/{disk}", part["start"] * unit, part["size"] * unit)
    elif table.get("label") == "dos" and parts:
        gap = min(part["start"] for part in parts) * unit
        return BiosPlace(f"/dev/{disk}", 512, gap - 512) if gap >= MIB else None
    return None


def show_volumes() -> None:
    """Start RAID arrays and logical volumes with a K3OS_STATE that are not active."""
    from k3os.system.volumes import Volumes

    found = [each for disk in disks.all_disks() for each in disks.file_systems(disk)]
    members = [each for each in found if each.kind in (LVM_MEMBER, RAID_MEMBER)]
    if members:
        volumes = Volumes(lambda _: None)
        volumes.show(members, lambda each: each.label == STATE_LABEL)
        volumes.tidy()


def _labelled(label: str, where: str) -> Device | None:
    """The partition with a label: where itself or on it; "" for where: anywhere."""
    names = [name for name in sorted(os.listdir(disks.SYS)) if not name.startswith(("loop", "ram"))]
    if where:
        device = disks.look_up(where)
        names = [device.name, *device.partitions]
    kind = "vfat" if label == EFI_LABEL else "ext4"
    found: dict[str, None] = {}
    for name in names:
        if holders(f"/dev/{name}"):
            continue  # one half of a mirror looks like the whole file system
        for file_system in disks.file_systems(disks.describe(name)):
            is_it = file_system.label == label and file_system.kind == kind
            if is_it and not holders(file_system.device):
                found[file_system.device] = None
    if len(found) > 1 and not where:
        raise UserError(
            f"{' and '.join(found)} are labelled {label}, and none was chosen",
            "give one as device; nothing was written",
            "device",
        )
    return disks.look_up(next(iter(found))) if found else None
