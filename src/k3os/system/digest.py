"""The SHA-256 of a file, and reading one from the disk itself rather than from memory."""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from io import FileIO
    from os import PathLike


def file_sha256(path: "str | PathLike[str]") -> str:
    """In hex, as sha256sum(1) prints it. Raises OSError."""
    with open(path, "rb", buffering=0) as file:
        return sha256_of(file)


def sha256_of(file: "FileIO") -> str:
    """Of an open file, from its position to its end. Raises OSError."""
    import hashlib

    return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of(path: str) -> str:
    """The SHA-256 of a file, "" if it does not exist."""
    try:
        return file_sha256(path)
    except (FileNotFoundError, NotADirectoryError):
        return ""


def forget(path: str) -> None:
    """Drop a file's pages from memory (posix_fadvise(2)), after writing them out."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def mark_of(data: bytes) -> str:
    """A short mark of our own data, to notice changes; it is no protection against forgery."""
    import zlib

    return f"{zlib.crc32(data):08x}.{len(data)}"
