"""A generation: one set of versions of kernel, k3OS and k3s, its manifest and its links.

Disk and ISO have the same layout (docs/reference/files.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from pathlib import Path

from k3os.generation import manifest
from k3os.generation.layout import GENERATIONS, SYSTEM
from k3os.generation.release import SIGNATURE
from k3os.image.tree import FILE, Entry, Tree
from k3os.system.digest import file_sha256


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
    """Add /k3os/system with one generation, which `current` refers to.

    kernel: (version, file name -> path: vmlinuz, initrd, modules.squashfs), None for an overlay;
    k3os: (version, rootfs.squashfs); k3s: (version, executable), None without k3s.
    medium: other parts of the release that are already in the tree: loaders, menus, image archives.
    first_stage: path -> SHA-256 of what starts k3OS on top of another system.
    sign: makes the manifest's signature, which is stored beside it.
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
    known: dict[str, dict[str, tuple[str, int]]] = {name: {} for name in components}
    for name, (path, mode) in files.items():
        known[name.split("/")[0]][name] = file_sha256(path), path.stat().st_size
        tree.add(f"{SYSTEM}/{name}", Entry(FILE, mode, data=path.read_bytes))
    record = {"generation": number, **manifest.new_record(arch, epoch, components)}
    for component, version in components.items():
        record = manifest.with_component(record, component, version, known[component])
    sums = {path: sha256(tree.read(path)).hexdigest() for path in sorted(medium)}
    text = manifest.as_bytes(
        {**record, manifest.MEDIUM: sums, manifest.FIRST_STAGE: dict(first_stage or {})}
    )
    generation = f"{SYSTEM}/{GENERATIONS}/{number}"
    tree.file(f"{generation}/{manifest.NAME}", text)
    if sign is not None:
        tree.file(f"{generation}/{manifest.NAME}{SIGNATURE}", sign(text))
    for name, version in components.items():
        tree.link(f"{generation}/{name}", f"../../{name}/{version}")
    tree.link(f"{SYSTEM}/current", f"{GENERATIONS}/{number}")
