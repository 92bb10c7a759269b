"""What a release is: a manifest, its signature, and the names its files have as artifacts.

It only parses and names. The manifest is the JSON of README.md, "The file system"; a release
directory is what `make` leaves in dist/artifacts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from k3os.errors import UserError
from k3os.install.loaded import of_release
from k3os.install.source import COMPONENTS
from k3os.system.json_text import WRONG_SHAPE, an_object
from k3os.system.numbers import clamped, whole

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
# a version becomes the name of a directory
SAFE = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+~_-]{0,127}")


@dataclass(frozen=True)
class File:
    """One file of a component. sha256: hex; size: bytes; mode: permission bits."""

    component: str
    name: str
    sha256: str
    size: int

    @property
    def mode(self) -> int:
        return 0o755 if self.component == "k3s" else 0o644


@dataclass(frozen=True)
class Manifest:
    """A generation as its manifest describes it. created: seconds since 1970.

    versions: component to version, without those it does not have; files: all of them.
    loaders: boot loaders that an installation from it writes, name to SHA-256; first stage, too.
    """

    arch: str
    created: int
    versions: Mapping[str, str]
    files: tuple[File, ...]
    loaders: Mapping[str, str] = field(default_factory=dict)

    def of(self, component: str) -> tuple[File, ...]:
        return tuple(file for file in self.files if file.component == component)

    def path(self, file: File) -> str:
        """Where a file lies below /k3os/system of the medium the manifest came from."""
        return f"{file.component}/{self.versions[file.component]}/{file.name}"


def parse_manifest(data: bytes, where: str) -> Manifest:
    """Understand manifest.json. Raises UserError for anything that is none."""
    try:
        record = an_object(data)
        versions = {name: str(record[name]) for name in COMPONENTS if record.get(name)}
        sizes = record.get("size", {})
        files = []
        for path, digest in record["sha256"].items():
            component, version, name = path.split("/")
            if versions.get(component) != version or (component, name) not in ARTIFACTS:
                raise ValueError(f"{path} belongs to no component")
            if not re.fullmatch(r"[0-9a-f]{64}", digest):
                raise ValueError(f"the SHA-256 of {path} is {digest!r}")
            files.append(File(component, name, digest, _count(sizes.get(path, 0))))
        for version in versions.values():
            if not SAFE.fullmatch(version):
                raise ValueError(f"{version!r} is no version")
        arch, created = str(record["arch"]), _count(record["created"])
        loaders = of_release(record)
    except WRONG_SHAPE as error:
        raise UserError(
            f"is no manifest of a k3OS release: {type(error).__name__}: {error}",
            "is this really a k3OS ISO, root file system or release directory?",
            where,
        ) from error
    return Manifest(arch, created, versions, tuple(files), loaders)


def _count(value: object) -> int:
    """A size in bytes, or seconds since 1970. Raises ValueError."""
    found = whole(str(value))
    if found is None:
        raise ValueError(f"{str(value)[:20]!r} is no number")
    return found


def others(arch: str) -> tuple[str, ...]:
    """The architectures that this machine is not of."""
    return tuple(each for each in ARCHITECTURES if each != arch)


def wrong_arch(found: str, arch: str, where: str) -> UserError:
    return UserError(f"is for {found}, this machine is {arch}", "take the right one", where)


def artifact(file: File, arch: str) -> str:
    """The name of a file in a release directory."""
    return ARTIFACTS[file.component, file.name].format(arch=arch)


def ordered(version: str) -> tuple[tuple[int, ...], bool, str]:
    """A key to compare versions by: v1.33.1-rc1+k3s1 < v1.33.1+k3s1 < v1.33.1+k3s2."""
    text = version.removeprefix("v")
    main, _, build = text.partition("+")
    numbers, dash, rest = main.partition("-")
    found = [clamped(each) for each in re.findall(r"[0-9]+", numbers)]
    found += [0] * (4 - len(found))
    found += [clamped(each) for each in re.findall(r"[0-9]+", build)]
    return tuple(found), not dash, rest


def is_older(version: str, than: str) -> bool:
    """Whether a version comes before another; False where one of them is no version number."""
    if not re.match(r"v?\d", version) or not re.match(r"v?\d", than):
        return False
    return ordered(version) < ordered(than)
