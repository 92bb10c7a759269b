"""A build's settings: environment variables (make variables) in, one frozen record out.

It only validates and resolves; it neither uses the network nor writes. The variables are documented
in docs/reference/build.md.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from k3os.errors import UserError
from k3os.system.run import CommandError, run

SUITE = "trixie"


@dataclass(frozen=True)
class Architecture:
    """An architecture that k3OS is built for, in the names of each tool.

    name: ours and Kubernetes'; debian: dpkg's; loader: the dynamic linker's path; triplet:
    Debian's multiarch directory; emulator: qemu-user's name; boots: whether there is a kernel
    for it, and so bootable artifacts, or only the tarball for an overlay installation; wheels:
    Python's name for it, "" if not all libraries of the operator have wheels for it; default: the
    kernel if none is chosen.
    """

    name: str
    debian: str
    loader: str
    triplet: str
    emulator: str
    boots: bool = True
    wheels: str = ""
    default: str = "generic"


ARCHITECTURES = {
    "amd64": Architecture(
        *("amd64", "amd64", "lib64/ld-linux-x86-64.so.2", "x86_64-linux-gnu", "qemu-x86_64"),
        wheels="x86_64",
    ),
    "arm64": Architecture(
        *("arm64", "arm64", "lib/ld-linux-aarch64.so.1", "aarch64-linux-gnu", "qemu-aarch64"),
        wheels="aarch64",
        # boards are newer than Debian's stable kernel: 6.12 supports neither the SD card nor the
        # network of the Raspberry Pi 5
        default="backports",
    ),
    "arm": Architecture(
        *("arm", "armhf", "lib/ld-linux-armhf.so.3", "arm-linux-gnueabihf", "qemu-arm"),
        boots=False,
    ),
}


@dataclass(frozen=True)
class Kernel:
    """A kernel to choose: Debian's package, its suite, whether it has drivers for real machines."""

    package: str
    suite: str = SUITE
    drivers: bool = True


KERNELS = {
    "generic": Kernel("linux-image-{debian}"),
    "backports": Kernel("linux-image-{debian}", f"{SUITE}-backports"),
    "cloud": Kernel("linux-image-cloud-{debian}", drivers=False),
}


@dataclass(frozen=True)
class Settings:
    """A validated build request. Paths are absolute; epoch is seconds since 1970 (UTC)."""

    arch: Architecture
    kernel: Kernel
    k3s: str
    k3s_airgap: tuple[str, ...]
    config: Path | None
    mirror: str
    epoch: int
    source: Path
    artifacts: Path
    cache: Path
    sign_key: Path | None = None
    release_keys: tuple[Path, ...] = ()
    refresh: bool = False
    operator: bool = True
    firmware: tuple[str, ...] = ()

    @property
    def kernel_package(self) -> str:
        """The package's name for apt; without a suite, apt takes the one of the installed suite."""
        name = self.kernel.package.format(debian=self.arch.debian)
        return name if self.kernel.suite == SUITE else f"{name}/{self.kernel.suite}"


def source_root() -> Path:
    """The checkout that we run from: the directory with `overlay/` in it.

    Raises UserError if k3OS was installed without its source tree.
    """
    root = Path(__file__).resolve().parents[3]
    if not (root / "overlay" / "rootfs").is_dir():
        raise UserError(
            f"{root} is not a k3OS source tree (no overlay/rootfs)",
            "build from a git clone, with `make` or `python -m k3os build`",
        )
    return root


def from_environment(environ: Mapping[str, str], *, refresh: bool = False) -> Settings:
    """Read ARCH, KERNEL, FIRMWARE, K3S, K3S_AIRGAP, OPERATOR, CONFIG, MIRROR, SIGN_KEY,
    RELEASE_KEYS, SOURCE_DATE_EPOCH, ARTIFACTS, CACHE.

    An empty value counts as not set. Raises UserError with the variable's name in `where`.
    """
    root = source_root()
    arch = environ.get("ARCH") or "amd64"
    if arch not in ARCHITECTURES:
        raise UserError(
            f"unknown architecture {arch!r}", f"use one of: {', '.join(ARCHITECTURES)}", "ARCH"
        )
    kernel = environ.get("KERNEL") or ARCHITECTURES[arch].default
    if kernel not in KERNELS:
        raise UserError(f"unknown kernel {kernel!r}", f"use one of: {', '.join(KERNELS)}", "KERNEL")
    operator = environ.get("OPERATOR") or "auto"
    if operator not in ("auto", "none"):
        raise UserError(f"unknown value {operator!r}", "use one of: auto, none", "OPERATOR")
    return Settings(
        arch=ARCHITECTURES[arch],
        kernel=KERNELS[kernel],
        k3s=environ.get("K3S") or "auto",
        k3s_airgap=tuple((environ.get("K3S_AIRGAP") or "").split()),
        config=_file(environ, "CONFIG"),
        mirror=environ.get("MIRROR") or "",
        epoch=_epoch(environ, root),
        source=root,
        artifacts=Path(environ.get("ARTIFACTS") or root / "dist" / "artifacts").absolute(),
        cache=Path(environ.get("CACHE") or root / ".cache").absolute(),
        sign_key=_file(environ, "SIGN_KEY"),
        release_keys=_files(environ, "RELEASE_KEYS"),
        refresh=refresh,
        operator=operator == "auto",
        firmware=_firmware(environ, KERNELS[kernel]),
    )


def _firmware(environ: Mapping[str, str], kernel: Kernel) -> tuple[str, ...]:
    """Additional firmware packages of Debian. Raises UserError."""
    names = (environ.get("FIRMWARE") or "").split()
    for name in names:
        if not re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", name):
            raise UserError(
                f"{name!r} is not a package name", "an example: firmware-iwlwifi", "FIRMWARE"
            )
    if names and not kernel.drivers:
        raise UserError(
            "the cloud kernel has no drivers for what needs firmware",
            "leave out FIRMWARE, or KERNEL=cloud",
            "FIRMWARE",
        )
    return tuple(names)


def _file(environ: Mapping[str, str], name: str) -> Path | None:
    """The file that a variable names, None if it is not set. Raises UserError."""
    path = environ.get(name) or ""
    if path and not Path(path).is_file():
        what = "a config.yaml" if name == "CONFIG" else "an OpenSSH key"
        raise UserError(f"{path} is not a file", f"give the path of {what}", name)
    return Path(path).absolute() if path else None


def _files(environ: Mapping[str, str], name: str) -> tuple[Path, ...]:
    paths = (environ.get(name) or "").split()
    return tuple(found for path in paths if (found := _file({name: path}, name)) is not None)


def _epoch(environ: Mapping[str, str], root: Path) -> int:
    """SOURCE_DATE_EPOCH, else the last commit's time, so that one commit gives one image."""
    text = environ.get("SOURCE_DATE_EPOCH") or ""
    if text:
        if not text.isascii() or not text.isdigit():
            raise UserError(
                f"{text!r} is not a number of seconds since 1970",
                "try SOURCE_DATE_EPOCH=$(date +%s)",
                "SOURCE_DATE_EPOCH",
            )
        return int(text)
    try:
        return int(run(["git", "-C", str(root), "log", "-1", "--format=%ct"]).split()[-1])
    except (CommandError, ValueError, IndexError):
        # a source tarball without git: today at midnight, so that another build finds its cache
        return int(time.time()) // 86400 * 86400
