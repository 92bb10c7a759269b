"""The sizes of what is downloaded and booted, ours and the peer's."""

from __future__ import annotations

from pathlib import Path

from bench.images import STUB, Image
from bench.peer import Peer
from bench.table import Row, Samples

# MB, without k3s
ISO_BUDGET = {"generic": 200, "cloud": 120}
INITRD_BUDGET = {"cloud": 25}


def _size(*paths: Path, less: int = 0) -> Samples:
    return Samples((float(sum(path.stat().st_size for path in paths) - less),), "MB")


def size_rows(images: dict[str, Image], peer: Peer) -> list[Row]:
    """Budgets for ISO and initrd per kernel ("cloud" is required), and the comparison."""
    stub = STUB.stat().st_size
    rows = []
    for kernel, image in images.items():
        budget = ISO_BUDGET[kernel]
        iso = _size(image.iso, less=stub)
        rows.append(Row(f"ISO without k3s, {kernel} kernel", iso, at_most=budget))
        initrd = _size(image.initrd)
        rows.append(Row(f"initrd, {kernel} kernel", initrd, at_most=INITRD_BUDGET.get(kernel)))
    ours = images["cloud"]
    return [
        *rows,
        Row(
            "kernel and initrd, cloud kernel",
            _size(ours.kernel, ours.initrd),
            _size(peer.kernel, peer.initrd),
        ),
        Row(
            "everything to boot from, compressed (ISO; kernel, initrd and qcow2 with zstd)",
            _size(ours.iso, less=stub),
            _size(peer.kernel, peer.initrd, peer.download),
        ),
    ]
