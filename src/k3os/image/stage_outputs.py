"""The stages' results, and the file trees of the media and the tarball."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path

from k3os import __version__
from k3os.generation.layout import AIRGAP, CONFIG, LOADER_FILES, LOADERS, MENU, SYSTEM
from k3os.image import loaders, menu, operator
from k3os.image.manifest import add_generation
from k3os.image.settings import Settings
from k3os.image.signing import sign
from k3os.image.tree import FILE, Entry, Tree
from k3os.k3s.fetch import Component


@dataclass(frozen=True)
class BootOutputs:
    """The directories of the stages that only bootable artifacts need."""

    kernel: Path
    initrd: Path
    loaders: Path

    @property
    def kernel_version(self) -> str:
        return (self.kernel / "version").read_text().strip()


@dataclass(frozen=True)
class StageOutputs:
    """The finished stages' directories, and the k3s component if there is one.

    shell: contains the static busybox. boot: None if only an overlay installation is possible.
    operator: None if it is not wanted, or not possible.
    """

    base: Path
    rootfs: Path
    shell: Path
    boot: BootOutputs | None
    operator: operator.Built | None
    k3s: Component | None
    airgap: tuple[Path, ...]

    @property
    def booting(self) -> BootOutputs:
        """boot, for callers that know it is there."""
        assert self.boot is not None
        return self.boot

    @property
    def k3s_identity(self) -> tuple[str, str] | None:
        """Version and SHA-256 of the included k3s."""
        return (self.k3s.version, self.k3s.sha256) if self.k3s else None


def iso_tree(settings: Settings, outputs: StageOutputs) -> Tree:
    """/boot and /k3os of the ISO."""
    tree = Tree()
    tree.copy_directory(settings.source / "overlay" / "iso")
    for name in LOADER_FILES[settings.arch.name]:
        path = outputs.booting.loaders / name
        tree.add(f"{LOADERS}/{name}", Entry(FILE, 0o644, data=path.read_bytes))
    if not loaders.LOADERS_OF[settings.arch.name].bios:
        tree.file(MENU, menu.for_firmware_consoles(tree.read(MENU).decode()).encode())
    tree.file(loaders.EFI_CONFIG, loaders.ISO_CONFIG.encode())
    add_system(tree, settings, outputs, with_kernel=True)
    if settings.config is not None:
        tree.add(CONFIG, Entry(FILE, 0o600, data=settings.config.read_bytes))
    return tree


def overlay_tree(settings: Settings, outputs: StageOutputs) -> Tree:
    """/k3os and /sbin/init for an installation into a foreign root (without our kernel)."""
    tree = first_stage(settings, outputs)
    add_system(tree, settings, outputs, with_kernel=False)
    return tree


def first_stage(settings: Settings, outputs: StageOutputs) -> Tree:
    """What starts k3OS on top of another system. An upgrade does not touch it, so each manifest
    contains its checksums."""
    tree = Tree()
    tree.copy_directory(settings.source / "overlay" / "foreign")
    tree.add("k3os/system/bin/busybox", Entry(FILE, 0o755, data=busybox(outputs).read_bytes))
    return tree


def busybox(outputs: StageOutputs) -> Path:
    """The static shell that runs while our libraries are not yet available."""
    return outputs.shell / "busybox"


def release_tree(settings: Settings, outputs: StageOutputs) -> Tree:
    """What a separately published manifest describes: the ISO if there is one."""
    if outputs.boot is not None:
        return iso_tree(settings, outputs)
    tree = Tree()
    add_system(tree, settings, outputs, with_kernel=False)
    return tree


def add_system(tree: Tree, settings: Settings, outputs: StageOutputs, *, with_kernel: bool) -> None:
    """Add k3s' image archives, and /k3os/system with the first generation, whose manifest has the
    checksums of all files in the tree at this point."""
    for path in outputs.airgap:
        tree.add(f"{SYSTEM}/{AIRGAP}/{path.name}", Entry(FILE, 0o644, data=path.read_bytes))
    medium = [path for path, entry in tree.walk() if entry.kind == FILE]
    stage = first_stage(settings, outputs).walk()
    sums = {path: sha256(entry.data()).hexdigest() for path, entry in stage if entry.kind == FILE}
    k3s = (outputs.k3s.version, outputs.k3s.path) if outputs.k3s else None
    add_generation(
        tree,
        number=1,
        arch=settings.arch.name,
        kernel=_kernel_files(outputs.boot) if with_kernel and outputs.boot else None,
        k3os=(__version__, outputs.rootfs / "rootfs.squashfs"),
        k3s=k3s,
        epoch=settings.epoch,
        medium=medium,
        first_stage=sums,
        sign=partial(sign, key=settings.sign_key) if settings.sign_key else None,
    )


def _kernel_files(boot: BootOutputs) -> tuple[str, dict[str, Path]]:
    return boot.kernel_version, {
        "vmlinuz": boot.kernel / "vmlinuz",
        "initrd": boot.initrd / "initrd",
        "modules.squashfs": boot.kernel / "modules.squashfs",
    }
