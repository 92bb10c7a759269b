"""Boards without UEFI, such as the Raspberry Pi: their disk's partition table (an MBR), and the
files on its FAT partition that provide UEFI.

The Raspberry Pi's firmware starts `kernel=` of config.txt
(https://www.raspberrypi.com/documentation/computers/config_txt.html) with the device tree named
after the model. Here that is U-Boot, which implements UEFI (docs.u-boot.org, "UEFI on U-Boot") and
starts Debian's GRUB: boot menu, trials and rollback are the same as on any other machine. Upgrades
do not touch these files.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from k3os.errors import UserError
from k3os.generation.layout import EFI_LABEL, STATE_LABEL
from k3os.image.packages import parse_listing, unpack
from k3os.image.progress import Progress
from k3os.image.settings import Settings
from k3os.image.tree import FILE, Tree, read_tar
from k3os.install.plan import EFI_SIZE, MIB, Partition

CONFIG_TXT = """\
# Read by the firmware of the Raspberry Pi. It starts U-Boot, U-Boot starts GRUB (EFI/BOOT), and
# GRUB the k3OS of the other partition. `k3os upgrade` changes nothing here.
arm_64bit=1
enable_uart=1
upstream_kernel=1
# the Pi 5's firmware looks into kernels, whether they are for it, and cannot into U-Boot
os_check=0
kernel=u-boot.bin
"""
# SD cards erase in blocks of 4 MiB
FIRST = 4 * MIB
# partition types of an MBR: FAT32 with LBA, Linux
FAT_TYPE, LINUX_TYPE = "c", "83"


@dataclass(frozen=True)
class Board:
    """packages, components: Debian's; files: path in the packages -> name on the FAT.

    device_trees: which of the kernel package's are copied (a regular expression for their path).
    aliases: another name for a device tree, if the firmware looks for that.
    drivers: for models (by prefix of their device trees' names), the module without which they
    would only seem to start.
    texts: other files on the FAT. layout: the partitions of an MBR; the FAT is named "efi".
    """

    name: str
    arch: str
    packages: tuple[str, ...]
    components: tuple[str, ...]
    files: dict[str, str]
    device_trees: str
    aliases: dict[str, str]
    drivers: dict[str, str]
    texts: dict[str, str]
    layout: tuple[Partition, ...]


# the paths in older and in newer kernel packages
_DEVICE_TREE = "usr/lib/(?:linux-image-[^/]+|modules/[^/]+/dtb)/{}"
_FIRMWARE = ("bootcode.bin", "start.elf", "fixup.dat", "start4.elf", "fixup4.dat")
BOARDS = {
    "rpi": Board(
        name="rpi",
        arch="arm64",
        packages=("raspi-firmware", "u-boot-rpi"),
        components=("main", "non-free-firmware"),
        files={
            **{f"usr/lib/raspi-firmware/{name}": name for name in _FIRMWARE},
            "usr/lib/u-boot/rpi_arm64/u-boot.bin": "u-boot.bin",
            # both licences must be distributed, too
            "usr/share/doc/raspi-firmware/copyright": "licences/raspi-firmware.txt",
            "usr/share/doc/u-boot-rpi/copyright": "licences/u-boot.txt",
        },
        device_trees=_DEVICE_TREE.format(r"broadcom/(bcm2(?:711|712|837)[^/]*\.dtb)"),
        # for the second revision of the Pi 5's chip
        aliases={"bcm2712-d-rpi-5-b.dtb": "bcm2712d0-rpi-5-b.dtb"},
        # for its SD card; without a device tree the Pi 5's firmware rejects the card
        drivers={"bcm2712": "sdhci-brcmstb"},
        texts={"config.txt": CONFIG_TXT},
        layout=(
            Partition("efi", FAT_TYPE, EFI_SIZE, EFI_LABEL),
            Partition("state", LINUX_TYPE, 0, STATE_LABEL),
        ),
    )
}


def build_board(
    settings: Settings, progress: Progress, board: Board, kernel_tar: Path, output: Path
) -> None:
    """Fill <output>/fat with what the board's firmware reads. Raises UserError."""
    archive = output / "board.tar"
    unpack(settings, progress, board.packages, archive, components=board.components)
    packages = read_tar(archive)
    files = fat_files(board, packages, read_tar(kernel_tar))
    files["licences/packages.txt"] = listing(board, packages)
    for path, data in files.items():
        target = output / "fat" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    archive.unlink()


def fat_files(board: Board, packages: Tree, kernel: Tree) -> dict[str, bytes]:
    """Name on the FAT -> content. Raises UserError if a package has changed unexpectedly."""
    files = {name: text.encode() for name, text in board.texts.items()}
    for path, name in board.files.items():
        try:
            files[name] = packages.read(path)
        except KeyError:
            raise UserError(f"Debian's packages for the board {board.name} lack {path}") from None
    trees = {
        match[1]: entry.data()
        for path, entry in kernel.entries.items()
        if entry.kind == FILE and (match := re.fullmatch(board.device_trees, path))
    }
    if not trees:
        raise UserError(
            f"the kernel package has no device trees for the board {board.name}",
            "use KERNEL=generic",
            "KERNEL",
        )
    more = {other: trees[name] for name, other in board.aliases.items() if name in trees}
    return {**files, **trees, **more}


def listing(board: Board, packages: Tree) -> bytes:
    """The board's packages with versions, one per line."""
    listed = parse_listing(packages.read("packages.txt").decode(), "|".join(board.packages))
    return "".join(f"{each.name} {each.version}\n" for each in listed).encode()


def without_driver(board: Board, modules: str) -> dict[str, str]:
    """The board's drivers that a kernel lacks. modules: its modules.dep and .builtin."""
    return {
        model: driver
        for model, driver in board.drivers.items()
        if not re.search(rf"/{driver}\.ko(?::|$)", modules, re.MULTILINE)
    }


def table(board: Board, name: Callable[[str], str]) -> str:
    """sfdisk's input: an MBR, since older models do not support GPT. name: as in layout.script."""
    lines, start = ["label: dos", f"label-id: 0x{name('disk')[:8]}"], FIRST
    for part in board.layout:
        # without a start, sfdisk would use the gap before the first partition
        size = f", size={part.size // MIB}MiB" if part.size else ""
        flag = ", bootable" if part.kind == FAT_TYPE else ""
        lines.append(f"start={start // MIB}MiB{size}, type={part.kind}{flag}")
        start += part.size
    return "\n".join(lines) + "\n"


def check_kernel(board: Board, kernel: str, where: str) -> None:
    """Raise UserError unless that kernel can have the board's drivers."""
    if "-cloud-" in kernel:
        raise UserError(
            f"has the kernel {kernel}, which is for virtual machines, not for {board.name}",
            "use KERNEL=generic",
            where,
        )
