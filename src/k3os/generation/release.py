"""What a release is: a manifest, its signature, and the names of its files as artifacts.

It only names and reads. A release directory is what `make` leaves in dist/artifacts.
"""

from __future__ import annotations

from k3os.errors import UserError
from k3os.generation.manifest import File

SIGNATURE = ".sig"
# (component, file of it) -> artifact in a release directory
ARTIFACTS = {
    ("kernel", "vmlinuz"): "k3os-vmlinuz-{arch}",
    ("kernel", "initrd"): "k3os-initrd-{arch}",
    ("kernel", "modules.squashfs"): "k3os-kernel-{arch}.squashfs",
    ("k3os", "rootfs.squashfs"): "k3os-rootfs-{arch}.squashfs",
    ("k3s", "k3s"): "k3os-k3s-{arch}",
}
ARCHITECTURES = ("amd64", "arm64", "arm")
MANIFEST_ARTIFACT = "k3os-manifest-{arch}.json"
SUMS_ARTIFACT = "sha256sum-{arch}.txt"
LARGEST_MANIFEST = 1 << 20


def others(arch: str) -> tuple[str, ...]:
    """The other architectures."""
    return tuple(each for each in ARCHITECTURES if each != arch)


def wrong_arch(found: str, arch: str, where: str) -> UserError:
    return UserError(f"is for {found}, this machine is {arch}", "take the right one", where)


def artifact(file: File, arch: str) -> str:
    """The name of a file in a release directory."""
    return ARTIFACTS[file.component, file.name].format(arch=arch)


def read(path: str, missing: bytes | None = None) -> bytes:
    """A small file. Raises UserError if it does not exist, unless missing replaces it."""
    try:
        with open(path, "rb") as file:
            return file.read(LARGEST_MANIFEST)
    except (FileNotFoundError, NotADirectoryError) as error:
        if missing is not None:
            return missing
        raise UserError(
            f"{path} is missing", "is this a k3OS ISO, tarball or release directory?"
        ) from error
