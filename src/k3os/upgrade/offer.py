"""What can be installed from a source: an ISO, a root file system tarball, a release directory.

An offer has a manifest, perhaps a signature, and writes single files to where it is told, verifying
each. It must not decide what is wanted, nor touch anything but its target.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from k3os.errors import UserError
from k3os.generation.layout import SYSTEM
from k3os.generation.manifest import File, Manifest, parse_manifest
from k3os.generation.release import (
    LARGEST_MANIFEST,
    MANIFEST_ARTIFACT,
    SIGNATURE,
    SUMS_ARTIFACT,
    artifact,
    others,
    read,
    wrong_arch,
)
from k3os.system import http, mounts
from k3os.system.console import Progress
from k3os.system.http_failure import HttpError

# file names that include the architecture: do not look for this one elsewhere
NAMED = re.compile(r"k3os-(?:rootfs-)?(amd64|arm64|arm)\.(?:iso|tar\.gz)")
CURRENT = f"{SYSTEM}/current"
BLOCK = 1 << 20
# an ISO with airgap archives
LARGEST_FILE = 16 << 30
LARGEST_PIECE = 4 << 20


class Offer:
    """manifest, its bytes and its signature (b"": none); origin: the source, for messages."""

    def __init__(self, origin: str, data: bytes, signature: bytes) -> None:
        self.origin = origin
        self.data = data
        self.signature = signature
        self.manifest: Manifest = parse_manifest(data, origin)

    def write(self, file: File, path: str, progress: Progress) -> None:
        """Write a file's content to path and fsync it. Raises UserError, OSError."""
        raise NotImplementedError


class FilesOffer(Offer):
    """Files on this machine; a subclass says where."""

    def __init__(self, manifest: str, origin: str) -> None:
        super().__init__(origin, read(manifest), read(manifest + SIGNATURE, missing=b""))

    def place(self, file: File) -> str:
        raise NotImplementedError

    def write(self, file: File, path: str, progress: Progress) -> None:
        source = self.place(file)
        try:
            with open(source, "rb") as old:
                blocks = partial(old.read, BLOCK)
                copy(blocks, file, os.path.getsize(source), path, progress)
        except FileNotFoundError as error:
            raise UserError(f"{source} is missing", "the release is not complete") from error


class TreeOffer(FilesOffer):
    """A mounted ISO, or any directory with /k3os in it."""

    def __init__(self, root: str, origin: str) -> None:
        self.root = root
        super().__init__(f"{root}/{CURRENT}/manifest.json", origin)

    def place(self, file: File) -> str:
        return f"{self.root}/{SYSTEM}/{self.manifest.path(file)}"


class DirectoryOffer(FilesOffer):
    """A release directory on this machine: the artifacts of a build as single files."""

    def __init__(self, directory: str, arch: str, origin: str) -> None:
        self.directory = directory
        missing = not os.path.exists(self._manifest(arch))
        for other in others(arch) if missing else ():
            if os.path.exists(self._manifest(other)):
                raise wrong_arch(other, arch, origin)
        super().__init__(self._manifest(arch), origin)

    def _manifest(self, arch: str) -> str:
        return f"{self.directory}/{MANIFEST_ARTIFACT.format(arch=arch)}"

    def place(self, file: File) -> str:
        return f"{self.directory}/{artifact(file, self.manifest.arch)}"


class TarOffer(Offer):
    """The root file system tarball, which is read from the start for each file."""

    def __init__(self, path: str, origin: str) -> None:
        self.path = path
        found: dict[str, bytes] = {}
        with self._members() as members:
            for name, member, archive in members:
                if "/generations/" in f"/{name}" and "manifest.json" in name and member.isfile():
                    content = archive.extractfile(member)
                    assert content is not None
                    found[name.rpartition("/")[2]] = content.read(LARGEST_MANIFEST)
                elif found and "/generations/" not in f"/{name}":
                    break  # the rest is what the manifest describes
        if "manifest.json" not in found:
            raise UserError("holds no k3OS", "give the k3os-rootfs tarball of a release", origin)
        super().__init__(
            origin, found["manifest.json"], found.get(f"manifest.json{SIGNATURE}", b"")
        )

    @contextmanager
    def _members(self) -> Iterator[Iterator[tuple[str, tarfile.TarInfo, tarfile.TarFile]]]:
        """All members, their names without the leading directory."""
        try:
            # gzip or nothing: headers of other formats can ask for 4 GiB of memory, or nest bombs
            with open_tar(self.path) as file, tarfile.open(fileobj=file, mode="r:") as archive:
                yield ((each.name.partition("/")[2], each, archive) for each in archive)
        except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
            raise UserError(
                f"is not a readable tarball: {error}", "download it again", self.path
            ) from error

    def write(self, file: File, path: str, progress: Progress) -> None:
        wanted = f"{SYSTEM}/{self.manifest.path(file)}"
        with self._members() as members:
            for name, member, archive in members:
                if name == wanted and member.isfile():
                    content = archive.extractfile(member)
                    assert content is not None
                    blocks = partial(content.read, BLOCK)
                    copy(blocks, file, member.size, path, progress)
                    return
        raise UserError(f"{wanted} is missing", "the tarball is not complete", self.path)


class Pieces(io.BufferedReader):
    """A file that refuses large reads: tarfile trusts the length in a header."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= LARGEST_PIECE:
            raise tarfile.ReadError(f"a header says that it has {size} bytes")
        return super().read(size)


def open_tar(path: str) -> Pieces:
    """Raises OSError."""
    import gzip

    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return Pieces(gzip.GzipFile(path) if packed else io.FileIO(path))


class WebOffer(Offer):
    """A release directory on a web server. Files go straight to their place, broken transfers are
    resumed, and nothing is written twice."""

    def __init__(self, url: str, arch: str, *, timeout: float = http.TIMEOUT) -> None:
        self.url = url.rstrip("/")
        self.timeout = timeout
        address = f"{self.url}/{MANIFEST_ARTIFACT.format(arch=arch)}"
        data = http.get(address, limit=LARGEST_MANIFEST, timeout=timeout)
        super().__init__(http.shown(self.url), data, signature_beside(address, timeout))

    def write(self, file: File, path: str, progress: Progress) -> None:
        name = artifact(file, self.manifest.arch)
        http.download(
            f"{self.url}/{name}",
            path,
            sha256=file.sha256,
            limit=file.size or LARGEST_FILE,
            mode=file.mode,
            timeout=self.timeout,
            progress=lambda done, size: progress(name, done, size or file.size),
        )


def signature_beside(address: str, timeout: float = http.TIMEOUT) -> bytes:
    """The content of <address>.sig, b"" if there is none. Raises HttpError."""
    try:
        return http.get(address + SIGNATURE, limit=LARGEST_MANIFEST, timeout=timeout)
    except HttpError as error:
        if error.status != 404:
            raise
        return b""


def copy(
    next_block: Callable[[], bytes], file: File, size: int, path: str, progress: Progress
) -> None:
    """Write blocks to path and compare the checksum; a damaged file is removed."""
    digest = hashlib.sha256()
    with open(path, "wb") as target:
        while block := next_block():
            digest.update(block)
            target.write(block)
            progress(file.name, target.tell(), size)
        target.flush()
        os.fchmod(target.fileno(), file.mode)
        os.fsync(target.fileno())
    if digest.hexdigest() != file.sha256:
        os.unlink(path)
        raise UserError(
            f"{file.component}'s {file.name} is damaged: its SHA-256 is {digest.hexdigest()}, "
            f"not {file.sha256}",
            "download the release again",
        )


@contextmanager
def opened(
    source: str,
    arch: str,
    scratch: str,
    progress: Progress,
    verify_sums: Callable[[bytes, bytes, str], None],
) -> Iterator[Offer]:
    """The offer of a source: path or URL of an ISO, a tarball, a release directory; a device.

    scratch: a directory on the disk for complete downloads, and for a mount.
    verify_sums: called with the sum file of a download, its signature and its address.
    Raises UserError.
    """
    if source.startswith(("http://", "https://")):
        with _web(source, arch, scratch, progress, verify_sums) as offer:
            yield offer
    elif "://" in source:
        raise UserError("is neither a path nor an http(s) address", "give one of these", source)
    else:
        with _local(source, arch, scratch, source) as offer:
            yield offer


@contextmanager
def _web(
    url: str,
    arch: str,
    scratch: str,
    progress: Progress,
    verify_sums: Callable[[bytes, bytes, str], None],
) -> Iterator[Offer]:
    base, _, name = url.rpartition("/")
    named = NAMED.fullmatch(name)
    if named and named[1] != arch:
        raise wrong_arch(named[1], arch, http.shown(url))
    single = name.endswith((".iso", ".tar.gz", ".tgz"))
    found: Offer | None = None
    try:
        # single files: nothing is written twice
        found = WebOffer(base if single else url, arch)
    except HttpError as error:
        if error.status != 404:
            raise
        if not single:
            raise _other_arch(url, arch) or error from None
    if found is not None:
        yield found
        return
    path = fetch_verified(base, name, arch, scratch, progress, verify_sums)
    try:
        with _local(path, arch, scratch, http.shown(url)) as offer:
            yield offer
    finally:
        os.unlink(path)


def _other_arch(url: str, arch: str) -> UserError | None:
    """The error if a web directory holds the release of another architecture."""
    for other in others(arch):
        try:
            http.get(
                f"{url.rstrip('/')}/{MANIFEST_ARTIFACT.format(arch=other)}",
                limit=LARGEST_MANIFEST,
                tries=1,
            )
        except UserError:
            continue  # not there, or not reachable
        return wrong_arch(other, arch, http.shown(url))
    return None


def fetch_verified(
    base: str,
    name: str,
    arch: str,
    scratch: str,
    progress: Progress,
    verify_sums: Callable[[bytes, bytes, str], None],
) -> str:
    """Download an artifact and verify it with the signed sum file beside it; returns its path."""
    from k3os.k3s.fetch import parse_sums

    address = f"{base}/{SUMS_ARTIFACT.format(arch=arch)}"
    sums = http.get(address, limit=LARGEST_MANIFEST)
    verify_sums(sums, signature_beside(address), http.shown(address))
    wanted = parse_sums(sums, http.shown(address)).get(name)
    if not wanted:
        raise UserError(
            f"has no entry for {name}", "is the file's name right?", http.shown(address)
        )
    path = f"{scratch}/{name}"
    http.download(
        f"{base}/{name}",
        path,
        sha256=wanted,
        limit=LARGEST_FILE,
        progress=lambda done, size: progress(name, done, size or done),
    )
    return path


@contextmanager
def _local(path: str, arch: str, scratch: str, origin: str) -> Iterator[Offer]:
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}", "give the path of a release") from error
    if stat.S_ISDIR(mode):
        if os.path.exists(f"{path}/{CURRENT}/manifest.json"):
            yield TreeOffer(path, origin)
        else:
            yield DirectoryOffer(path, arch, origin)
    elif is_iso(path):
        target = f"{scratch}/medium"
        os.makedirs(target, exist_ok=True)
        if stat.S_ISBLK(mode):
            mounts.mount(path, target, "iso9660", mounts.MS_RDONLY | mounts.MS_NODEV)
        else:
            mounts.mount_image(path, target, "iso9660")
        try:
            yield TreeOffer(target, origin)
        finally:
            mounts.unmount(target)
    else:
        yield TarOffer(path, origin)


def is_release(source: str) -> bool:
    """Whether a source is a k3OS release and not k3s itself."""
    if source.startswith(("http://", "https://")):
        return source.endswith((".iso", ".tar.gz", ".tgz", "/"))
    if os.path.isdir(source):
        return True
    return os.path.exists(source) and (source.endswith((".tar.gz", ".tgz")) or is_iso(source))


def is_iso(path: str) -> bool:
    """Whether a file or device starts like an ISO 9660 file system (ECMA-119, 8.4)."""
    with open(path, "rb") as file:
        file.seek(16 * 2048)
        return file.read(6) == b"\x01CD001"
