"""Which boot loaders a disk has, and whether the running k3OS brings others.

An upgrade does not touch them: they are outside of what it can take back. So whoever writes them
leaves a record beside the generations, and each generation's manifest says what its release has.

    {"k3os": "0.2.0", "sha256": {"core.img": "…", "efi.img": "…"}, "board": ""}
"""

from __future__ import annotations

import json

from k3os.system.files import atomic_write, read_object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from k3os.install.source import Source

RECORD = "loaders.json"
KEY = "loaders"  # of a generation's manifest
HOW = "boot its ISO and install with no_format and this config.yaml; the data stays"


def of_medium(medium: Mapping[str, object]) -> dict[str, str]:
    """File name to SHA-256 of the loaders, of what a release's manifest calls the medium."""
    from k3os.install.source import LOADERS

    return {
        path.rpartition("/")[2]: str(digest)
        for path, digest in medium.items()
        if path.rpartition("/")[0] == LOADERS
    }


def record(system: str, source: Source, names: Iterable[str], board: str = "") -> None:
    """Note that these loaders of a medium were written; none: another system's are in use."""
    from k3os.install.source import LOADERS, file_sha256

    sums = {name: file_sha256(f"{source.root}/{LOADERS}/{name}") for name in sorted(names)}
    found = {"k3os": source.versions.get("k3os", ""), "sha256": sums, "board": board}
    atomic_write(f"{system}/{RECORD}", json.dumps(found).encode() + b"\n", sync=True)


def compare(system: str, generation: str) -> dict[str, Any]:
    """installed, brought: versions of k3OS; outdated: whether the loaders differ; board: of the
    firmware beside them. {} where there is nothing to tell."""
    from k3os.upgrade.release import is_older

    manifest = read_object(f"{system}/{generation}/manifest.json")
    known = read_object(f"{system}/{RECORD}")
    brought, written = manifest.get(KEY), known.get("sha256")
    if not isinstance(brought, dict) or not brought:
        return {}
    if known and not written:
        return {}  # the loader of the system that was there before, which keeps it up to date
    here = written if isinstance(written, dict) else {}
    installed, version = str(known.get("k3os", "")), str(manifest.get("k3os", ""))
    others = not known or any(brought.get(name) != each for name, each in here.items())
    return {
        "installed": installed,
        "brought": version,
        # after a way back the newer ones stay, which boot an older k3OS as well
        "outdated": others and not is_older(version, installed),
        "board": str(known.get("board", "")),
    }


def lines(found: Mapping[str, Any]) -> list[str]:
    """For `k3os status`; nothing while all is as it should be."""
    told = []
    if found.get("outdated"):
        whose = f"of k3OS {found['installed']}" if found["installed"] else "older than this record"
        told.append(f"boot loader is {whose}; this system brings another one, that of")
        told.append(f"           {found['brought']}: {HOW}")
    if found.get("board") and found["installed"] != found["brought"]:
        told.append(
            f"firmware   and device trees on the card are those of k3OS {found['installed']}:"
        )
        told.append(f"           `k3os image` of {found['brought']} makes a card with its own")
    return told
