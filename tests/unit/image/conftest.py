"""An ISO with every file of k3OS', but dummy contents."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from k3os.generation.layout import LOADERS
from k3os.image import loaders
from k3os.image.iso import EFI_IMAGE, make_iso
from k3os.image.manifest import add_generation
from k3os.image.tree import FILE, Tree
from k3os.system.run import run

EPOCH = 1_700_000_000
MODULES = ("kernel/drivers/mmc/host/sdhci-iproc.ko", "kernel/drivers/mmc/host/sdhci.ko")
MENU = Path(__file__).parents[3] / "overlay/iso/boot/grub/grub.cfg"


@pytest.fixture(scope="session")
def tiny_iso(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny(tmp_path_factory.mktemp("tiny"), "amd64")


@pytest.fixture(scope="session")
def tiny_arm_iso(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny(tmp_path_factory.mktemp("tiny-arm"), "arm64")


def tiny(directory: Path, arch: str, kernel_version: str = "6.1") -> Path:
    """Small files instead of kernel, k3OS and k3s; dummy boot loaders; modules by name only."""
    from k3os.image.iso import write_directory

    pieces = {}
    for name in ("vmlinuz", "initrd", "rootfs.squashfs", "k3s"):
        pieces[name] = directory / name
        pieces[name].write_bytes(hashlib.sha256(name.encode()).digest() * 1000)
    pieces["modules.squashfs"] = modules(directory, kernel_version)
    tree = Tree()
    tree.file("boot/grub/grub.cfg", MENU.read_bytes())
    if loaders.LOADERS_OF[arch].bios:
        tree.file(f"{LOADERS}/boot.img", b"b" * 512)
        tree.file(f"{LOADERS}/core.img", b"c" * 30000)
    tree.file(loaders.EFI_CONFIG, loaders.ISO_CONFIG.encode())
    names = loaders.LOADERS_OF[arch].efi_files.values()
    programs = {name: f"signed {name}".encode() * 100 for name in names}
    loaders.write_efi_image(programs, directory / "efi.img", EPOCH, None)
    tree.file(EFI_IMAGE, (directory / "efi.img").read_bytes())
    medium = [path for path, entry in tree.walk() if entry.kind == FILE]
    kernel = {name: pieces[name] for name in ("vmlinuz", "initrd", "modules.squashfs")}
    add_generation(
        tree,
        number=1,
        arch=arch,
        kernel=(kernel_version, kernel),
        k3os=("0.2", pieces["rootfs.squashfs"]),
        k3s=("v1.1.1+k3s1", pieces["k3s"]),
        epoch=EPOCH,
        medium=medium,
    )
    root = directory / "root"
    root.mkdir()
    write_directory(tree, root, EPOCH)
    iso = directory / "tiny.iso"
    make_iso(root, iso, EPOCH)
    return iso


def modules(directory: Path, version: str) -> Path:
    """A squashfs with the two lists of a kernel's modules."""
    tree, image = directory / "modules-tree", directory / "modules.squashfs"
    lists = tree / "modules" / version
    lists.mkdir(parents=True)
    (lists / "modules.dep").write_text("".join(f"{name}:\n" for name in MODULES))
    (lists / "modules.builtin").write_text("kernel/fs/ext4/ext4.ko\n")
    run(["mksquashfs", str(tree), str(image), "-noappend", "-quiet", "-no-progress"])
    return image


def files_of(iso: Path, target: Path) -> Path:
    """The files of an ISO, below target."""
    run(["xorriso", "-osirrox", "on", "-indev", str(iso), "-extract", "/", str(target)])
    return target


def manifest_of(root: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((root / "k3os/system/current/manifest.json").read_text())
    return found
