"""What is installed: the current generation of a mounted medium, with the sums of its manifest.

It only reads. The layout is that of README.md, "The file system".
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from k3os.errors import UserError
from k3os.system.json_text import WRONG_SHAPE, an_object

SYSTEM = "k3os/system"
AIRGAP = "airgap"
LOADERS = "boot/grub/k3os"
# architecture to what is in LOADERS; only PCs have a BIOS
LOADER_FILES = {"amd64": ("boot.img", "core.img", "efi.img"), "arm64": ("efi.img",)}
BLOCK = 1 << 20
COMPONENTS = ("kernel", "k3os", "k3s")


@dataclass(frozen=True)
class Source:
    """root: where the medium is mounted. files: path below /k3os/system to its SHA-256.

    versions: component to version. manifest: the bytes of manifest.json. arch: our name of it.
    """

    root: str
    manifest: bytes
    files: Mapping[str, str]
    versions: Mapping[str, str]
    size: int
    arch: str = "amd64"

    @property
    def has_bios(self) -> bool:
        """Whether there are machines of its architecture that boot with a BIOS."""
        return "core.img" in LOADER_FILES[self.arch]

    def path(self, name: str) -> str:
        return f"{self.root}/{SYSTEM}/{name}"


def read_source(root: str) -> Source:
    """The generation that a mounted medium boots. Raises UserError when it is not complete."""
    path = f"{root}/{SYSTEM}/current/manifest.json"
    try:
        with open(path, "rb") as file:
            data = file.read()
        manifest = an_object(data)
        files = {str(name): str(digest) for name, digest in manifest["sha256"].items()}
        versions = {name: str(manifest[name]) for name in COMPONENTS if manifest.get(name)}
    except (OSError, *WRONG_SHAPE) as error:
        raise UserError(
            f"{root} holds no k3OS that could be installed: {path}: {error}",
            "boot the ISO to install from it",
        ) from error
    arch = str(manifest.get("arch", "amd64"))
    if "kernel" not in versions or arch not in LOADER_FILES:
        raise UserError(f"the k3OS of {root} has no kernel", "install from the ISO")
    for name in files:
        if name.startswith("/") or ".." in name.split("/"):
            raise UserError(f"{path} names a file outside of it: {name}")
    airgap = f"{root}/{SYSTEM}/{AIRGAP}"
    paths = [f"{root}/{SYSTEM}/{name}" for name in files]
    paths += [f"{airgap}/{name}" for name in (os.listdir(airgap) if os.path.isdir(airgap) else ())]
    missing = [path for path in paths if not os.path.isfile(path)]
    missing += [
        f"{root}/{LOADERS}/{name}"
        for name in LOADER_FILES[arch]
        if not os.path.isfile(f"{root}/{LOADERS}/{name}")
    ]
    if missing:
        raise UserError(
            f"the medium is not complete: {missing[0]} is missing",
            "a remastered ISO needs all of /boot and /k3os of the original",
        )
    size = sum(os.path.getsize(path) for path in paths)
    return Source(root, data, files, versions, size, arch)


def verify(
    source: Source, system: str, say: Callable[[str], None], *, from_disk: bool = False
) -> None:
    """Compare the files below a /k3os/system with the manifest's sums. Raises UserError.

    from_disk: forget what the kernel has in memory of them first: the disk itself is read.
    """
    for name, wanted in source.files.items():
        if from_disk:
            forget(f"{system}/{name}")
        found = file_sha256(f"{system}/{name}")
        if found != wanted:
            raise UserError(
                f"{system}/{name} is damaged: its SHA-256 is {found}, not {wanted}",
                "the disk may be failing" if from_disk else "write the ISO anew, or download it",
            )
        say(f"verified {name}")


def file_sha256(path: str) -> str:
    with open(path, "rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def forget(path: str) -> None:
    """Drop a file's pages from memory (posix_fadvise(2)); they must have been written out."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)
