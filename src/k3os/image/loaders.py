"""The loaders stage: what starts a kernel with BIOS and with UEFI, ready to be put on a disk.

UEFI: Debian's signed shim and GRUB, unchanged: Secure Boot would reject an EFI program that we
built ourselves. BIOS: one GRUB core image with everything it needs, made by grub-mkimage(1). The
ISO contains them in LOADERS; `k3os install` copies them from there.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from k3os.errors import UserError
from k3os.image.packages import unpack
from k3os.image.progress import Progress
from k3os.image.settings import Settings
from k3os.image.tree import read_tar
from k3os.system.run import run

# the earliest time that FAT can represent (1980), for all files in the image: its bytes change only
# with the loaders, not with each release, so that different loaders on a disk can be recognized
FAT_EPOCH = 315532800


@dataclass(frozen=True)
class Loaders:
    """What starts machines of one architecture.

    packages: Debian's, signed. efi_files: name in a package -> the name that the UEFI specification
    (3.5.1.1), or shim, requires. bios: whether there are machines with a BIOS.
    """

    packages: tuple[str, ...]
    efi_files: dict[str, str]
    bios: bool = False


LOADERS_OF = {
    "amd64": Loaders(
        ("shim-signed", "grub-efi-amd64-signed"),
        {
            "usr/lib/shim/shimx64.efi.signed": "BOOTX64.EFI",
            "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed": "grubx64.efi",
        },
        bios=True,
    ),
    "arm64": Loaders(
        ("shim-signed", "grub-efi-arm64-signed"),
        {
            "usr/lib/shim/shimaa64.efi.signed": "BOOTAA64.EFI",
            "usr/lib/grub/arm64-efi-signed/grubaa64.efi.signed": "grubaa64.efi",
        },
    ),
}
PLATFORM = "i386-pc"
BIOS_MODULES = (
    *("biosdisk", "part_gpt", "part_msdos", "ext2", "lvm", "mdraid1x", "raid5rec"),
    *(
        "raid6rec",
        "search",
        "search_fs_uuid",
        "search_label",
        "search_fs_file",
        "normal",
        "configfile",
        "linux",
    ),
    *("loadenv", "test", "echo", "sleep", "reboot", "halt", "serial", "terminal", "terminfo"),
    *("minicmd", "ls", "cat", "gzio"),
)
# with two installed disks, use the one that the BIOS started, whatever its partitions
BIOS_CONFIG = """\
search --no-floppy --set=root --hint=$root, --label K3OS_STATE
set prefix=($root)/boot/grub
"""
# Debian's GRUB reads this from where it was started: on a stick the FAT image, on a CD (as GRUB
# sees it) the CD itself. The label finds the ISO; of two, the hint selects that stick or CD.
EFI_CONFIG = "EFI/debian/grub.cfg"
ISO_CONFIG = """\
regexp --set=1:disk "^([^,]+)" "$root"
search --no-floppy --set=root --hint=$disk --label K3OS
set prefix=($root)/boot/grub
configfile $prefix/grub.cfg
"""


def build_loaders(settings: Settings, progress: Progress, output: Path) -> None:
    """Fill output: efi.img, packages.txt and, for BIOS, boot.img and core.img."""
    archive = output / "loaders.tar"
    wanted = LOADERS_OF[settings.arch.name]
    unpack(settings, progress, wanted.packages, archive)
    tree = read_tar(archive)
    programs = {name: tree.read(path) for path, name in wanted.efi_files.items()}
    write_efi_image(programs, output / "efi.img", FAT_EPOCH, progress.log)
    (output / "packages.txt").write_bytes(tree.read("packages.txt"))
    archive.unlink()
    if wanted.bios:
        _build_core(output, progress)


def _build_core(output: Path, progress: Progress) -> None:
    platform = Path("/usr/lib/grub") / PLATFORM
    if not (platform / "boot.img").exists():
        raise UserError(f"{platform} has no GRUB for BIOS", "install grub-pc-bin (`make setup`)")
    (output / "boot.img").write_bytes((platform / "boot.img").read_bytes())
    config = output / "early.cfg"
    config.write_text(BIOS_CONFIG)
    command = ["grub-mkimage", "-O", PLATFORM, "-d", str(platform), "-p", "/boot/grub"]
    command += ["-c", str(config), "-o", str(output / "core.img"), *BIOS_MODULES]
    run(command, log=progress.log)
    config.unlink()


def write_efi_image(
    programs: Mapping[str, bytes], target: Path, epoch: int, log: int | None
) -> None:
    """The FAT image that UEFI boots from the ISO: shim, GRUB, and the location of the menu."""
    scratch = target.with_suffix(".files")
    (scratch / "EFI" / "BOOT").mkdir(parents=True)
    (scratch / EFI_CONFIG).parent.mkdir()
    for name, program in sorted(programs.items()):
        (scratch / "EFI" / "BOOT" / name).write_bytes(program)
    (scratch / EFI_CONFIG).write_text(ISO_CONFIG)
    for path in (*sorted(scratch.rglob("*")), scratch):
        os.utime(path, (epoch, epoch))
    size = sum(path.stat().st_size for path in scratch.rglob("*") if path.is_file())
    sectors = (size + 256 * 1024) // 512 // 64 * 64
    with open(target, "wb") as file:
        file.truncate(sectors * 512)
    environment = {"SOURCE_DATE_EPOCH": str(epoch), "TZ": "UTC", "MTOOLS_SKIP_CHECK": "1"}
    serial = f"{epoch & 0xFFFFFFFF:08x}"
    run(["mformat", "-i", str(target), "-N", serial, "-v", "K3OS_EFI", "::"], env=environment)
    run(["mcopy", "-smQ", "-i", str(target), str(scratch / "EFI"), "::"], env=environment, log=log)
    run(["rm", "-rf", str(scratch)])
