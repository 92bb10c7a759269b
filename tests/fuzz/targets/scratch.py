"""Files for parsers that want a path: in memory, one directory for each process."""

from __future__ import annotations

import os
import tempfile
from functools import cache
from pathlib import Path


def directory() -> Path:
    return _directory(os.getpid())


@cache
def _directory(_: int) -> Path:
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    holder = tempfile.TemporaryDirectory(prefix="k3os-fuzz.", dir=place)
    _holders.append(holder)
    return Path(holder.name)


_holders: list[tempfile.TemporaryDirectory[str]] = []


def file(data: bytes, name: str = "input") -> str:
    path = directory() / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return str(path)


def text(data: bytes) -> str:
    """As a node reads texts that may have any byte."""
    return data.decode("utf-8", "surrogateescape")
