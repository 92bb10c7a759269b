"""Installing from an ISO at a web address: download into memory, verify, mount.

Into memory, since no disk is written to before everything is checked. Whether it fits is known
before the download starts. One of these proves its origin: the checksum in `#sha256=` of the
address; the signature of its manifest, if the running system has a key; otherwise https. A file of
sha256sum(1) beside the ISO only detects damage.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from k3os.errors import UserError
from k3os.generation.install_medium import InstallMedium, read_medium
from k3os.system import mounts
from k3os.system.console import Progress, Say
from k3os.system.disks import human
from k3os.system.http import download, get, shown
from k3os.system.http_failure import HttpError

KEY = "iso_url"
MEMORY, MEDIUM = "/run/k3os/iso", "/run/k3os/iso-medium"
MEMINFO = "/proc/meminfo"
# memory for the installer and the programs that it starts, in addition to the ISO
RESERVE = 48 << 20
TRIES = 8
LARGEST = 16 << 30
NOTHING_THERE = (404, 410)
UNKNOWN_STEP = 50 << 20  # bytes between two messages if the size is unknown


@contextmanager
def fetched(
    url: str, say: Say, progress: Progress | None = None, *, insecure: bool = False
) -> Iterator[InstallMedium]:
    """The k3OS of the ISO at url; it is removed from memory when the block ends.

    progress: draws a bar; without it, every 10 % is reported. insecure: accept any origin. Raises
    UserError.
    """
    from k3os.generation.signature import IMAGE_KEYS, NODE_KEYS, read_keys

    keys = [] if insecure else read_keys([IMAGE_KEYS, NODE_KEYS])
    if not insecure and not keys:
        check_address(url)
    os.makedirs(MEMORY, exist_ok=True)
    # size=100%: free_memory() decides whether the ISO fits
    mounts.mount("iso", MEMORY, "tmpfs", mounts.MS_NOSUID | mounts.MS_NODEV, "mode=0700,size=100%")
    try:
        path = fetch(url, MEMORY, say, progress)
        try:
            mounts.mount_image(path, MEDIUM, "iso9660")
        except OSError as error:
            raise UserError(
                f"is not an ISO: {error.strerror}", "is the address right?", _address(url)
            ) from error
        try:
            what = _source(url)
            if keys and "#" not in url:
                check_signature(what, keys, _address(url))
                say(f"{what.root}: signed by a key that this system trusts")
            yield what
        finally:
            mounts.unmount(MEDIUM)
    finally:
        mounts.unmount(MEMORY)


def check_address(url: str) -> None:
    """Raise UserError for an address that neither proves the origin of the ISO nor is https."""
    if "#" not in url and not url.lower().startswith("https://"):
        raise UserError(
            "a download over plain http can be changed on its way, and this system knows no key to "
            "verify it with",
            "write #sha256=HEX behind the address, use https, or `--insecure` "
            "(k3os.install.insecure) if you trust the network",
            _address(url),
        )


def check_signature(what: InstallMedium, keys: list[str], where: str) -> None:
    """Raise UserError unless one of keys has signed everything that will be installed."""
    from k3os.generation.install_medium import verify_medium
    from k3os.generation.layout import SYSTEM
    from k3os.generation.release import SIGNATURE, read
    from k3os.generation.signature import verify

    beside = f"{what.root}/{SYSTEM}/current/manifest.json{SIGNATURE}"
    verify(what.manifest, read(beside, missing=b""), keys, where)
    verify_medium(what, strict=True)


def fetch(url: str, directory: str, say: Say, progress: Progress | None = None) -> str:
    """Download and verify; returns the file's path. On UserError no file is left."""
    from k3os.k3s.source import split_checksum

    address, wanted = split_checksum(url, KEY)
    name = _name(address)
    if not wanted:
        wanted = published_sum(address, name)
        if not wanted:
            say(
                f"{name} has no sum: its address has no #sha256=…, and there is no "
                f"{name}.sha256 beside it"
            )
    path = f"{directory}/{name}"
    watch = Watch(name, free_memory(), say, progress, shown(address))
    try:
        say(f"fetching {shown(address)}")
        digest = download(
            address,
            path,
            sha256=wanted or None,
            limit=LARGEST,
            tries=TRIES,
            progress=watch,
            report=watch.broke,
        )
    except UserError:
        if os.path.exists(f"{path}.part"):
            os.unlink(f"{path}.part")
        raise
    say(f"{name}: sha256 {digest}{', as it should be' if wanted else ''}")
    return path


def published_sum(address: str, name: str) -> str:
    """The SHA-256 in <address>.sha256, "" if there is no such file. Raises UserError."""
    import re
    from urllib.parse import urlsplit

    from k3os.k3s.fetch import parse_sums

    parts = urlsplit(address)
    beside = parts._replace(path=f"{parts.path}.sha256").geturl()
    try:
        text = get(beside, limit=1 << 16, tries=TRIES)
    except HttpError as error:
        if error.status in NOTHING_THERE:
            return ""
        raise
    alone = re.fullmatch(rb"\s*([0-9a-fA-F]{64})\s*", text)
    if alone:
        return alone[1].decode().lower()
    sums = parse_sums(text, shown(beside))
    if name not in sums and len(sums) != 1:
        raise UserError(f"has no sum of {name}", "write #sha256=… instead", shown(beside))
    return sums.get(name) or next(iter(sums.values()))


class Watch:
    """Follows a download: reports progress, and stops it if it will not fit into memory."""

    def __init__(
        self, name: str, room: int, say: Say, progress: Progress | None, address: str
    ) -> None:
        """room: bytes that may be used; address: without secrets, for messages."""
        self.name = name
        self.room = room
        self.say = say
        self.progress = progress
        self.address = address
        self.said = 0

    def __call__(self, done: int, total: int | None) -> None:
        size = max(done, total or 0)
        if size > self.room:
            raise UserError(
                f"the ISO has {human(size)}{'' if total else ' at least'}, but there is memory for "
                f"{human(max(self.room, 0))} only: {human(size - self.room)} are missing",
                "give the machine more memory, or leave iso_url out: what was booted can be "
                "installed, too; nothing was written",
                self.address,
            )
        if total and self.progress is not None:
            self.progress(self.name, done, total)
            return
        step = 10 * done // total if total else done // UNKNOWN_STEP
        if step != self.said:
            self.said = step
            of = f"{10 * step} % of {human(total)}" if total else human(done)
            self.say(f"fetching {self.name}: {of}")

    def broke(self, error: HttpError) -> None:
        self.say(f"{error.message}; trying again")


def free_memory() -> int:
    """Bytes available for an ISO: memory that could be freed (proc_meminfo(5)) minus RESERVE."""
    with open(MEMINFO, errors="replace") as file:
        for line in file:
            if line.startswith("MemAvailable:"):
                return (int(line.split()[1]) << 10) - RESERVE
    raise UserError(f"{MEMINFO} does not say how much memory is free")


def _source(url: str) -> InstallMedium:
    from k3os.k3s.source import machine_arch

    try:
        source = read_medium(MEDIUM)
    except UserError as error:
        raise UserError(error.message, "is it the address of a k3OS ISO?", _address(url)) from error
    ours = machine_arch(os.uname().machine)
    if source.arch != ours:
        raise UserError(
            f"this ISO is for {source.arch}, the machine is {ours}",
            "choose another ISO; nothing was written",
            _address(url),
        )
    return source


def _address(url: str) -> str:
    return shown(url.partition("#")[0])


def _name(address: str) -> str:
    """A file name: the last part of the address's path."""
    from urllib.parse import unquote, urlsplit

    name = unquote(urlsplit(address).path).rpartition("/")[2]
    return name if name not in ("", ".", "..") and "\0" not in name else "k3os.iso"
