"""manifest.json of a generation: all reading and writing of it (docs/reference/files.md).

`parse_manifest` trusts nothing and is for manifests from elsewhere; `read_record` accepts those on
our own disk, with keys of older or newer releases. A medium's manifest also has the sums of its
boot loaders, menus and image archives, and of the first stage of an overlay.
"""

from __future__ import annotations

import json
import re

from k3os.errors import UserError
from k3os.generation.layout import COMPONENTS, LOADERS
from k3os.system.files import read_object
from k3os.system.frozen import Frozen, field
from k3os.system.json_text import WRONG_SHAPE, an_object
from k3os.system.numbers import whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

NAME = "manifest.json"
# keys: of an installed generation; of a release; of a medium and a release
LOADER_SUMS, FIRST_STAGE, MEDIUM = "loaders", "first_stage", "medium"
# files that a component may have
FILES = {
    "kernel": ("vmlinuz", "initrd", "modules.squashfs"),
    "k3os": ("rootfs.squashfs",),
    "k3s": ("k3s",),
}
# a version becomes the name of a directory
SAFE = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+~_-]{0,127}")


class File(Frozen):
    """One file of a component. sha256: hex; size: bytes; mode: permission bits."""

    component: str
    name: str
    sha256: str
    size: int

    @property
    def mode(self) -> int:
        return 0o755 if self.component == "k3s" else 0o644


class Manifest(Frozen):
    """A generation as its manifest describes it. created: seconds since 1970.

    versions: component to version, only those it has; files: of all of them. loaders: name to
    SHA-256 of the boot loaders that an installation writes, or of the first stage.
    """

    arch: str
    created: int
    versions: Mapping[str, str]
    files: tuple[File, ...]
    loaders: Mapping[str, str] = field(default_factory=dict)

    def of(self, component: str) -> tuple[File, ...]:
        return tuple(file for file in self.files if file.component == component)

    def path(self, file: File) -> str:
        """Where a file is below /k3os/system of the medium that the manifest is from."""
        return f"{file.component}/{self.versions[file.component]}/{file.name}"


def parse_manifest(data: bytes, where: str) -> Manifest:
    """Parse a release's manifest. Raises UserError if it is invalid."""
    try:
        record = an_object(data)
        versions = versions_of(record)
        sizes = record.get("size", {})
        files = []
        for path, digest in record["sha256"].items():
            component, version, name = path.split("/")
            if versions.get(component) != version or name not in FILES.get(component, ()):
                raise ValueError(f"{path} belongs to no component")
            if not re.fullmatch(r"[0-9a-f]{64}", digest):
                raise ValueError(f"the SHA-256 of {path} is {digest!r}")
            files.append(File(component, name, digest, _count(sizes.get(path, 0))))
        for version in versions.values():
            if not SAFE.fullmatch(version):
                raise ValueError(f"{version!r} is not a version")
        arch, created = str(record["arch"]), _count(record["created"])
        loaders = loader_sums(record)
    except WRONG_SHAPE as error:
        raise UserError(
            f"is not the manifest of a k3OS release: {type(error).__name__}: {error}",
            "is this really a k3OS ISO, root file system or release directory?",
            where,
        ) from error
    return Manifest(arch, created, versions, tuple(files), loaders)


def _count(value: object) -> int:
    """A size in bytes, or seconds since 1970. Raises ValueError."""
    number = whole(str(value))
    if number is None:
        raise ValueError(f"{str(value)[:20]!r} is not a number")
    return number


def read_record(generation: str) -> dict[str, Any]:
    """The JSON object in a generation's directory, {} if there is none."""
    return read_object(f"{generation}/{NAME}")


def versions_of(record: Mapping[str, Any]) -> dict[str, str]:
    """Component to version, only those that it has."""
    return {name: str(record[name]) for name in COMPONENTS if record.get(name)}


def sums_of(record: Mapping[str, Any]) -> dict[str, str]:
    """Path below /k3os/system to SHA-256, of all files of the components."""
    return mapping(record, "sha256")


def loader_sums(record: Mapping[str, Any]) -> dict[str, str]:
    """What a release brings: a loader's name, or the path of a file of the first stage, to its
    SHA-256."""
    sums = {
        path.rpartition("/")[2]: str(digest)
        for path, digest in mapping(record, MEDIUM).items()
        if path.rpartition("/")[0] == LOADERS
    }
    stage = mapping(record, FIRST_STAGE)
    return sums | {path: str(digest) for path, digest in stage.items()}


def mapping(record: Mapping[str, Any], key: str) -> dict[str, Any]:
    """One of a record's maps, {} if it is not a map."""
    value = record.get(key)
    return value if isinstance(value, dict) else {}


def new_record(arch: str, created: int, versions: Mapping[str, str]) -> dict[str, Any]:
    """A generation of these versions, without files."""
    record: dict[str, Any] = {"arch": arch, "created": created}
    record |= {name: versions.get(name) for name in COMPONENTS}
    return {**record, "sha256": {}, "size": {}}


def with_component(
    record: Mapping[str, Any], name: str, version: str, files: Mapping[str, tuple[str, int]]
) -> dict[str, Any]:
    """A record with another version of a component. files: path below /k3os/system to its SHA-256
    and size in bytes."""
    sums, sizes = (
        {path: each for path, each in mapping(record, key).items() if path.split("/")[0] != name}
        for key in ("sha256", "size")
    )
    sums |= {path: digest for path, (digest, _) in files.items()}
    sizes |= {path: size for path, (_, size) in files.items()}
    return {**record, name: version, "sha256": sums, "size": sizes}


def as_installed(record: Mapping[str, Any]) -> dict[str, Any]:
    """A medium's record as an installation keeps it: without the parts that stay on the medium."""
    kept = {key: value for key, value in record.items() if key not in (MEDIUM, FIRST_STAGE)}
    loaders = loader_sums(record)
    return {**kept, LOADER_SUMS: loaders} if loaders else kept


def as_bytes(record: Mapping[str, Any]) -> bytes:
    """The file's content."""
    return json.dumps(record, indent=2).encode() + b"\n"
