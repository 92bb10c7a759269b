"""Whether the files of the generations still match their manifests: bit rot, a dying disk.

It reads the disk itself, not the page cache, and changes nothing but its own record. The manifest
is the JSON of docs/reference/files.md.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping

from k3os.generation import extensions
from k3os.generation.installed import Installed
from k3os.generation.manifest import sums_of
from k3os.system.digest import file_sha256, forget
from k3os.system.files import atomic_write
from k3os.system.stamps import utc

HINT = (
    "the disk may be failing; `k3os upgrade` with the same release writes the files again, "
    "`k3os upgrade --rollback` goes back to the other generation"
)


def sums(installed: Installed, generations: Iterable[str]) -> dict[str, str]:
    """Path below /k3os/system to its SHA-256, of all files of these generations."""
    found: dict[str, str] = {}
    for generation in generations:
        record = installed.manifests[generation]
        found |= sums_of(record) | extensions.sums(record)
    return found


def damaged(
    system: str, wanted: Mapping[str, str], said: Callable[[str, str], None] = lambda *_: None
) -> dict[str, str]:
    """Compare; returns path to what is wrong. said: called with each path and its fault or ""."""
    found = {}
    for path, digest in sorted(wanted.items()):
        reason = _wrong(f"{system}/{path}", digest)
        if reason:
            found[path] = reason
        said(path, reason)
    return found


def _wrong(path: str, wanted: str) -> str:
    try:
        forget(path)
        digest = file_sha256(path)
        forget(path)  # leave the memory to others
    except OSError as error:
        return error.strerror or str(error)
    return "" if digest == wanted else f"its SHA-256 is {digest}, not {wanted}"


def record(path: str, wrong: Mapping[str, str], files: int) -> None:
    """Keep the result for `k3os status` and others."""
    result = {
        "when": utc(),
        "files": files,
        "damaged": dict(wrong),
    }
    os.makedirs(os.path.dirname(path), exist_ok=True)
    atomic_write(path, json.dumps(result, indent=1).encode() + b"\n")
