"""The ISO and the overlay tarball: the finished parts in their places.

grub-mkrescue(1), or xorriso(1) without BIOS, makes the ISO from a directory with the same /boot and
/k3os as an installed disk. So remastering means: copy both, edit grub.cfg, run grub-mkrescue again.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import time
from pathlib import Path

from k3os.errors import UserError
from k3os.generation.layout import CONFIG, ISO_LABEL, LOADERS, MENU, SYSTEM
from k3os.image.loaders import PLATFORM
from k3os.image.progress import Progress
from k3os.image.settings import Settings
from k3os.image.tree import DIRECTORY, SYMLINK, Tree, write_tar
from k3os.system.run import run

EFI_IMAGE = f"{LOADERS}/efi.img"
# what distinguishes ISOs of the same day, in addition to the sizes of their files
_TELLING = (CONFIG, MENU, f"{SYSTEM}/current/manifest.json")
# an ISO's UUID is a time with hundredths of a second (xorriso's manual, -volume_date)
_DAY = 24 * 60 * 60 * 100


def write_directory(tree: Tree, root: Path, epoch: int) -> None:
    """Write a tree as files below root, with every time set to epoch."""
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
    """Write <output>/k3os.iso from a tree of /boot and /k3os. For BIOS, UEFI, CD and USB stick."""
    root = output / "iso"
    root.mkdir()
    write_directory(tree, root, settings.epoch)
    make_iso(root, output / "k3os.iso", settings.epoch, progress.log)
    run(["rm", "-rf", str(root)])


def make_iso(root: Path, iso: Path, epoch: int, log: int | None = None) -> None:
    """Write the ISO of a finished directory with /boot, /k3os, and the loaders in LOADERS. Raises
    UserError, CommandError."""
    bios = (root / LOADERS / "core.img").exists()
    if bios:
        # only for BIOS: grub-mkrescue's own EFI program would be unsigned
        command = ["grub-mkrescue", "-d", f"/usr/lib/grub/{PLATFORM}", "-o", str(iso), str(root)]
        command += ["--compress=xz", "--fonts=ascii", "--locales=", "--themes="]
        command += ["-eltorito-alt-boot"]
    else:
        command = ["xorriso", "-as", "mkisofs", "-r", "-o", str(iso), str(root)]
    command += ["-e", EFI_IMAGE, "-no-emul-boot"]
    command += ["-efi-boot-part", "--efi-boot-image"]
    command += ["--", "-volid", ISO_LABEL, "-volume_date", "uuid", volume_uuid(root, epoch)]
    command += ["-volume_date", "all_file_dates", f"={epoch}"]
    command += ["-chown_r", "0", "/", "--", "-chgrp_r", "0", "/", "--"]
    if (root / CONFIG).exists():  # grub-mkrescue makes everything world-readable
        command += ["-chmod", "0600", f"/{CONFIG}", "--"]
    command += ["-alter_date_r", "b", f"={epoch}", "/", "--"]
    environment = {"SOURCE_DATE_EPOCH": str(epoch), "TZ": "UTC", "LC_ALL": "C"}
    run(command, env=environment, log=log)
    listing = run(["xorriso", "-indev", str(iso), "-report_el_torito", "plain"])
    for platform in (b"BIOS", b"UEFI") if bios else (b"UEFI",):
        if platform not in listing:
            raise UserError(
                f"grub-mkrescue made an ISO that {platform.decode()} cannot boot",
                "install grub-pc-bin and mtools (`make setup` does)",
            )


def volume_uuid(root: Path, epoch: int) -> str:
    """The ISO's UUID: the day of its system, and a time of day derived from its contents.

    The system uses it to find the ISO that GRUB has read, so different ISOs need different ones.
    """
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        if path.is_file() and not path.is_symlink():
            digest.update(f"{path.relative_to(root)} {path.stat().st_size}\n".encode())
    for name in _TELLING:
        if (root / name).is_file():
            digest.update((root / name).read_bytes())
    rest = int.from_bytes(digest.digest()[:8]) % _DAY
    digits = time.strftime("%Y%m%d", time.gmtime(epoch))
    for size in (60 * 60 * 100, 60 * 100, 100, 1):
        digits += f"{rest // size:02}"
        rest %= size
    return digits


def build_tarball(settings: Settings, tree: Tree, output: Path) -> None:
    """Write <output>/rootfs.tar.gz with one leading path component, k3os-rootfs-<arch>/."""
    prefix = f"k3os-rootfs-{settings.arch.name}"
    with open(output / "rootfs.tar.gz", "wb") as raw:
        # level 1: the bulk is a compressed squashfs already
        with gzip.GzipFile("", "wb", 1, raw, mtime=settings.epoch) as packed:
            # tar(1) would replace a link to a directory, such as /sbin, by a directory
            write_tar(tree, packed, settings.epoch, prefix, without=("sbin",))  # type: ignore[arg-type]
