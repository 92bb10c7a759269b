"""A mirror of the k3s releases on the lab's web server, in the layout of the original."""

from __future__ import annotations

import hashlib
from pathlib import Path

from k3os.k3s.source import release_files

CRASHES = """#!/bin/sh
[ "$1" != --version ] || exec echo k3s version {version}
echo "this k3s ends at once" >&2
exit 1
"""


def publish_k3s(web: Path, version: str, data: bytes) -> None:
    """Publish a release: the executable and its checksum. The server decodes %2B in URLs."""
    executable, sums = release_files("amd64")
    directory = web / "k3s" / version
    directory.mkdir(parents=True, exist_ok=True)
    (directory / executable).write_bytes(data)
    (directory / sums).write_text(f"{hashlib.sha256(data).hexdigest()}  {executable}\n")


def crashing(version: str) -> bytes:
    """A k3s that reports its version, but exits at once when it should run."""
    return CRASHES.format(version=version).encode()
