"""The order of the stages, and what each depends on.

`build(settings, progress)` is the only entry point. A stage's key contains everything that can
change its result, including the builder's own source.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from k3os.image import (
    initrd,
    iso,
    kernel,
    loaders,
    manual,
    netboot,
    operator,
    packages,
    rootfs,
)
from k3os.image.board import Board, build_board
from k3os.image.cache import Cache, digest
from k3os.image.progress import Progress
from k3os.image.publish import publish
from k3os.image.settings import SUITE, Settings
from k3os.image.signing import public_key, trusted_keys
from k3os.image.sources import closure
from k3os.image.stage_outputs import BootOutputs, StageOutputs, iso_tree, overlay_tree
from k3os.k3s.fetch import Component, fetch, fetch_airgap
from k3os.k3s.source import LocalFile, parse_source
from k3os.system.digest import file_sha256
from k3os.system.run import run

# stage -> the modules that build it. The others: base and packages are determined by their options;
# rootfs and operator contain all of our code; the initrd is made from other stages
CODE = {
    "kernel": ("k3os.image.kernel",),
    "shell": ("k3os.image.kernel",),
    "initrd-base": ("k3os.image.initrd",),
    "loaders": ("k3os.image.loaders",),
    "board": ("k3os.image.board",),
    "tarball": ("k3os.image.iso", "k3os.image.stage_outputs"),
    "iso": ("k3os.image.iso", "k3os.image.stage_outputs"),
    "netboot": ("k3os.image.netboot", "k3os.image.stage_outputs"),
}


def build(settings: Settings, progress: Progress) -> list[Path]:
    """Build everything and return the artifacts' paths. Raises UserError, CommandError."""
    cache = Cache(settings.cache, progress)
    with cache.locked():
        if settings.refresh:
            for name in ("base", "packages", "loaders", "board"):
                shutil.rmtree(settings.cache / name, ignore_errors=True)
        return packages.without_stale_fixes(
            settings, progress, lambda chosen: _build(chosen, progress, cache)
        )


def _build(settings: Settings, progress: Progress, cache: Cache) -> list[Path]:
    outputs = _stage_outputs(settings, progress, cache)
    inputs = _inputs(settings, outputs)
    media = _media(settings, progress, cache, outputs, inputs) if outputs.boot else {}
    tarball = cache.stage(
        "tarball",
        digest(*inputs),
        lambda out: iso.build_tarball(settings, overlay_tree(settings, outputs), out),
    )
    pages = cache.stage(
        "manual",
        digest(settings.epoch, settings.source / "src" / "k3os"),
        lambda out: manual.build_manual(settings.epoch, out),
    )
    media[manual.ARTIFACT] = pages / "manual.tar.gz"
    return publish(settings, outputs, media, tarball)


def _inputs(settings: Settings, outputs: StageOutputs) -> list[object]:
    """The inputs that determine the contents of every medium and of the tarball."""
    boot = outputs.boot
    parts = [outputs.base.name, boot.kernel.name if boot else outputs.shell.name]
    parts += [outputs.rootfs.name, *([boot.initrd.name] if boot else [])]
    airgap = [file_sha256(path) for path in outputs.airgap]
    return [
        *parts,
        outputs.k3s_identity,
        public_key(settings.sign_key) if settings.sign_key else "",
        airgap,
        settings.epoch,
        settings.source / "overlay" / "foreign",
        *_code("tarball"),
    ]


def _media(
    settings: Settings,
    progress: Progress,
    cache: Cache,
    outputs: StageOutputs,
    inputs: list[object],
) -> dict[str, Path]:
    """The bootable artifacts: name -> file."""
    boot = outputs.booting
    config = [settings.config] if settings.config else []
    inputs = [*inputs, boot.loaders.name, *config, settings.source / "overlay" / "iso"]
    inputs += _code("iso")
    image = cache.stage(
        "iso",
        digest(*inputs),
        lambda out: iso.build_iso(settings, progress, iso_tree(settings, outputs), out),
    )
    carried = cache.stage(
        "netboot",
        digest(*inputs, *_code("netboot")),
        lambda out: netboot.build_netboot(
            settings, iso_tree(settings, outputs), boot.initrd / "initrd", out
        ),
    )
    arch = settings.arch.name
    return {
        f"k3os-{arch}.iso": image / "k3os.iso",
        f"k3os-vmlinuz-{arch}": boot.kernel / "vmlinuz",
        f"k3os-initrd-{arch}": boot.initrd / "initrd",
        f"k3os-initrd-netboot-{arch}": carried / "initrd",
        f"k3os-kernel-{arch}.squashfs": boot.kernel / "modules.squashfs",
    }


def _code(stage: str) -> list[Path]:
    return closure(*CODE[stage])


def base_stage(settings: Settings, progress: Progress, cache: Cache) -> Path:
    """The directory with base.tar, a Debian with configured packages."""
    return cache.stage(
        "base",
        digest(SUITE, settings.arch.name, settings.mirror, packages.base_options(settings)),
        lambda out: packages.bootstrap_base(settings, progress, out),
    )


def _stage_outputs(settings: Settings, progress: Progress, cache: Cache) -> StageOutputs:
    base = base_stage(settings, progress, cache)
    kernel_packages = _kernel_packages(settings, progress, cache)
    content = _content(base)
    code = settings.source / "src" / "k3os"
    image = operator.stages(settings, progress, cache, base / "base.tar", content)
    carried = image.image if image else None
    rootfs_stage = cache.stage(
        "rootfs",
        digest(
            *(content, settings.epoch, code, settings.source / "overlay" / "rootfs"),
            *(settings.k3s == "none", trusted_keys(settings.sign_key, settings.release_keys)),
            carried.name if carried else "",
        ),
        lambda out: rootfs.build_rootfs(settings, progress, base / "base.tar", carried, out),
    )
    boot = None
    if settings.arch.boots:
        boot = _boot(settings, progress, cache, base, kernel_packages, rootfs_stage)
        shell = boot.kernel
    else:
        shell = cache.stage(
            "shell",
            digest(_content(kernel_packages), *_code("shell")),
            lambda out: kernel.build_shell(kernel_packages / "kernel.tar", out),
        )
    component, airgap = _k3s(settings, progress)
    return StageOutputs(base, rootfs_stage, shell, boot, image, component, airgap)


def _boot(
    settings: Settings,
    progress: Progress,
    cache: Cache,
    base: Path,
    kernel_packages: Path,
    rootfs_stage: Path,
) -> BootOutputs:
    kernel_stage = cache.stage(
        "kernel",
        digest(
            *(kernel_packages.name, _content(kernel_packages), settings.firmware),
            *_code("kernel"),
        ),
        lambda out: kernel.build_kernel(settings, progress, kernel_packages / "kernel.tar", out),
    )
    python_stage = cache.stage(
        "initrd-base",
        digest(_content(base), kernel_stage.name, *_code("initrd-base")),
        lambda out: initrd.build_base(
            settings, progress, base / "base.tar", kernel_stage / "boot-modules", out
        ),
    )
    initrd_stage = cache.stage(
        "initrd",
        digest(python_stage.name, rootfs_stage.name, settings.source / "overlay" / "initrd"),
        lambda out: initrd.build_initrd(
            *(settings, progress, kernel_stage / "microcode"),
            *(python_stage / "base", rootfs_stage / "python", out),
        ),
    )
    target = [SUITE, settings.arch.name, settings.mirror]
    loaders_stage = cache.stage(
        "loaders",
        digest(*target, _grub_version(), *_code("loaders")),
        lambda out: loaders.build_loaders(settings, progress, out),
    )
    return BootOutputs(kernel_stage, initrd_stage, loaders_stage)


def _grub_version() -> str:
    return run(["grub-mkimage", "--version"]).decode().strip()


def board_files(settings: Settings, progress: Progress, board: Board) -> Path:
    """The directory with a board's files for its FAT partition. Raises UserError, CommandError."""
    cache = Cache(settings.cache, progress)
    with cache.locked():
        return packages.without_stale_fixes(
            settings, progress, lambda chosen: _board_files(chosen, progress, cache, board)
        )


def _board_files(settings: Settings, progress: Progress, cache: Cache, board: Board) -> Path:
    kernel_packages = _kernel_packages(settings, progress, cache)
    target = [SUITE, settings.arch.name, settings.mirror, board.name]
    stage = cache.stage(
        "board",
        digest(*target, _content(kernel_packages), *_code("board")),
        lambda out: build_board(settings, progress, board, kernel_packages / "kernel.tar", out),
    )
    return stage / "fat"


def _kernel_packages(settings: Settings, progress: Progress, cache: Cache) -> Path:
    return cache.stage(
        "packages",
        digest(SUITE, settings.arch.name, settings.mirror, packages.kernel_options(settings)),
        lambda out: packages.unpack_kernel(settings, progress, out),
    )


def _content(stage: Path) -> str:
    """A refreshed stage has new packages under the same key, so use its bytes."""
    record = stage / "content"
    if not record.exists():
        (archive,) = stage.glob("*.tar")
        record.write_text(file_sha256(archive))
    return record.read_text()


def _k3s(settings: Settings, progress: Progress) -> tuple[Component | None, tuple[Path, ...]]:
    """Downloads are kept in <cache>/downloads by version; a local file is used in place."""
    downloads = settings.cache / "downloads"
    downloads.mkdir(exist_ok=True)
    source = parse_source(settings.k3s)
    with progress.stage("k3s"):
        component = fetch(source, settings.arch.name, downloads, warn=progress.warn)
        airgap = fetch_airgap(settings.k3s_airgap, downloads) if settings.k3s_airgap else []
    if isinstance(source, LocalFile) and component is not None:
        progress.write_log(f"k3s: {component.path} ({component.version})")
    return component, tuple(airgap)
