"""What is installed: the current generation of a mounted medium, with the sums of its manifest.

It only reads. The layout is in docs/reference/files.md.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

from k3os.errors import UserError
from k3os.generation import extensions, manifest
from k3os.generation.layout import AIRGAP, LOADER_FILES, LOADERS, MENUS, SYSTEM
from k3os.system.console import Say
from k3os.system.digest import file_sha256, forget
from k3os.system.json_text import WRONG_SHAPE, an_object

DAMAGED_HINT = "write the ISO again, or download it again"


@dataclass(frozen=True)
class InstallMedium:
    """root: where the medium is mounted. files: path below /k3os/system to its SHA-256.

    versions: component to version. manifest: the bytes of manifest.json. arch: in our naming.
    medium: path below root to the SHA-256 of what belongs to no component: loaders, menus, image
    archives; None if the manifest is older than these sums.
    """

    root: str
    manifest: bytes
    files: Mapping[str, str]
    versions: Mapping[str, str]
    size: int
    arch: str = "amd64"
    medium: Mapping[str, str] | None = None

    @property
    def has_bios(self) -> bool:
        """Whether machines of its architecture may boot with a BIOS."""
        return "core.img" in LOADER_FILES[self.arch]

    @property
    def airgap(self) -> list[str]:
        """The existing image archives, by name."""
        directory = self.path(AIRGAP)
        return sorted(os.listdir(directory)) if os.path.isdir(directory) else []

    def sums(self) -> dict[str, str]:
        """Of everything that is copied, by path below /k3os/system, as far as known."""
        archives = {f"{AIRGAP}/{name}": f"{SYSTEM}/{AIRGAP}/{name}" for name in self.airgap}
        known = self.medium or {}
        return {
            **self.files,
            **{name: known[path] for name, path in archives.items() if path in known},
        }

    def path(self, name: str) -> str:
        return f"{self.root}/{SYSTEM}/{name}"


def read_medium(root: str) -> InstallMedium:
    """The generation that a mounted medium boots. Raises UserError if it is incomplete."""
    path = f"{root}/{SYSTEM}/current/{manifest.NAME}"
    try:
        with open(path, "rb") as file:
            data = file.read()
        record = an_object(data)
        files = {str(name): str(digest) for name, digest in record["sha256"].items()}
        files |= extensions.sums(record)
        versions = manifest.versions_of(record)
        listed = record.get(manifest.MEDIUM)
        medium = None if listed is None else {str(k): str(v) for k, v in listed.items()}
    except (OSError, *WRONG_SHAPE) as error:
        raise UserError(
            f"{root} holds no k3OS that could be installed: {path}: {error}",
            "boot the ISO to install from it",
        ) from error
    arch = str(record.get("arch", "amd64"))
    if "kernel" not in versions or arch not in LOADER_FILES:
        raise UserError(f"the k3OS of {root} has no kernel", "install from the ISO")
    for name in [*files, *(medium or ())]:
        if name.startswith("/") or ".." in name.split("/"):
            raise UserError(f"{path} names a file outside of it: {name}")
    source = InstallMedium(root, data, files, versions, 0, arch, medium)
    paths = [source.path(name) for name in files]
    paths += [source.path(f"{AIRGAP}/{name}") for name in source.airgap]
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
    return replace(source, size=size)


def verify(source: InstallMedium, system: str, say: Say, *, from_disk: bool = False) -> None:
    """Compare the files below a /k3os/system with the manifest's sums. Raises UserError.

    from_disk: drop them from the page cache first, so that the disk itself is read.
    """
    for name, wanted in source.sums().items():
        if from_disk:
            forget(f"{system}/{name}")
        hint = "the disk may be failing" if from_disk else DAMAGED_HINT
        _compare(f"{system}/{name}", wanted, hint)
        say(f"verified {name}")


def verify_medium(source: InstallMedium, *, strict: bool = False) -> None:
    """Compare a medium's files that belong to no component with the manifest. Raises UserError.

    strict: if only the manifest's signature vouches for the medium, it must list everything that is
    installed. Otherwise a custom menu and more archives are fine.
    """
    known = source.medium or {}
    for path, wanted in known.items():
        if strict or (path not in MENUS and os.path.exists(f"{source.root}/{path}")):
            _compare(f"{source.root}/{path}", wanted, DAMAGED_HINT)
    installed = [f"{LOADERS}/{name}" for name in LOADER_FILES[source.arch]]
    installed += [f"{SYSTEM}/{AIRGAP}/{name}" for name in source.airgap]
    for path in installed if strict else ():
        if path not in known:
            raise UserError(
                f"{path} is not in the manifest, which is what was signed",
                "take a newer release, or give the SHA-256 of all of it: #sha256=HEX",
            )


def _compare(path: str, wanted: str, hint: str) -> None:
    try:
        digest = file_sha256(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}", hint) from error
    if digest != wanted:
        raise UserError(f"{path} is damaged: its SHA-256 is {digest}, not {wanted}", hint)
