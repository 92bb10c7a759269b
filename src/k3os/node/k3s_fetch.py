"""Fetch k3s on a node whose image has none; retried until it is there.

It must not start k3s, nor fill a console where somebody may be working: each reason is told once.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from k3os.errors import UserError
from k3os.paths import OWN_SYSTEM, STATE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.system.console import Say

MANIFEST = f"{OWN_SYSTEM}/current/manifest.json"
DIRECTORY = f"{STATE}/k3s"
# what the consoles were last told in this boot
SAID = "/run/k3os/k3s-fetch-said"
PROGRESS_SECONDS = 10


def announced(directory: str, manifest: str, said: str = SAID) -> None:
    """fetch_on_node on the consoles: the start, progress, and each new reason for a failure.

    Raises UserError.
    """
    from k3os.system.console import show
    from k3os.system.files import atomic_write

    again = os.path.exists(said)

    def tell(text: str) -> None:
        say(text)
        if not again:
            show(text)

    try:
        done = fetch_on_node("", directory, manifest, tell=tell)
    except UserError as error:
        text = f"k3s cannot be fetched, the node goes on trying: {error}"
        if not again or _read(said) != text:
            show(text)
            atomic_write(said, text.encode(errors="replace"))
        raise
    show(done)


def _read(path: str) -> str:
    with open(path, errors="replace") as file:
        return file.read()


def fetch_on_node(
    version: str,
    directory: str,
    manifest: str,
    *,
    timeout: float = 60.0,
    tell: Say | None = None,
) -> str:
    """Put a verified k3s at <directory>/k3s; returns a message. Raises UserError."""
    from k3os.k3s.fetch import fetch_release
    from k3os.k3s.source import Release, machine_arch
    from k3os.k3s.trust import of_node
    from k3os.system.files import atomic_symlink

    tell = tell or say
    version = version or wanted_version(manifest)
    arch = machine_arch(os.uname().machine)
    os.makedirs(directory, mode=0o755, exist_ok=True)
    tell(f"fetching k3s {version} for {arch}, this image has none")
    component = fetch_release(
        Release(version),
        arch,
        Path(directory),
        of_node(),
        progress=console_progress(tell=tell),
        timeout=timeout,
    )
    atomic_symlink(component.path.name, os.path.join(directory, "k3s"), sync=True)
    remove_older(directory, component.path)
    done = f"k3s {version} is there, verified (sha256 {component.sha256})"
    say(done)
    return done


def wanted_version(manifest: str) -> str:
    """The version this generation was built for, else the one pinned in this k3OS."""
    from k3os.k3s.source import VERSION, pinned
    from k3os.system.json_text import an_object

    try:
        with open(manifest, "rb") as file:
            version = an_object(file.read()).get("k3s")
    except (OSError, ValueError) as error:
        if not isinstance(error, FileNotFoundError):
            say(f"{manifest} cannot be read ({error}); taking the pinned version")
        version = None
    if isinstance(version, str) and VERSION.fullmatch(version):
        return version
    return pinned().version


def remove_older(directory: str, kept: Path) -> None:
    """Other versions and leftovers; the disk of a small board is small."""
    for entry in os.scandir(directory):
        if entry.name.startswith("k3s-v") and not entry.name.startswith(kept.name):
            os.unlink(entry.path)


class _ConsoleProgress:
    """A line now and then, each after twice as long: a console does not redraw lines."""

    def __init__(self, every: float, tell: Say) -> None:
        self.every = every
        self.tell = tell
        self.next = time.monotonic() + every

    def __call__(self, done: int, total: int | None) -> None:
        if time.monotonic() < self.next:
            return
        self.every *= 2
        self.next = time.monotonic() + self.every
        of = f" of {total >> 20} MiB ({100 * done // max(total, 1)} %)" if total else " MiB"
        self.tell(f"fetching k3s: {done >> 20}{of}")


def console_progress(every: float = PROGRESS_SECONDS, tell: Say | None = None) -> _ConsoleProgress:
    return _ConsoleProgress(every, tell or say)


def say(text: str) -> None:
    print(f"k3OS: {text}", flush=True)
