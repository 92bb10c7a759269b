"""The order of the stages, what each depends on, and the publishing of the artifacts.

`build(settings, progress)` is all there is to call. A stage's key holds everything that can
change its result, the builder's own source included.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from k3os import __version__
from k3os.image import (
    initrd,
    iso,
    kernel,
    loaders,
    menu,
    netboot,
    operator,
    packages,
    rootfs,
)
from k3os.image.board import Board, build_board
from k3os.image.cache import Cache, digest, file_digest_plain
from k3os.image.manifest import add_generation
from k3os.image.progress import Progress
from k3os.image.sbom import sbom
from k3os.image.settings import SUITE, Settings
from k3os.image.signing import public_key, sign, trusted_keys
from k3os.image.tree import FILE, Entry, Tree
from k3os.k3s.fetch import Component, fetch, fetch_airgap
from k3os.k3s.source import LocalFile, parse_source
from k3os.system.files import atomic_write
from k3os.system.run import run
from k3os.upgrade.release import MANIFEST_ARTIFACT, SIGNATURE, SUMS_ARTIFACT

AIRGAP_DIRECTORY = "k3os/system/airgap"
MENU = "boot/grub/grub.cfg"


@dataclass(frozen=True)
class Boot:
    """The directories of the stages that only a machine without another system needs."""

    kernel: Path
    initrd: Path
    loaders: Path

    @property
    def kernel_version(self) -> str:
        return (self.kernel / "version").read_text().strip()


@dataclass(frozen=True)
class Pieces:
    """The finished stages' directories, and the k3s component if there is one.

    shell: has the static busybox. boot: None where only an overlay installation is possible.
    operator: None where it is not wanted, or not possible.
    """

    base: Path
    rootfs: Path
    shell: Path
    boot: Boot | None
    operator: operator.Built | None
    k3s: Component | None
    airgap: tuple[Path, ...]

    @property
    def booting(self) -> Boot:
        """What boots, where it is known that something does."""
        assert self.boot is not None
        return self.boot


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
    pieces = _pieces(settings, progress, cache)
    inputs = _inputs(settings, pieces)
    media = _media(settings, progress, cache, pieces, inputs) if pieces.boot else {}
    tarball = cache.stage(
        "tarball",
        digest(*inputs, settings.source / "overlay" / "foreign"),
        lambda out: iso.build_tarball(settings, overlay_tree(settings, pieces), out),
    )
    return publish(settings, pieces, media, tarball)


def _inputs(settings: Settings, pieces: Pieces) -> list[object]:
    """What every medium's and the tarball's content follows from."""
    boot = pieces.boot
    parts = [pieces.base.name, boot.kernel.name if boot else pieces.shell.name]
    parts += [pieces.rootfs.name, *([boot.initrd.name] if boot else [])]
    airgap = [file_digest_plain(path) for path in pieces.airgap]
    return [
        *parts,
        _k3s_identity(pieces),
        public_key(settings.sign_key) if settings.sign_key else "",
        airgap,
        settings.epoch,
        *_code("iso", "loaders", "manifest", "signing", "tree", "build"),
    ]


def _media(
    settings: Settings, progress: Progress, cache: Cache, pieces: Pieces, inputs: list[object]
) -> dict[str, Path]:
    """What boots a machine: an artifact's name to its file."""
    boot = pieces.booting
    config = [settings.config] if settings.config else []
    inputs = [*inputs, boot.loaders.name, *config, settings.source / "overlay" / "iso"]
    inputs += _code("menu")
    image = cache.stage(
        "iso",
        digest(*inputs),
        lambda out: iso.build_iso(
            settings, progress, iso_tree(settings, pieces), boot.loaders, out
        ),
    )
    carried = cache.stage(
        "netboot",
        digest(*inputs, *_code("netboot")),
        lambda out: netboot.build_netboot(
            *(settings, progress, iso_tree(settings, pieces)),
            *(boot.initrd / "initrd", boot.loaders, out),
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


def _code(*modules: str) -> list[Path]:
    return [Path(__file__).with_name(f"{name}.py") for name in modules]


def base_stage(settings: Settings, progress: Progress, cache: Cache) -> Path:
    """The directory with base.tar, a Debian with configured packages."""
    return cache.stage(
        "base",
        digest(SUITE, settings.arch.name, settings.mirror, packages.base_options()),
        lambda out: packages.bootstrap_base(settings, progress, out),
    )


def _pieces(settings: Settings, progress: Progress, cache: Cache) -> Pieces:
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
            digest(_content(kernel_packages), *_code("kernel", "tree")),
            lambda out: kernel.build_shell(kernel_packages / "kernel.tar", out),
        )
    component, airgap = _k3s(settings, progress)
    return Pieces(base, rootfs_stage, shell, boot, image, component, airgap)


def _boot(
    settings: Settings,
    progress: Progress,
    cache: Cache,
    base: Path,
    kernel_packages: Path,
    rootfs_stage: Path,
) -> Boot:
    kernel_stage = cache.stage(
        "kernel",
        digest(
            *(kernel_packages.name, _content(kernel_packages), settings.firmware),
            *_code("kernel", "tree"),
        ),
        lambda out: kernel.build_kernel(settings, progress, kernel_packages / "kernel.tar", out),
    )
    python_stage = cache.stage(
        "initrd-base",
        digest(_content(base), kernel_stage.name, *_code("initrd", "tree")),
        lambda out: initrd.build_base(
            settings, progress, base / "base.tar", kernel_stage / "boot-modules", out
        ),
    )
    initrd_stage = cache.stage(
        "initrd",
        digest(python_stage.name, rootfs_stage.name, settings.source / "overlay" / "initrd"),
        lambda out: initrd.build_initrd(
            settings, progress, python_stage / "base", rootfs_stage / "python", out
        ),
    )
    target = [SUITE, settings.arch.name, settings.mirror]
    loaders_stage = cache.stage(
        "loaders",
        digest(*target, _grub_version(), *_code("loaders")),
        lambda out: loaders.build_loaders(settings, progress, out),
    )
    return Boot(kernel_stage, initrd_stage, loaders_stage)


def _grub_version() -> str:
    return run(["grub-mkimage", "--version"]).decode().strip()


def board_files(settings: Settings, progress: Progress, board: Board) -> Path:
    """The directory with what a board's FAT partition holds. Raises UserError, CommandError."""
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
    """Packages change behind the same stage key when it was refreshed: look at the bytes."""
    record = stage / "content"
    if not record.exists():
        (archive,) = stage.glob("*.tar")
        record.write_text(file_digest_plain(archive))
    return record.read_text()


def _k3s(settings: Settings, progress: Progress) -> tuple[Component | None, tuple[Path, ...]]:
    """Downloads are kept in <cache>/downloads by version; a local file is used where it lies."""
    downloads = settings.cache / "downloads"
    downloads.mkdir(exist_ok=True)
    source = parse_source(settings.k3s)
    with progress.stage("k3s"):
        component = fetch(source, settings.arch.name, downloads, warn=progress.warn)
        airgap = fetch_airgap(settings.k3s_airgap, downloads) if settings.k3s_airgap else []
    if isinstance(source, LocalFile) and component is not None:
        progress.write_log(f"k3s: {component.path} ({component.version})")
    return component, tuple(airgap)


def iso_tree(settings: Settings, pieces: Pieces) -> Tree:
    """/boot and /k3os of the ISO."""
    tree = _system(settings, pieces, with_kernel=True)
    tree.copy_directory(settings.source / "overlay" / "iso")
    if loaders.LOADERS_OF[settings.arch.name].bios:
        for name in ("boot.img", "core.img"):
            path = pieces.booting.loaders / name
            tree.add(f"{loaders.LOADERS}/{name}", Entry(FILE, 0o644, data=path.read_bytes))
    else:
        tree.file(MENU, menu.for_firmware_consoles(tree.read(MENU).decode()).encode())
    tree.file(loaders.EFI_CONFIG, loaders.ISO_CONFIG.encode())
    if settings.config is not None:
        tree.add("k3os/system/config.yaml", Entry(FILE, 0o600, data=settings.config.read_bytes))
    return tree


def overlay_tree(settings: Settings, pieces: Pieces) -> Tree:
    """/k3os and /sbin/init for an installation into a foreign root (no kernel of ours)."""
    tree = _system(settings, pieces, with_kernel=False)
    tree.copy_directory(settings.source / "overlay" / "foreign")
    tree.add("k3os/system/bin/busybox", Entry(FILE, 0o755, data=busybox(pieces).read_bytes))
    return tree


def busybox(pieces: Pieces) -> Path:
    """The static shell that runs where no library of ours can be found yet."""
    return pieces.shell / "busybox"


def _system(settings: Settings, pieces: Pieces, *, with_kernel: bool) -> Tree:
    tree = Tree()
    k3s = (pieces.k3s.version, pieces.k3s.path) if pieces.k3s else None
    add_generation(
        tree,
        number=1,
        arch=settings.arch.name,
        kernel=_kernel_files(pieces.boot) if with_kernel and pieces.boot else None,
        k3os=(__version__, pieces.rootfs / "rootfs.squashfs"),
        k3s=k3s,
        epoch=settings.epoch,
        sign=partial(sign, key=settings.sign_key) if settings.sign_key else None,
    )
    for path in pieces.airgap:
        tree.add(f"{AIRGAP_DIRECTORY}/{path.name}", Entry(FILE, 0o644, data=path.read_bytes))
    return tree


def _kernel_files(boot: Boot) -> tuple[str, dict[str, Path]]:
    return boot.kernel_version, {
        "vmlinuz": boot.kernel / "vmlinuz",
        "initrd": boot.initrd / "initrd",
        "modules.squashfs": boot.kernel / "modules.squashfs",
    }


def publish(
    settings: Settings, pieces: Pieces, media: dict[str, Path], tarball: Path
) -> list[Path]:
    """Copy the results into the artifacts directory, each complete or not there; then the sums."""
    arch = settings.arch.name
    settings.artifacts.mkdir(parents=True, exist_ok=True)
    sources = {
        **media,
        f"k3os-rootfs-{arch}.tar.gz": tarball / "rootfs.tar.gz",
        f"k3os-rootfs-{arch}.squashfs": pieces.rootfs / "rootfs.squashfs",
    }
    if pieces.boot is not None:
        sources["install.sh"] = settings.source / "install.sh"
    if pieces.operator is not None:
        sources[f"k3os-operator-{arch}.tar.zst"] = pieces.operator.image / operator.IMAGE
    if pieces.k3s is not None:
        sources[f"k3os-k3s-{arch}"] = pieces.k3s.path
    published = []
    for name, source in sources.items():
        target = settings.artifacts / name
        temporary = target.with_name(f".{name}.new")
        # a reflink or a plain copy: a hard link would let a user's edit spoil the cache
        run(["cp", "--reflink=auto", "--sparse=auto", str(source), str(temporary)])
        os.chmod(temporary, 0o755 if name.endswith(".sh") else 0o644)
        temporary.rename(target)
        published.append(target)
    published += publish_manifest(settings, pieces)
    python = operator.wheels_of(pieces.operator.base) if pieces.operator else []
    listed = installed_packages(settings, pieces)
    document = sbom(settings, listed, _k3s_identity(pieces), python)
    path = settings.artifacts / f"k3os-{arch}.spdx.json"
    atomic_write(str(path), json.dumps(document, indent=1).encode() + b"\n")
    published.append(path)
    sums = "".join(f"{file_digest_plain(file)}  {file.name}\n" for file in sorted(published))
    path = settings.artifacts / SUMS_ARTIFACT.format(arch=arch)
    return [*published, *write_signed(settings, path, sums.encode())]


def publish_manifest(settings: Settings, pieces: Pieces) -> list[Path]:
    """The manifest as a file of its own: with it the artifacts are a release directory."""
    tree = _system(settings, pieces, with_kernel=True)
    data = tree.read("k3os/system/generations/1/manifest.json")
    name = MANIFEST_ARTIFACT.format(arch=settings.arch.name)
    return write_signed(settings, settings.artifacts / name, data)


def write_signed(settings: Settings, path: Path, data: bytes) -> list[Path]:
    """A file, and its signature when there is a key; an older signature does not stay."""
    atomic_write(str(path), data)
    signature = path.with_name(path.name + SIGNATURE)
    if settings.sign_key is None:
        signature.unlink(missing_ok=True)
        return [path]
    atomic_write(str(signature), sign(data, settings.sign_key))
    return [path, signature]


def installed_packages(settings: Settings, pieces: Pieces) -> list[packages.Package]:
    """Every Debian package with files in the image."""
    from k3os.image.tree import read_tar

    status = read_tar(pieces.base / "base.tar").read("var/lib/dpkg/status").decode()
    listing = (pieces.shell / "packages.txt").read_text()
    wanted = ["linux-(image|binary|modules)-.*", "(raspi-)?firmware.*"]
    wanted.append(packages.STATIC_SHELL)
    if pieces.boot is not None:
        listing += (pieces.boot.loaders / "packages.txt").read_text()
        wanted += loaders.LOADERS_OF[settings.arch.name].packages
    return packages.parse_status(status) + packages.parse_listing(listing, "|".join(wanted))


def _k3s_identity(pieces: Pieces) -> tuple[str, str] | None:
    return (pieces.k3s.version, pieces.k3s.sha256) if pieces.k3s else None
