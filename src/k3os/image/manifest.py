"""A generation: one set of kernel, k3OS and k3s versions, its manifest and its links.

The layout is the one of the disk and of the ISO alike (README.md, "What is on the disk").
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from pathlib import Path

from k3os.image.cache import file_digest_plain
from k3os.image.tree import FILE, Entry, Tree
from k3os.install.loaded import FIRST_STAGE

SYSTEM = "k3os/system"


def add_generation(
    tree: Tree,
    *,
    number: int,
    arch: str,
    kernel: tuple[str, Mapping[str, Path]] | None,
    k3os: tuple[str, Path],
    k3s: tuple[str, Path] | None,
    epoch: int,
    medium: Iterable[str] = (),
    first_stage: Mapping[str, str] | None = None,
    sign: Callable[[bytes], bytes] | None = None,
) -> None:
    """Add /k3os/system with one generation that `current` names.

    kernel: (version, file name to path: vmlinuz, initrd, modules.squashfs), None for an overlay;
    k3os: (version, rootfs.squashfs); k3s: (version, executable), None where there is none.
    medium: what else is part of the release, in the tree already: loaders, menus, image archives.
    first_stage: path to SHA-256 of what starts k3OS on top of another system.
    sign: makes the manifest's signature, which lies beside it.
    """
    files: dict[str, tuple[Path, int]] = {}
    components: dict[str, str] = {"k3os": k3os[0]}
    files[f"k3os/{k3os[0]}/rootfs.squashfs"] = (k3os[1], 0o644)
    if kernel is not None:
        components["kernel"] = kernel[0]
        for name, path in kernel[1].items():
            files[f"kernel/{kernel[0]}/{name}"] = (path, 0o644)
    if k3s is not None:
        components["k3s"] = k3s[0]
        files[f"k3s/{k3s[0]}/k3s"] = (k3s[1], 0o755)
    sums, sizes = {}, {}
    for name, (path, mode) in files.items():
        sums[name] = file_digest_plain(path)
        sizes[name] = path.stat().st_size
        tree.add(f"{SYSTEM}/{name}", Entry(FILE, mode, data=path.read_bytes))
    manifest = {
        "generation": number,
        "arch": arch,
        "created": epoch,
        **{name: components.get(name) for name in ("kernel", "k3os", "k3s")},
        "sha256": sums,
        "size": sizes,
        "medium": {path: sha256(tree.read(path)).hexdigest() for path in sorted(medium)},
        FIRST_STAGE: dict(first_stage or {}),
    }
    generation = f"{SYSTEM}/generations/{number}"
    text = json.dumps(manifest, indent=2).encode() + b"\n"
    tree.file(f"{generation}/manifest.json", text)
    if sign is not None:
        tree.file(f"{generation}/manifest.json.sig", sign(text))
    for name, version in components.items():
        tree.link(f"{generation}/{name}", f"../../{name}/{version}")
    tree.link(f"{SYSTEM}/current", f"generations/{number}")
