"""The ISO and the overlay tarball: the finished pieces in their places.

The ISO is made by grub-mkrescue(1) from a directory that has the same /boot and /k3os as an
installed disk, so that remastering is: copy both, edit grub.cfg, grub-mkrescue again.
"""

from __future__ import annotations

import gzip
import os
import shutil
import time
from pathlib import Path

from k3os.errors import UserError
from k3os.image.progress import Progress
from k3os.image.settings import Settings
from k3os.image.tree import DIRECTORY, SYMLINK, Tree, write_tar
from k3os.system.run import run

LABEL = "K3OS"
# xorriso's way to say a UTC time (its manual, -volume_date)
_TIME = "%Y%m%d%H%M%S00"


def write_directory(tree: Tree, root: Path, epoch: int) -> None:
    """Write a tree as files below root, every time set to epoch."""
    for path, entry in tree.walk():
        target = root / path
        if entry.kind == DIRECTORY:
            target.mkdir(parents=True, exist_ok=True)
        elif entry.kind == SYMLINK:
            target.symlink_to(entry.target)
        else:
            target.write_bytes(entry.data())
            target.chmod(entry.mode)
    for path, _ in reversed(list(tree.walk())):
        os.utime(root / path, (epoch, epoch), follow_symlinks=False)


def build_iso(settings: Settings, progress: Progress, tree: Tree, output: Path) -> None:
    """Write <output>/k3os.iso from a tree of /boot and /k3os. BIOS, UEFI, CD and USB stick."""
    root = output / "iso"
    root.mkdir()
    write_directory(tree, root, settings.epoch)
    stamp = time.strftime(_TIME, time.gmtime(settings.epoch))
    iso = output / "k3os.iso"
    command = ["grub-mkrescue", "-o", str(iso), str(root), "--compress=xz"]
    command += ["--fonts=ascii", "--locales=", "--themes="]
    command += ["--", "-volid", LABEL, "-volume_date", "uuid", stamp]
    command += ["-volume_date", "all_file_dates", f"={settings.epoch}"]
    command += ["-chown_r", "0", "/", "--", "-chgrp_r", "0", "/", "--"]
    command += ["-alter_date_r", "b", f"={settings.epoch}", "/", "--"]
    environment = {
        "SOURCE_DATE_EPOCH": str(settings.epoch),
        "TZ": "UTC",
        "LC_ALL": "C",
        "PATH": f"{_fixed_mformat(output, settings.epoch)}:{os.environ['PATH']}",
    }
    run(command, env=environment, log=progress.log)
    run(["rm", "-rf", str(root), str(output / "tools")])
    # grub-mkrescue skips a platform whose modules are not installed, without a word
    listing = run(["xorriso", "-indev", str(iso), "-report_el_torito", "plain"])
    for platform in (b"BIOS", b"UEFI"):
        if platform not in listing:
            raise UserError(
                f"grub-mkrescue made an ISO that {platform.decode()} cannot boot",
                "install grub-pc-bin, grub-efi-amd64-bin and mtools (`make setup` does)",
            )


def _fixed_mformat(output: Path, epoch: int) -> Path:
    """A directory with an mformat(1) that does not draw the EFI image's serial number by lot."""
    directory = output / "tools"
    directory.mkdir()
    script = directory / "mformat"
    mformat = shutil.which("mformat")
    if mformat is None:
        raise UserError("mformat is not installed", "run `make setup`")
    script.write_text(f'#!/bin/sh\nexec {mformat} -N {epoch & 0xFFFFFFFF:08x} "$@"\n')
    script.chmod(0o755)
    return directory


def build_tarball(settings: Settings, tree: Tree, output: Path) -> None:
    """Write <output>/rootfs.tar.gz with one leading path component, k3os-rootfs-<arch>/."""
    prefix = f"k3os-rootfs-{settings.arch.name}"
    with open(output / "rootfs.tar.gz", "wb") as raw:
        # level 1: the bulk is a compressed squashfs already
        with gzip.GzipFile("", "wb", 1, raw, mtime=settings.epoch) as packed:
            write_tar(tree, packed, settings.epoch, prefix)  # type: ignore[arg-type]
