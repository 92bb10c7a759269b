"""Carrying a plan out: the only place of the installer that writes to a disk.

The order makes an interruption cheap: what lies on the disk is named an installed system
(the link `current`, then the label) only after all of it was written and read back.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from k3os.errors import UserError
from k3os.install import fat, firmware, layout, loaded, loader, source
from k3os.install.disks import SECTOR, Device
from k3os.install.plan import STATE_LABEL, Plan
from k3os.install.plan import layout as layout_of
from k3os.install.source import AIRGAP, BIOS, LOADERS, SYSTEM, UEFI, Source
from k3os.system import mounts
from k3os.system.files import atomic_symlink, atomic_write, sync_directory
from k3os.system.numbers import whole
from k3os.system.run import CommandError

Say = Callable[[str], None]
# name of a file, bytes copied, bytes in all
Progress = Callable[[str, int, int], None]
SCRATCH = "/run/k3os/install"
MENU = "boot/grub/grub.cfg"


def install(plan: Plan, say: Say, progress: Progress | None = None) -> None:
    """Do it. progress: called while files are copied. Raises UserError that says in which state
    the disk is."""
    say("checking the files of the medium")
    source.verify(plan.source, f"{plan.source.root}/{SYSTEM}", lambda _: None)
    source.verify_medium(plan.source)
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
    """The EFI partition that was made."""
    say(f"partitioning {disk.path}")
    parts = layout.partition(disk, layout_of(disk.sector))
    say(f"making file systems on {parts['state'].path} and {parts['efi'].path}")
    layout.make_state(parts["state"])
    layout.make_efi(parts["efi"])
    bios = parts["bios"]
    with mounted(parts["state"].path, "state", "ext4") as root:
        lay_down(plan.source, plan.config, root, say, progress)
        has_bios = plan.source.has_bios and disk.sector == SECTOR
        both = "loaders for BIOS and UEFI" if has_bios else "loader for UEFI"
        say(f"writing the boot {both}")
        uuid = layout.uuid(parts["state"])
        write_menu(root, plan.menu, uuid)
        if has_bios:
            loader.embed(disk.path, f"{plan.source.root}/{LOADERS}", bios.start, bios.size)
        write_efi(plan.source, parts["efi"], uuid)
        loaded.record(f"{root}/{SYSTEM}", plan.source, (*(BIOS if has_bios else ()), UEFI))
        switch(plan.source, f"{root}/{SYSTEM}")
    layout.set_label(parts["state"], STATE_LABEL)
    os.sync()
    return parts["efi"]


def _in_place(plan: Plan, state: Device, say: Say, progress: Progress | None) -> None:
    with mounted(state.path, "state", "ext4") as root:
        lay_down(plan.source, plan.config, root, say, progress)
        say("writing the boot loader")
        uuid = layout.uuid(state)
        write_menu(root, plan.menu, uuid)
        loaders = f"{plan.source.root}/{LOADERS}"
        for place in plan.bios:
            loader.embed(place.disk, loaders, place.start, place.size)
        for partition in plan.efi:
            write_efi(plan.source, partition, uuid)
        written = (*(BIOS if plan.bios else ()), *((UEFI,) if plan.efi else ()))
        loaded.record(f"{root}/{SYSTEM}", plan.source, written)
        switch(plan.source, f"{root}/{SYSTEM}")
    os.sync()


def lay_down(
    medium: Source, config: bytes, root: str, say: Say, progress: Progress | None = None
) -> None:
    """Everything but what makes it boot; each file complete, written out, read back.

    medium: what is copied; config: of the new config.yaml, b"" for none.
    """
    system = f"{root}/{SYSTEM}"
    for name in medium.files:
        size = os.path.getsize(medium.path(name))
        say(f"copying {name} ({size / 10**6:.1f} MB)")
        copy_file(medium.path(name), f"{system}/{name}", progress)
    for name in medium.airgap:
        say(f"copying {AIRGAP}/{name}")
        copy_file(medium.path(f"{AIRGAP}/{name}"), f"{system}/{AIRGAP}/{name}", progress)
    say("reading back what was written")
    source.verify(medium, system, lambda _: None, from_disk=True)
    os.makedirs(f"{root}/k3os/data", exist_ok=True)
    if config:
        atomic_write(f"{system}/config.yaml", config, mode=0o600, sync=True)
    elif os.path.exists(f"{system}/config.yaml"):
        os.unlink(f"{system}/config.yaml")


def write_menu(root: str, menu: str, uuid: str) -> None:
    """uuid: of the file system that is mounted at root."""
    os.makedirs(f"{root}/boot/grub", exist_ok=True)
    atomic_write(f"{root}/{MENU}", loader.with_uuid(menu, uuid).encode(), sync=True)


def copy_file(path: str, target: str, progress: Progress | None = None) -> None:
    """A copy that is complete and on the disk, or not there."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    unfinished = f"{target}.new"
    with open(path, "rb") as old, open(unfinished, "wb") as new:
        size = os.fstat(old.fileno()).st_size
        while block := old.read(source.BLOCK):
            new.write(block)
            if progress is not None:
                progress(os.path.basename(path), new.tell(), size)
        new.flush()
        os.fchmod(new.fileno(), 0o755 if os.fstat(old.fileno()).st_mode & 0o100 else 0o644)
        os.fsync(new.fileno())
    os.rename(unfinished, target)
    sync_directory(os.path.dirname(target))


def switch(medium: Source, system: str) -> None:
    """The new generation, then the one rename that makes it the current one."""
    generations = f"{system}/generations"
    os.makedirs(generations, exist_ok=True)
    known = [found for name in os.listdir(generations) if (found := whole(name)) is not None]
    number = max(known, default=0) + 1
    links = {name: f"{name}/{version}" for name, version in medium.versions.items()}
    manifest = json.loads(medium.manifest)
    if loaders := loaded.of_release(manifest):
        manifest[loaded.KEY] = loaders
    for name in ("medium", loaded.FIRST_STAGE):  # the rest of it is not here
        manifest.pop(name, None)
    generation = add_generation(system, number, manifest, links)
    if os.path.exists(f"{system}/current"):
        atomic_symlink(os.readlink(f"{system}/current"), f"{system}/previous", sync=True)
    atomic_symlink(generation, f"{system}/current", sync=True)


def add_generation(
    system: str, number: int, manifest: Mapping[str, object], links: Mapping[str, str]
) -> str:
    """A generation that nothing leads to yet, on the disk; its name, "generations/3".

    links: component to its directory below system; what they lead to is there already.
    """
    generation = f"generations/{number}"
    os.makedirs(f"{system}/{generation}")
    for name, target in links.items():
        os.symlink(f"../../{target}", f"{system}/{generation}/{name}")
    text = json.dumps({**manifest, "generation": number}, indent=2).encode() + b"\n"
    atomic_write(f"{system}/{generation}/manifest.json", text, sync=True)
    sync_directory(f"{system}/generations")
    os.sync()
    return generation


def write_efi(medium: Source, partition: Device, uuid: str) -> None:
    """The signed loaders of the medium, and where they find the menu."""
    image = f"{medium.root}/{LOADERS}/efi.img"
    with mounted(partition.path, "efi", "vfat") as root:
        mounts.mount_image(image, f"{SCRATCH}/loaders", "vfat")
        try:
            # without the image's own menu: a power cut must not leave the disk with that one
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
            file.write(loader.efi_stub(uuid))
            file.flush()
            os.fsync(file.fileno())
        os.rename(f"{stub}.new", stub)
        os.sync()
    if wrong := fat.problem(partition.path, partition.sector):
        raise UserError(f"no UEFI would read {partition.path}: {wrong}")


def _copy(path: str, target: str) -> None:
    """Contents only: FAT has no modes. What was there is there until all of the new one is."""
    with open(path, "rb") as old, open(f"{target}.new", "wb") as new:
        shutil.copyfileobj(old, new)
        new.flush()
        os.fsync(new.fileno())
    os.rename(f"{target}.new", target)


@contextmanager
def mounted(device: str, name: str, kind: str) -> Iterator[str]:
    """A device's file system, mounted for us alone."""
    target = f"{SCRATCH}/{name}"
    os.makedirs(target, exist_ok=True)
    mounts.mount(device, target, kind)
    try:
        yield target
    finally:
        mounts.unmount(target)
