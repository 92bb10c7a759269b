"""Stages: each is a directory named by the hash of its inputs, complete or nonexistent. One lock
protects the whole cache: a second build waits and says for which one.

A stage is built in a temporary directory beside its final name and renamed when it is complete, so
an interrupted build leaves nothing that could be mistaken for a result.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from k3os.errors import UserError
from k3os.image.progress import Progress
from k3os.system.run import CommandError, run

_UNFINISHED = ".unfinished-"
KEEP_PER_STAGE = 3


def digest(*inputs: object) -> str:
    """A short stable hash of JSON-able inputs and files (Path: its bytes and executable bit)."""
    hasher = hashlib.sha256()
    for item in inputs:
        if isinstance(item, Path):
            hasher.update(b"path:" + file_digest(item).encode())
        else:
            hasher.update(json.dumps(item, sort_keys=True).encode())
        hasher.update(b"\0")
    return hasher.hexdigest()[:16]


def file_digest(path: Path) -> str:
    """SHA-256 of a file, or of a directory's files, their names and executable bits."""
    hasher = hashlib.sha256()
    if path.is_dir():
        for child in sorted(path.rglob("*")):
            if "__pycache__" in child.parts or child.is_dir():
                continue
            hasher.update(child.relative_to(path).as_posix().encode() + b"\0")
            link = str(child.readlink()) if child.is_symlink() else ""
            hasher.update(link.encode() if link else file_digest(child).encode())
        return hasher.hexdigest()
    with open(path, "rb") as file:
        hasher.update(b"x" if os.fstat(file.fileno()).st_mode & 0o100 else b"-")
        for block in iter(lambda: file.read(1 << 20), b""):
            hasher.update(block)
    return hasher.hexdigest()


class Cache:
    """The cache directory of one build. Use it only inside `locked()`."""

    def __init__(self, directory: Path, progress: Progress) -> None:
        self.directory = directory
        self.progress = progress

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the cache's lock (flock(2): the kernel releases it when we die)."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with open(self.directory / "lock", "a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                owner = lock.read().strip() or "unknown"
                self.progress.note(
                    f"another build (process {owner}) uses {self.directory}; waiting for it. "
                    "CACHE=… builds elsewhere"
                )
                fcntl.flock(lock, fcntl.LOCK_EX)
            lock.seek(0)
            lock.truncate()
            lock.write(f"{os.getpid()}\n")
            lock.flush()
            self._sweep()
            yield

    def _sweep(self) -> None:
        for leftover in self.directory.glob(f"*/{_UNFINISHED}*"):
            remove_tree(leftover)

    def stage(self, name: str, key: str, build: Callable[[Path], None]) -> Path:
        """The directory of a stage; calls build(directory) only if it does not exist yet.

        Raises whatever build raises (nothing of the stage is left then).
        """
        final = self.directory / name / key
        if final.is_dir():
            os.utime(final)  # pruning below keeps what was used last
            self.progress.cached(name)
            return final
        unfinished = final.with_name(f"{_UNFINISHED}{key}.{os.getpid()}")
        try:
            unfinished.mkdir(parents=True)
            with self.progress.stage(name):
                build(unfinished)
            unfinished.rename(final)
        except OSError as error:
            remove_tree(unfinished)
            raise _disk_error(error, self.directory) from error
        except BaseException:
            remove_tree(unfinished)
            raise
        self._prune(final.parent)
        return final

    def _prune(self, stage: Path) -> None:
        by_use = sorted(stage.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
        for old in by_use[KEEP_PER_STAGE:]:
            remove_tree(old)


def _disk_error(error: OSError, directory: Path) -> BaseException:
    import errno

    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return error
    free = shutil.disk_usage(directory).free >> 20
    return UserError(
        f"no space left on the disk of {directory} ({free} MiB free)",
        "a build needs about 4 GiB; free some, or put CACHE= and ARTIFACTS= on a larger disk",
    )


def remove_tree(path: Path) -> None:
    """Remove a directory, even if it contains files of other (sub)users."""
    shutil.rmtree(path, ignore_errors=True)
    if path.exists() and os.getuid() != 0:
        # files of subordinate uids, from an interrupted unshare: only its namespace can delete them
        try:
            run(["unshare", "--map-auto", "--map-root-user", "rm", "-rf", str(path)])
        except CommandError as error:
            raise UserError(f"cannot remove {path}", f"remove it by hand ({error})") from error
