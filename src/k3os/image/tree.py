"""A file tree in memory: read from tar, edited, written as a sorted tar or cpio.

It does not touch ownership or devices in the file system, so no root is needed: owners, modes and
device numbers exist only in the archives. Order, times and owners are fixed on writing, so the same
tree gives the same bytes.

Formats: pax tar (POSIX.1-2008, `pax`), cpio "newc" (kernel Documentation/driver-api/
early-userspace/buffer-format.rst).
"""

from __future__ import annotations

import fnmatch
import io
import posixpath
import stat
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

DIRECTORY, FILE, SYMLINK, CHARACTER, BLOCK = "dir", "file", "link", "char", "block"
_TAR_TYPES = {
    DIRECTORY: tarfile.DIRTYPE,
    FILE: tarfile.REGTYPE,
    SYMLINK: tarfile.SYMTYPE,
    CHARACTER: tarfile.CHRTYPE,
    BLOCK: tarfile.BLKTYPE,
}
_STAT_TYPES = {
    DIRECTORY: stat.S_IFDIR,
    FILE: stat.S_IFREG,
    SYMLINK: stat.S_IFLNK,
    CHARACTER: stat.S_IFCHR,
    BLOCK: stat.S_IFBLK,
}
_XATTR = "SCHILY.xattr."


@dataclass(frozen=True)
class Entry:
    """One file of a tree. data() returns a file's bytes; target: what a symlink refers to."""

    kind: str
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    data: Callable[[], bytes] = field(default=lambda: b"", compare=False)
    target: str = ""
    device: tuple[int, int] = (0, 0)
    xattrs: tuple[tuple[str, str], ...] = ()


class Tree:
    """Paths (relative, no leading "./") -> entries. Parents are created on demand, mode 0755."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}

    def __contains__(self, path: str) -> bool:
        return path in self.entries

    def read(self, path: str) -> bytes:
        """The bytes of a file; follows symlinks. Raises KeyError."""
        return self.entries[self.resolve(path)].data()

    def resolve(self, path: str) -> str:
        """The path without symlinks in it. Raises KeyError (missing) or ValueError (a loop)."""
        for _ in range(40):
            parts = path.strip("/").split("/")
            for depth in range(1, len(parts) + 1):
                entry = self.entries.get("/".join(parts[:depth]))
                if entry is not None and entry.kind == SYMLINK:
                    base = "" if entry.target.startswith("/") else "/".join(parts[: depth - 1])
                    joined = posixpath.join("/", base, entry.target, *parts[depth:])
                    path = posixpath.normpath(joined).strip("/")
                    break
            else:
                if path.strip("/") not in self.entries:
                    raise KeyError(path)
                return path.strip("/")
        raise ValueError(f"symlink loop at {path}")

    def add(self, path: str, entry: Entry) -> None:
        self._parents(path)
        self.entries[path] = entry

    def directory(self, path: str, mode: int = 0o755, uid: int = 0, gid: int = 0) -> None:
        self.add(path, Entry(DIRECTORY, mode, uid, gid))

    def file(self, path: str, data: bytes, mode: int = 0o644, uid: int = 0, gid: int = 0) -> None:
        self.add(path, Entry(FILE, mode, uid, gid, data=lambda: data))

    def link(self, path: str, target: str) -> None:
        self.add(path, Entry(SYMLINK, 0o777, target=target))

    def remove(self, *patterns: str) -> int:
        """Remove what matches (fnmatch on the whole path) and all below it; returns how many."""
        doomed = [
            path
            for path in self.entries
            if any(
                fnmatch.fnmatchcase(path, pattern) or fnmatch.fnmatchcase(path, pattern + "/*")
                for pattern in patterns
            )
        ]
        for path in doomed:
            del self.entries[path]
        return len(doomed)

    def change(self, path: str, *, mode: int | None = None, gid: int | None = None) -> None:
        entry = self.entries[path]
        self.entries[path] = replace(
            entry,
            mode=entry.mode if mode is None else mode,
            gid=entry.gid if gid is None else gid,
        )

    def copy_directory(self, source: Path, prefix: str = "") -> None:
        """Add a directory of the checkout: owned by root, 0644 or 0755 by its executable bit."""
        for path in sorted(source.rglob("*")):
            if "__pycache__" in path.parts:
                continue
            name = posixpath.join(prefix, path.relative_to(source).as_posix())
            if path.is_symlink():
                self.link(name, str(path.readlink()))
            elif path.is_dir():
                if name not in self.entries:
                    self.directory(name)
            else:
                executable = path.stat().st_mode & 0o111
                self.file(name, path.read_bytes(), 0o755 if executable else 0o644)

    def subtree(self, paths: Iterable[str]) -> Tree:
        """A new tree of these paths, including everything below directories."""
        part = Tree()
        wanted = tuple(paths)
        prefixes = tuple(path + "/" for path in wanted)
        for path, entry in self.entries.items():
            if path in wanted or path.startswith(prefixes):
                part.add(path, entry)
        return part

    def walk(self) -> Iterator[tuple[str, Entry]]:
        """All entries, parents before their children, always in the same order."""
        yield from sorted(self.entries.items(), key=lambda item: item[0].split("/"))

    def _parents(self, path: str) -> None:
        parent = posixpath.dirname(path)
        if parent and parent not in self.entries:
            self.directory(parent)


def read_tar(path: Path) -> Tree:
    """A tree whose file contents are read from the (uncompressed) tar on demand."""
    tree = Tree()
    with tarfile.open(path, "r:") as archive:
        for info in archive:
            name = posixpath.normpath(info.name).lstrip("/")
            if name == ".":
                continue
            if info.islnk():
                original = tree.entries[posixpath.normpath(info.linkname).lstrip("/")]
                tree.entries[name] = original
            elif (entry := _from_tar(path, info)) is not None:
                tree.add(name, entry)
    return tree


def _from_tar(path: Path, info: tarfile.TarInfo) -> Entry | None:
    kinds = {value: key for key, value in _TAR_TYPES.items()} | {tarfile.AREGTYPE: FILE}
    kind = kinds.get(info.type)
    if kind is None:
        return None  # fifos and the like: no package has one that we need
    offset, size = info.offset_data, info.size

    def data() -> bytes:
        with open(path, "rb") as file:
            file.seek(offset)
            return file.read(size)

    return Entry(
        kind,
        info.mode & 0o7777,
        info.uid,
        info.gid,
        data=data,
        target=info.linkname if kind == SYMLINK else "",
        device=(info.devmajor, info.devminor),
        xattrs=tuple(sorted((k, v) for k, v in info.pax_headers.items() if k.startswith(_XATTR))),
    )


def write_tar(
    tree: Tree, output: IO[bytes], epoch: int, prefix: str = "", *, without: tuple[str, ...] = ()
) -> None:
    """Write a pax tar with every time set to epoch (seconds since 1970).

    without: directories that get no entry of their own; their contents are included.
    """
    with tarfile.open(fileobj=output, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for path, entry in tree.walk():
            if path in without:
                continue
            info = tarfile.TarInfo(posixpath.join(prefix, path))
            info.type = _TAR_TYPES[entry.kind]
            info.mode, info.uid, info.gid = entry.mode, entry.uid, entry.gid
            info.mtime = epoch
            info.linkname = entry.target
            info.devmajor, info.devminor = entry.device
            info.pax_headers = dict(entry.xattrs)
            if entry.kind == FILE:
                data = entry.data()
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
            else:
                archive.addfile(info)


def write_cpio(tree: Tree, output: IO[bytes], epoch: int) -> None:
    """Write a cpio archive in the "newc" format that the kernel unpacks as initramfs."""
    for inode, (path, entry) in enumerate(tree.walk(), start=1):
        data = entry.target.encode() if entry.kind == SYMLINK else entry.data()
        links = 2 if entry.kind == DIRECTORY else 1
        _cpio_member(output, path, inode, entry, links, epoch, data)
    _cpio_member(output, "TRAILER!!!", 0, Entry(FILE, 0), 1, 0, b"")


def _cpio_member(
    output: IO[bytes], path: str, inode: int, entry: Entry, links: int, epoch: int, data: bytes
) -> None:
    name = path.encode() + b"\0"
    mode = entry.mode | (_STAT_TYPES[entry.kind] if inode else 0)
    # magic, then 13 fields of 8 hexadecimal digits
    fields = [inode, mode, entry.uid, entry.gid, links, epoch, len(data)]
    fields += [0, 0, entry.device[0], entry.device[1], len(name), 0]
    header = b"070701" + b"".join(b"%08X" % value for value in fields)
    output.write(header + name + b"\0" * (-(len(header) + len(name)) % 4))
    output.write(data + b"\0" * (-len(data) % 4))
