"""Which boot loaders a disk has, and whether the running k3OS brings others.

An upgrade does not touch them, since it could not take that back. So whatever writes them leaves a
record beside the generations, and each generation's manifest lists those of its release.

    {"k3os": "0.2.0", "sha256": {"core.img": "…", "efi.img": "…"}, "board": ""}

On top of another system we have no boot loader, only a first stage, whose files are compared.
"""

from __future__ import annotations

import json
import os

from k3os.generation.layout import LOADERS
from k3os.generation.manifest import FIRST_STAGE, LOADER_SUMS, read_record
from k3os.paths import BASE
from k3os.system.files import atomic_write, read_object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from k3os.generation.install_medium import InstallMedium

RECORD = "loaders.json"
HOW = "boot its ISO and install with no_format and this config.yaml; the data stays"


def record(system: str, source: InstallMedium, names: Iterable[str], board: str = "") -> None:
    """Note that these loaders of a medium were written; none: another system's are in use."""
    from k3os.system.digest import file_sha256

    sums = {name: file_sha256(f"{source.root}/{LOADERS}/{name}") for name in sorted(names)}
    entry = {"k3os": source.versions.get("k3os", ""), "sha256": sums, "board": board}
    atomic_write(f"{system}/{RECORD}", json.dumps(entry).encode() + b"\n", sync=True)


def compare(system: str, generation: str, base: str = BASE) -> dict[str, Any]:
    """installed, brought: versions of k3OS; outdated: whether the loaders differ; board: of the
    firmware beside them; kind: LOADER_SUMS or FIRST_STAGE. {} if there is nothing to say."""
    from k3os.generation.versions import is_older

    manifest = read_record(f"{system}/{generation}")
    if not manifest.get("kernel"):
        return _first_stage(manifest, base)
    known = read_object(f"{system}/{RECORD}")
    brought, written = manifest.get(LOADER_SUMS), known.get("sha256")
    if not isinstance(brought, dict) or not brought:
        return {}
    if known and not written:
        return {}  # the other system's loader, which it keeps up to date itself
    here = written if isinstance(written, dict) else {}
    installed, version = str(known.get("k3os", "")), str(manifest.get("k3os", ""))
    others = not known or any(brought.get(name) != each for name, each in here.items())
    return {
        "installed": installed,
        "brought": version,
        # after a rollback the newer ones stay: they boot an older k3OS as well
        "outdated": others and not is_older(version, installed),
        "board": str(known.get("board", "")),
        "kind": LOADER_SUMS,
    }


def _first_stage(manifest: Mapping[str, Any], base: str) -> dict[str, Any]:
    from k3os.system.digest import file_sha256

    # from the tarball's manifest, or from one that an upgrade made
    brought = manifest.get(FIRST_STAGE) or manifest.get(LOADER_SUMS)
    if not isinstance(brought, dict):
        return {}
    files = {path: str(each) for path, each in brought.items() if "/" in path}
    outdated = any(
        file_sha256(f"{base}/{path}") != each
        for path, each in files.items()
        if os.path.isfile(f"{base}/{path}")
    )
    version = str(manifest.get("k3os", ""))
    comparison = {"installed": "", "brought": version, "outdated": outdated, "board": ""}
    return {**comparison, "kind": FIRST_STAGE} if files else {}


def lines(comparison: Mapping[str, Any]) -> list[str]:
    """For `k3os status`; nothing if all is well."""
    told = []
    if comparison.get("outdated") and comparison["kind"] == FIRST_STAGE:
        told.append("first stage (/sbin/init of the system below) is not the one of k3OS")
        told.append(
            f"           {comparison['brought']}: unpack /sbin/init and /k3os/system/bin of its"
        )
        told.append("           tarball over it")
    elif comparison.get("outdated"):
        whose = (
            f"of k3OS {comparison['installed']}"
            if comparison["installed"]
            else "older than this record"
        )
        told.append(f"boot loader is {whose}; this system brings another one, that of")
        told.append(f"           {comparison['brought']}: {HOW}")
    if comparison.get("board") and comparison["installed"] != comparison["brought"]:
        told.append(
            f"firmware   and device trees on the card are those of k3OS {comparison['installed']}:"
        )
        told.append(f"           `k3os image` of {comparison['brought']} makes a card with its own")
    return told
