"""Fetch k3s and airgap image archives, verified, into a directory that also is the cache. A file
that does not match its release and its pinned checksum (trust.py) is refused.

Nothing that failed a checksum stays under its final name. It must not decide where k3s goes in an
image or on a node. Beside each file from a release is <file>.sha256 with its verified checksum, so
that a later call needs no network.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from k3os.errors import UserError
from k3os.k3s.executable import ask_version, check_executable
from k3os.k3s.source import (
    RELEASE_FILES,
    Auto,
    Download,
    K3sSource,
    LocalFile,
    Nothing,
    Release,
    pinned,
    release_files,
    release_url,
    split_checksum,
)
from k3os.k3s.trust import NOBODY, Trust
from k3os.system.console import Say
from k3os.system.digest import file_sha256
from k3os.system.files import atomic_write
from k3os.system.http import download, get, shown
from k3os.system.http_failure import ChecksumError, HttpError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.system.http import Progress

LARGEST_K3S = 1 << 30
LARGEST_ARCHIVE = 8 << 30
PIN = "name an https address in K3S_RELEASES, or pin it: k3os.k3s_sums (`k3os k3s sums VERSION`)"
SUM = "write https://, or #sha256=HEX behind the address"
# what k3s imports from its images directory at start (k3s documentation, "Air-Gap Install")
ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.zst", ".tzst", ".tar.bz2", ".tbz", ".tar.lz4")


@dataclass(frozen=True)
class Component:
    """A verified k3s executable."""

    version: str
    path: Path
    sha256: str


def warn_on_stderr(text: str) -> None:
    print(f"k3os: warning: {text}", file=sys.stderr)


def fetch(
    source: K3sSource,
    arch: str,
    destination: Path,
    *,
    trust: Trust = NOBODY,
    warn: Say = warn_on_stderr,
    progress: Progress | None = None,
    timeout: float = 30.0,
) -> Component | None:
    """Return the k3s that source names; None for Nothing, and for Auto if it is not reachable.

    destination: an existing directory; a LocalFile is used where it is. trust: known checksums.
    Raises UserError; ChecksumError for any source.
    """
    release_files(arch)
    match source:
        case Nothing():
            return None
        case LocalFile(path):
            check_executable(path, arch, "K3S")
            digest = file_sha256(path)
            return Component(ask_version(path, digest), path, digest)
        case Download():
            return _fetch_url(source, arch, destination, trust, progress, timeout)
        case Release():
            return fetch_release(
                source, arch, destination, trust, progress=progress, timeout=timeout
            )
        case Auto():
            version = pinned().version
            try:
                # two tries: a build without network should not take long to find out
                return fetch_release(
                    Release(version),
                    arch,
                    destination,
                    trust,
                    progress=progress,
                    timeout=timeout,
                    tries=2,
                )
            except HttpError as error:
                warn(
                    f"k3s {version} cannot be fetched ({error}). THE IMAGE WILL HAVE NO k3s: "
                    "the node downloads it at its first boot. To put one in: K3S=<path or URL>."
                )
                return None


def fetch_release(
    release: Release,
    arch: str,
    destination: Path,
    trust: Trust = NOBODY,
    *,
    progress: Progress | None = None,
    timeout: float = 30.0,
    tries: int = 4,
) -> Component:
    """Fetch one version of the releases. Raises HttpError, ChecksumError, UserError.

    The file must match the release's sum file, which must match the pinned sums or come over https.
    """
    version = release.version
    name, _ = release_files(arch)
    path = destination / f"k3s-{version}-{arch}"
    pins = trust.pins(release, arch)
    known = _verified_before(path)
    if known and (known in pins or not pins):
        return Component(version, path, known)
    sums_url = _sums_url(version, arch)
    if not pins:
        trust.check_transport(sums_url, f"k3s {version}", PIN)
    published = published_sums(version, arch, timeout=timeout, tries=tries).get(name, "")
    if not published:
        raise UserError(f"the sum file has no entry for {name}", where=sums_url)
    if pins and published not in pins:
        raise ChecksumError(
            f"k3s {version} for {arch}: the release says sha256 {published}, "
            f"what is pinned is {' or '.join(sorted(pins))}",
            "the release was changed; do not use it until you know why",
            sums_url,
        )
    download(
        release_url(version, name),
        str(path),
        sha256=published,
        limit=LARGEST_K3S,
        mode=0o755,
        timeout=timeout,
        tries=tries,
        progress=progress,
    )
    _record(path, published)
    check_executable(path, arch, release_url(version, name))
    return Component(version, path, published)


def published_sums(
    version: str, arch: str, *, timeout: float = 30.0, tries: int = 4
) -> dict[str, str]:
    """File name -> SHA-256, from the release's sum file for arch. Raises HttpError."""
    url = _sums_url(version, arch)
    return parse_sums(get(url, timeout=timeout, tries=tries), url)


def sums_of_release(version: str) -> dict[str, str]:
    """Architecture -> SHA-256 of k3s, fetched over https. Raises UserError, also for http."""
    hashes = {}
    for arch, (name, sums) in RELEASE_FILES.items():
        hint = "name an https address in K3S_RELEASES"
        NOBODY.check_transport(release_url(version, sums), f"k3s {version}", hint)
        official = published_sums(version, arch)
        if name not in official:
            raise UserError(f"the release {version} has no {name}")
        hashes[arch] = official[name]
    return hashes


def parse_sums(data: bytes, where: str) -> dict[str, str]:
    """Parse sha256sum(1) output, also with --tag; raises UserError for anything else (an error
    page)."""
    sums = {}
    for line in data.decode(errors="replace").splitlines():
        if not line.strip():
            continue
        match = re.fullmatch(r"(?P<sum>[0-9a-fA-F]{64}) [ *](?P<name>\S+)", line.rstrip())
        match = match or re.fullmatch(
            r"SHA256 \((?P<name>\S+)\) = (?P<sum>[0-9a-fA-F]{64})", line.rstrip()
        )
        if match is None:
            raise UserError(
                f"is not a sha256sum file: {line[:60]!r}", "does a proxy answer instead?", where
            )
        sums[match["name"].rpartition("/")[2]] = match["sum"].lower()
    return sums


def _sums_url(version: str, arch: str) -> str:
    return release_url(version, release_files(arch)[1])


def _verified_before(path: Path) -> str:
    """The hash that path was verified to have, if it still has it; else ""."""
    try:
        known = path.with_name(f"{path.name}.sha256").read_text().strip()
        return known if file_sha256(path) == known else ""
    except FileNotFoundError:
        return ""


def _record(path: Path, digest: str) -> None:
    atomic_write(str(path.with_name(f"{path.name}.sha256")), f"{digest}\n".encode())


def _fetch_url(
    source: Download,
    arch: str,
    destination: Path,
    trust: Trust,
    progress: Progress | None,
    timeout: float,
) -> Component:
    """An address without a checksum is fetched each time: its content may have changed."""
    from hashlib import sha256

    if not source.sha256:
        trust.check_transport(shown(source.url), "this k3s", SUM)
    path = destination / f"k3s-url-{sha256(source.url.encode()).hexdigest()[:12]}-{arch}"
    digest = _verified_before(path) if source.sha256 else ""
    if not digest or digest != source.sha256:
        digest = download(
            source.url,
            str(path),
            sha256=source.sha256 or None,
            limit=LARGEST_K3S,
            mode=0o755,
            timeout=timeout,
            progress=progress,
        )
        _record(path, digest)
    check_executable(path, arch, shown(source.url))
    version = ask_version(path, digest, name=unquote(source.url))
    return Component(version, path, digest)


def fetch_airgap(
    items: Iterable[str],
    destination: Path,
    *,
    warn: Say = warn_on_stderr,
    progress: Progress | None = None,
    timeout: float = 30.0,
) -> list[Path]:
    """Return the image archives that K3S_AIRGAP names (paths and URLs). Raises UserError.

    If an https address has the k3s release layout, there is a sum file beside it, which the archive
    must match; `#sha256=` after any address does the same.
    """
    paths: dict[str, Path] = {}
    for item in items:
        remote = item.startswith(("http://", "https://"))
        url, digest = split_checksum(item, "K3S_AIRGAP") if remote else (item, "")
        name = unquote(urlsplit(url).path if remote else url).rstrip("/").rpartition("/")[2]
        if not name.endswith(ARCHIVES):
            raise UserError(
                f"{shown(url)} is not an image archive",
                f"k3s reads {' '.join(ARCHIVES)}",
                "K3S_AIRGAP",
            )
        if name in paths:
            raise UserError(f"two archives are called {name}", "rename one", "K3S_AIRGAP")
        if remote:
            paths[name] = _fetch_archive(url, digest, destination / name, warn, progress, timeout)
        else:
            paths[name] = _local_archive(Path(item))
    return list(paths.values())


def _local_archive(path: Path) -> Path:
    if not path.is_file():
        what = "is not a regular file" if path.exists() else "does not exist"
        raise UserError(f"{path} {what}", "give the path of an image archive", "K3S_AIRGAP")
    return path.absolute()


def _fetch_archive(
    url: str,
    digest: str,
    path: Path,
    warn: Say,
    progress: Progress | None,
    timeout: float,
) -> Path:
    if not digest:
        NOBODY.check_transport(shown(url), "this archive", SUM)
        digest = _published_archive_sum(url, path.name, timeout)
    if not digest:
        warn(f"{shown(url)} comes without a checksum; add #sha256=… to have it verified")
    elif _verified_before(path) == digest:
        return path
    received = download(
        url,
        str(path),
        sha256=digest or None,
        limit=LARGEST_ARCHIVE,
        timeout=timeout,
        progress=progress,
    )
    _record(path, received)
    return path


def _published_archive_sum(url: str, name: str, timeout: float) -> str:
    match = re.fullmatch(r"k3s-airgap-images-(amd64|arm64|arm)\..+", name)
    if match is None:
        return ""
    sums_url = f"{url.rpartition('/')[0]}/{release_files(match[1])[1]}"
    try:
        return parse_sums(get(sums_url, timeout=timeout), sums_url).get(name, "")
    except HttpError as error:
        if error.status == 404:
            return ""
        raise
