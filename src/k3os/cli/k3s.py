"""`k3os k3s`: fetch k3s on a node whose image has none; record a new pinned version.

`fetch` is what k3os-k3s-fetch.service calls, again and again until it has succeeded. It must not
start k3s, nor fill a console where somebody may be at work: a reason is told once.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from k3os.errors import UserError
from k3os.paths import OWN_SYSTEM, STATE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from k3os.system.console import Say

MANIFEST = f"{OWN_SYSTEM}/current/manifest.json"
DIRECTORY = f"{STATE}/k3s"
# what the consoles were told last in this boot
SAID = "/run/k3os/k3s-fetch-said"
PROGRESS_SECONDS = 10

HELP = f"""\
usage: k3os k3s fetch [--announce] [VERSION]
       k3os k3s sums VERSION...
       k3os k3s pin [VERSION...]
       k3os k3s version

  fetch    download k3s (VERSION, else the one of this image's manifest, else the pinned one),
           verify it and place it at {DIRECTORY}/k3s; does nothing when it is there.
           --announce says it on the consoles, too, as the unit does that calls it at boot
  sums     print k3os.k3s_sums of these versions for the configuration of a fleet, which then
           takes them from any mirror and nothing else under their names
  pin      for maintainers, in a checkout: record the hashes of the releases of these versions
           (else of the pinned one) for all architectures in src/k3os/k3s/pinned.json; the first
           becomes the version that an image gets
  version  print the pinned version

K3S_RELEASES=URL names a mirror of the k3s releases, by https or, for versions that are pinned, by
http. http_proxy, https_proxy and no_proxy count, and on a node those of k3os.environment.
"""


def main(argv: list[str]) -> int:
    if argv[:1] == ["help"] or {"-h", "--help"} & {*argv}:
        print(HELP, end="")
        return 0
    if argv[:1] == ["fetch"]:
        from k3os.system.os_release import check_node

        check_node()
    if argv[:2] == ["fetch", "--announce"] and len(argv) == 2:
        announced(DIRECTORY, MANIFEST)
        return 0
    actions: dict[str, Callable[..., object]] = {
        "fetch": lambda version="": fetch_on_node(version, DIRECTORY, MANIFEST),
        "sums": print_sums,
        "pin": pin,
        "version": print_version,
    }
    # action to the least and the most versions behind it
    counts = {"fetch": (0, 1), "sums": (1, 100), "pin": (0, 100), "version": (0, 0)}
    least, most = counts.get(argv[0], (1, 0)) if argv else (1, 0)
    if not least <= len(argv) - 1 <= most:
        print(HELP, end="", file=sys.stderr)
        return 2
    actions[argv[0]](*map(_checked_version, argv[1:]))
    return 0


def _checked_version(text: str) -> str:
    from k3os.k3s.source import VERSION

    if not VERSION.fullmatch(text):
        raise UserError(f"{text!r} is no k3s version", "write it like v1.33.1+k3s1")
    return text


def print_version() -> None:
    from k3os.k3s.source import pinned

    print(pinned().version)


def announced(directory: str, manifest: str, said: str = SAID) -> None:
    """fetch_on_node on the consoles: that it begins, how far it is, each new reason why it fails.

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
    """Put a verified k3s at <directory>/k3s, and say so. Raises UserError."""
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
    """The version this generation was built for, else the one this k3OS is pinned to."""
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
    """Other versions and left-over pieces; the disk of a small board is small."""
    for entry in os.scandir(directory):
        if entry.name.startswith("k3s-v") and not entry.name.startswith(kept.name):
            os.unlink(entry.path)


class _ConsoleProgress:
    """A line now and then, each time after twice as long: a console does not redraw lines."""

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


def published(version: str) -> dict[str, str]:
    """Architecture to the hash that the release says. Raises UserError, also over plain http."""
    from k3os.k3s.fetch import published_sums
    from k3os.k3s.source import RELEASE_FILES, release_url
    from k3os.k3s.trust import NOBODY

    hashes = {}
    for arch, (name, sums) in RELEASE_FILES.items():
        hint = "name an https address in K3S_RELEASES"
        NOBODY.check_transport(release_url(version, sums), f"k3s {version}", hint)
        found = published_sums(version, arch)
        if name not in found:
            raise UserError(f"the release {version} has no {name}")
        hashes[arch] = found[name]
    return hashes


def print_sums(*versions: str) -> None:
    """As a part of a config.yaml."""
    lines = ["k3os:", "  k3s_sums:"]
    for version in versions:
        # one for each architecture; a fleet may have several
        lines.append(f"    {version}: {' '.join(dict.fromkeys(published(version).values()))}")
    print("\n".join(lines))


def pin(*versions: str) -> None:
    """Write the published hashes of all architectures into pinned.json; what is there stays."""
    from k3os.k3s.source import PINNED, pinned
    from k3os.system.files import atomic_write

    before = pinned()
    versions = versions or (before.version,)
    sums = {**before.sums, **{version: published(version) for version in versions}}
    record = json.dumps({"version": versions[0], "sums": sums}, indent=2)
    try:
        atomic_write(str(PINNED), f"{record}\n".encode())
    except OSError as error:
        raise UserError(
            f"{PINNED} cannot be written: {error.strerror}", "pin in a checkout, not on a node"
        ) from error
    print(f"pinned k3s {', '.join(versions)}; commit {PINNED.name}")
