"""System extensions of a generation (systemd-sysext(8)): in its manifest, and links for the boot.

An extension is one file below /k3os/system/extensions, named by its content: two generations may
have two of the same name, and what one of them uses is never written to. It must not look into one:
k3os.generation.extension_fit.
"""

from __future__ import annotations

import os

from k3os.generation.extension_fit import is_name
from k3os.system.frozen import Frozen
from k3os.system.numbers import whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

# below /k3os/system, in the directory of a generation, and in its manifest
PLACE = "extensions"
SUFFIX = ".raw"
HEX = frozenset("0123456789abcdef")


class Extension(Frozen):
    """sha256: hex, of the file; size: bytes; version: "" for one that says none."""

    name: str
    version: str
    sha256: str
    size: int

    @property
    def path(self) -> str:
        """Where it lies, below /k3os/system."""
        return f"{PLACE}/{self.name}.{self.sha256[:16]}{SUFFIX}"

    def __str__(self) -> str:
        return f"{self.name} {self.version}".rstrip()


def of(record: Mapping[str, Any]) -> tuple[Extension, ...]:
    """Those in a manifest, by name. What is none of ours is left out: it may be anybody's."""
    listed = record.get(PLACE)
    if not isinstance(listed, dict):
        return ()
    found = []
    for name, entry in sorted(listed.items()):
        if not isinstance(entry, dict):
            continue
        digest, size = str(entry.get("sha256")), whole(str(entry.get("size")))
        if is_name(name) and len(digest) == 64 and HEX.issuperset(digest) and size is not None:
            found.append(Extension(name, str(entry.get("version") or ""), digest, size))
    return tuple(found)


def into(record: Mapping[str, Any], extensions: Iterable[Extension]) -> dict[str, Any]:
    """A manifest with these and no others."""
    rest = {key: value for key, value in record.items() if key != PLACE}
    listed = {
        each.name: {"version": each.version, "sha256": each.sha256, "size": each.size}
        for each in sorted(extensions, key=lambda each: each.name)
    }
    return {**rest, **({PLACE: listed} if listed else {})}


def sums(record: Mapping[str, Any]) -> dict[str, str]:
    """Path below /k3os/system to SHA-256."""
    return {each.path: each.sha256 for each in of(record)}


def write_links(generation: str, extensions: Iterable[Extension]) -> None:
    """What the boot reads, in the directory of a generation that nothing leads to yet; nothing
    without extensions. Raises OSError."""
    for each in extensions:
        os.makedirs(f"{generation}/{PLACE}", exist_ok=True)
        os.symlink(f"../../../{each.path}", f"{generation}/{PLACE}/{each.name}{SUFFIX}")


def shown(extensions: Iterable[Extension]) -> str:
    return ", ".join(map(str, extensions)) or "no extensions"


def replaced(known: Iterable[Extension], new: Extension) -> tuple[Extension, ...]:
    """With this one instead of the one of its name."""
    rest = [each for each in known if each.name != new.name]
    return tuple(sorted([*rest, new], key=lambda each: each.name))


def lines(
    report: Mapping[str, Any], running: Iterable[Extension], following: Iterable[Extension]
) -> list[str]:
    """How each is, for people. report: what the boot made of them (k3os.boot.extensions); running
    and following: those of the generation that runs and of the one that boots next."""
    now = {each.name: each for each in running}
    then = {each.name: each for each in following}
    said = []
    for name in sorted({*report, *now, *then}):
        entry = report.get(name)
        known = entry if isinstance(entry, dict) else {}
        version = str(known.get("version") or "") or str(getattr(now.get(name), "version", ""))
        states = []
        if name in report:
            states.append(str(known.get("reason") or "") or "active")
        elif name in now:
            states.append("not active: this boot has not looked for extensions")
        if name not in then:
            states.append("gone after the next boot: `sudo reboot`")
        elif then[name] != now.get(name):
            states.append(f"{then[name]} after the next boot: `sudo reboot`")
        title = f"{name} {version}".rstrip()
        said.append(f"{title}: {'; '.join(states)}")
    return said


def failures(report: Mapping[str, Any]) -> dict[str, str]:
    """Name to what is wrong, of those that are not as they should be."""
    return {
        str(name): str(entry["reason"])
        for name, entry in sorted(report.items())
        if isinstance(entry, dict) and entry.get("reason")
    }
