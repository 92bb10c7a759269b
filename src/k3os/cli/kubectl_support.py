"""`kubectl k3os support`: the output of `k3os support` of several nodes, in one archive.

The nodes mask their secrets before anything is sent. What they send is not trusted: only regular
files are taken from their archives, under their base name, and only up to a limit.
"""

from __future__ import annotations

import io
import os
import re
import sys
import tarfile
import time
import zlib
from collections.abc import Iterator

from k3os.cluster.kubectl import Kubectl
from k3os.cluster.on_node import find, on_node
from k3os.errors import UserError
from k3os.node.support import archive
from k3os.system.files import atomic_write

POD_SECONDS, SECONDS = 900, 600.0
MOST = 256 << 20  # bytes per node, unpacked
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,100}")
FAILED = "failed.txt"


def support(kubectl: Kubectl, nodes: list[str], path: str) -> int:
    """Exit code 1 when a node gave nothing; the archive contains the reason. Raises UserError."""
    now = int(time.time())
    path = path or time.strftime("k3os-support-%Y%m%d-%H%M%S.tar.gz", time.gmtime(now))
    directory = os.path.dirname(path) or "."
    if not os.access(directory, os.W_OK):
        raise UserError("cannot be written to", "name another file: `-o FILE`", directory)
    found: dict[str, bytes] = {}
    failures = 0
    for name in dict.fromkeys(nodes):
        try:
            view = find(kubectl, name)
            with on_node(kubectl, view, POD_SECONDS) as there:
                data = there.output(["k3os", "support", "--output=-"], SECONDS)
            found |= {f"{view.name}/{each}": text for each, text in unpacked(data)}
        except UserError as error:
            failures += 1
            print(f"kubectl k3os: {name}: {error}", file=sys.stderr)
            found[f"{re.sub(r'[^A-Za-z0-9._-]', '_', name)}/{FAILED}"] = f"{error}\n".encode()
    try:
        atomic_write(path, archive("k3os-support", found, now), mode=0o600)
    except OSError as error:
        raise UserError(f"cannot be written: {error.strerror}", where=path) from error
    print(path)
    return 1 if failures else 0


def unpacked(data: bytes) -> Iterator[tuple[str, bytes]]:
    """The files of a node's archive. Raises UserError."""
    left = MOST
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r|gz") as tar:
            for entry in tar:
                name = os.path.basename(entry.name)
                if not entry.isreg() or not NAME.fullmatch(name):
                    continue
                left -= entry.size
                if left < 0:
                    raise UserError(f"its archive is larger than {MOST >> 20} MiB")
                file = tar.extractfile(entry)
                yield name, file.read() if file else b""
    except (tarfile.TarError, OSError, EOFError, zlib.error, ValueError) as error:
        raise UserError(f"what it sent is not an archive: {error}") from error
