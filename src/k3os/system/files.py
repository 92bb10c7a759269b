"""Files that a reader sees with old or new content, never half of it; and small JSON files.

`atomic_write` follows rename(2): a temporary file in the same directory, fsync, rename.
"""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def text_of(path: str, errors: str = "replace") -> str:
    """A file's text without surrounding whitespace, "" if it cannot be read: for files of sysfs and
    our own that may be missing. errors: how to decode bytes that are not UTF-8."""
    try:
        with open(path, errors=errors) as file:
            return file.read().strip()
    except OSError:
        return ""


def read_object(path: str) -> "dict[str, Any]":
    """A JSON object from a file, {} if it is missing, cannot be read, or is not an object."""
    from k3os.system.json_text import an_object

    try:
        with open(path, "rb") as file:
            return an_object(file.read())
    except (OSError, ValueError):
        return {}


def read_regular(path: str, limit: int) -> bytes:
    """At most limit bytes of a file. Pipes and devices, which may never end, are refused. Raises
    OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if os.fstat(descriptor).st_mode & 0o170000 != 0o100000:
            raise OSError(22, "is not a file", path)
        data = bytearray()
        while len(data) < limit and (block := os.read(descriptor, limit - len(data))):
            data += block
        return bytes(data)
    finally:
        os.close(descriptor)


def atomic_write(
    path: str, data: bytes, *, mode: int = 0o644, uid: int = -1, gid: int = -1, sync: bool = False
) -> None:
    """Replace path with data (bytes), mode, owner; the parent directory must exist.

    sync: also fsync the file and its directory (if it must survive a power cut).
    Raises OSError and leaves the old file as it was.
    """
    directory, name = os.path.split(path)
    temporary = os.path.join(directory, f".{name}.{os.getpid()}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        os.unlink(temporary)  # ours, from a crashed earlier try: the pid is in the name
    except FileNotFoundError:
        pass
    descriptor = os.open(temporary, flags, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            if uid >= 0 or gid >= 0:
                os.fchown(file.fileno(), uid, gid)
            os.fchmod(file.fileno(), mode)  # after chown, which drops setuid bits
            if sync:
                os.fsync(file.fileno())
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    if sync:
        sync_directory(directory or ".")


def atomic_symlink(target: str, path: str, *, sync: bool = False) -> None:
    """Create or change a link in one step: a reader sees the old or the new one.

    sync: after a power cut it is either there or unchanged. Raises OSError.
    """
    temporary = f"{path}.new"
    if os.path.lexists(temporary):
        os.unlink(temporary)
    os.symlink(target, temporary)
    os.rename(temporary, path)
    if sync:
        sync_directory(os.path.dirname(path))


def durable_remove(path: str) -> None:
    """Remove a file, if it exists, so that a power cut does not bring it back. Raises OSError."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    sync_directory(os.path.dirname(path))


def sync_directory(path: str) -> None:
    """fsync a directory, so that a rename in it survives a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
