"""Adding a generation to a disk: a medium's files, then the generation, then the links to it.

Until the links change, nothing that boots is touched, and each file is either complete or absent.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from k3os.generation import extensions, install_medium, kernel_args, manifest
from k3os.generation.layout import AIRGAP, CONFIG, DATA, GENERATIONS, SYSTEM, numbers
from k3os.system.console import Progress, Say
from k3os.system.files import atomic_symlink, atomic_write, sync_directory
from k3os.system.json_text import an_object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from k3os.generation.install_medium import InstallMedium

BLOCK = 1 << 20


def lay_down(
    medium: InstallMedium, config: bytes, root: str, say: Say, progress: Progress | None = None
) -> None:
    """Everything except what makes it boot; each file is complete, synced, and read back.

    medium: what is copied; config: the new config.yaml, b"" for none.
    """
    system = f"{root}/{SYSTEM}"
    for name in medium.files:
        size = os.path.getsize(medium.path(name))
        say(f"copying {name} ({size / 10**6:.1f} MB)")
        copy_file(medium.path(name), f"{system}/{name}", progress)
    for name in medium.airgap:
        say(f"copying {AIRGAP}/{name}")
        copy_file(medium.path(f"{AIRGAP}/{name}"), f"{system}/{AIRGAP}/{name}", progress)
    say("reading back what was written")
    install_medium.verify(medium, system, lambda _: None, from_disk=True)
    os.makedirs(f"{root}/{DATA}", exist_ok=True)
    if config:
        atomic_write(f"{root}/{CONFIG}", config, mode=0o600, sync=True)
    elif os.path.exists(f"{root}/{CONFIG}"):
        os.unlink(f"{root}/{CONFIG}")


def copy_file(path: str, target: str, progress: Progress | None = None) -> None:
    """A copy that is complete and on the disk, or does not exist."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    unfinished = f"{target}.new"
    with open(path, "rb") as old, open(unfinished, "wb") as new:
        size = os.fstat(old.fileno()).st_size
        while block := old.read(BLOCK):
            new.write(block)
            if progress is not None:
                progress(os.path.basename(path), new.tell(), size)
        new.flush()
        os.fchmod(new.fileno(), 0o755 if os.fstat(old.fileno()).st_mode & 0o100 else 0o644)
        os.fsync(new.fileno())
    os.rename(unfinished, target)
    sync_directory(os.path.dirname(target))


def from_medium(medium: InstallMedium, system: str, arguments: tuple[str, ...] = ()) -> None:
    """The new generation, then the one rename that makes it current. arguments: of its kernel."""
    number = max(numbers(system), default=0) + 1
    links = {name: f"{name}/{version}" for name, version in medium.versions.items()}
    record = manifest.as_installed(an_object(medium.manifest))
    generation = add_generation(system, number, kernel_args.into(record, arguments), links)
    if os.path.exists(f"{system}/current"):
        atomic_symlink(os.readlink(f"{system}/current"), f"{system}/previous", sync=True)
    atomic_symlink(generation, f"{system}/current", sync=True)


def add_generation(
    system: str, number: int, record: Mapping[str, Any], links: Mapping[str, str]
) -> str:
    """Write a generation that nothing points to yet; returns its name, "generations/3".

    record: its manifest. links: component to its directory below system, which must exist.
    """
    generation = f"{GENERATIONS}/{number}"
    os.makedirs(f"{system}/{generation}")
    for name, target in links.items():
        os.symlink(f"../../{target}", f"{system}/{generation}/{name}")
    kernel_args.write(f"{system}/{generation}", number, kernel_args.of(record))
    extensions.write_links(f"{system}/{generation}", extensions.of(record))
    text = manifest.as_bytes({**record, "generation": number})
    atomic_write(f"{system}/{generation}/{manifest.NAME}", text, sync=True)
    sync_directory(f"{system}/{GENERATIONS}")
    os.sync()
    return generation
