"""Carrying out a plan: the only place of the installer that writes to a disk.

The order makes an interruption harmless: a disk is marked as an installed system (the link
`current`, then the label) only after everything has been written and read back.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from k3os.errors import UserError
from k3os.generation import boot_loaders, grub, install_medium, kernel_args
from k3os.generation.adding import from_medium, lay_down
from k3os.generation.install_medium import InstallMedium
from k3os.generation.layout import BIOS, LOADERS, STATE_LABEL, SYSTEM, UEFI
from k3os.install import bios_loader, fat, firmware, formatting
from k3os.install.plan import Plan
from k3os.install.plan import layout as layout_of
from k3os.k3s import unpack
from k3os.system import mounts
from k3os.system.console import Progress, Say
from k3os.system.disks import SECTOR, Device
from k3os.system.run import CommandError

SCRATCH = "/run/k3os/install"


def install(plan: Plan, say: Say, progress: Progress | None = None) -> None:
    """Do it. progress: called while files are copied. Raises UserError, whose text says what state
    the disk is in."""
    say("checking the files of the medium")
    install_medium.verify(plan.source, f"{plan.source.root}/{SYSTEM}", lambda _: None)
    install_medium.verify_medium(plan.source)
    target = plan.disk or plan.state
    assert target is not None
    efi = plan.efi
    try:
        if plan.disk is not None:
            efi = (_onto_disk(plan, plan.disk, say, progress),)
        else:
            _in_place(plan, target, say, progress)
    except (UserError, CommandError, OSError) as error:
        what = error.message if isinstance(error, UserError) else str(error)
        raise UserError(
            f"the installation to {target.path} stopped: {what}",
            "the disk holds no bootable k3OS now; start the installation again"
            if plan.disk is not None
            else "what was installed there before is still what boots",
        ) from error
    if plan.boot_entry:
        for line in firmware.add_entries(efi, plan.source.arch):
            say(line)
    say(f"k3OS is installed on {target.path}")


def _onto_disk(plan: Plan, disk: Device, say: Say, progress: Progress | None) -> Device:
    """Returns the new EFI partition."""
    say(f"partitioning {disk.path}")
    parts = formatting.partition(disk, layout_of(disk.sector))
    say(f"making file systems on {parts['state'].path} and {parts['efi'].path}")
    formatting.make_state(parts["state"])
    formatting.make_efi(parts["efi"])
    bios = parts["bios"]
    with mounted(parts["state"].path, "state", "ext4") as root:
        lay_down(plan.source, plan.config, root, say, progress)
        unpack.for_first_start(plan.source, plan.config, root, say)
        has_bios = plan.source.has_bios and disk.sector == SECTOR
        both = "loaders for BIOS and UEFI" if has_bios else "loader for UEFI"
        say(f"writing the boot {both}")
        uuid = formatting.uuid(parts["state"])
        grub.write_menu(root, plan.menu, uuid)
        if has_bios:
            bios_loader.embed(disk.path, f"{plan.source.root}/{LOADERS}", bios.start, bios.size)
        write_efi(plan.source, parts["efi"], uuid)
        boot_loaders.record(f"{root}/{SYSTEM}", plan.source, (*(BIOS if has_bios else ()), UEFI))
        from_medium(plan.source, f"{root}/{SYSTEM}", kernel_args.of_config(plan.config))
    formatting.set_label(parts["state"], STATE_LABEL)
    os.sync()
    return parts["efi"]


def _in_place(plan: Plan, state: Device, say: Say, progress: Progress | None) -> None:
    with mounted(state.path, "state", "ext4") as root:
        lay_down(plan.source, plan.config, root, say, progress)
        say("writing the boot loader")
        uuid = formatting.uuid(state)
        grub.write_menu(root, plan.menu, uuid)
        loaders = f"{plan.source.root}/{LOADERS}"
        for place in plan.bios:
            bios_loader.embed(place.disk, loaders, place.start, place.size)
        for partition in plan.efi:
            write_efi(plan.source, partition, uuid)
        written = (*(BIOS if plan.bios else ()), *((UEFI,) if plan.efi else ()))
        boot_loaders.record(f"{root}/{SYSTEM}", plan.source, written)
        from_medium(plan.source, f"{root}/{SYSTEM}", kernel_args.of_config(plan.config))
    os.sync()


def write_efi(medium: InstallMedium, partition: Device, uuid: str) -> None:
    """The signed loaders of the medium, and a stub that tells them where the menu is."""
    image = f"{medium.root}/{LOADERS}/efi.img"
    with mounted(partition.path, "efi", "vfat") as root:
        mounts.mount_image(image, f"{SCRATCH}/loaders", "vfat")
        try:
            # not the image's own menu: after a power cut, the disk must not start with that one
            shutil.copytree(
                f"{SCRATCH}/loaders/EFI",
                f"{root}/EFI",
                ignore=shutil.ignore_patterns("grub.cfg"),
                dirs_exist_ok=True,
                copy_function=_copy,
            )
        finally:
            mounts.unmount(f"{SCRATCH}/loaders")
        stub = f"{root}/EFI/debian/grub.cfg"
        with open(f"{stub}.new", "w") as file:
            file.write(grub.efi_stub(uuid))
            file.flush()
            os.fsync(file.fileno())
        os.rename(f"{stub}.new", stub)
        os.sync()
    if wrong := fat.problem(partition.path, partition.sector):
        raise UserError(f"no UEFI would read {partition.path}: {wrong}")


def _copy(path: str, target: str) -> None:
    """Contents only: FAT has no modes. The old file stays until the new one is complete."""
    with open(path, "rb") as old, open(f"{target}.new", "wb") as new:
        shutil.copyfileobj(old, new)
        new.flush()
        os.fsync(new.fileno())
    os.rename(f"{target}.new", target)


@contextmanager
def mounted(device: str, name: str, kind: str) -> Iterator[str]:
    """Mount a device's file system at a private place."""
    target = f"{SCRATCH}/{name}"
    os.makedirs(target, exist_ok=True)
    mounts.mount(device, target, kind)
    try:
        yield target
    finally:
        mounts.unmount(target)
