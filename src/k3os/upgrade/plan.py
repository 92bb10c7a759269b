"""What an upgrade will do, decided before anything is written: which files come and go. Older
versions are refused unless allowed (`--allow-downgrade`, a NodePool's `spec.strategy.rollback`).

`make_plan` looks at /k3os/system of the disk and at what is offered, and refuses with a reason or
returns a record that perform.py carries out. It changes nothing.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from k3os.errors import UserError
from k3os.generation import extensions as system_extensions
from k3os.generation import kernel_args, manifest
from k3os.generation.extensions import PLACE, Extension
from k3os.generation.installed import Installed
from k3os.generation.layout import COMPONENTS, GENERATIONS, link, numbers
from k3os.generation.manifest import File, Manifest
from k3os.generation.release import wrong_arch
from k3os.generation.versions import is_older
from k3os.system.digest import digest_of

MIB = 1 << 20
# space to leave for the node itself: ext4's own blocks, systemd's journal, a little data
SPARE = 32 * MIB


@dataclass(frozen=True)
class Part:
    """A component from a source: its version and its files.

    write: called with a file and its target path; raises UserError. loaders: of its release.
    """

    version: str
    files: tuple[File, ...]
    write: Callable[[File, str], None]
    loaders: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """One file to write: path below /k3os/system."""

    path: str
    file: File
    write: Callable[[File, str], None]


@dataclass(frozen=True)
class Plan:
    """steps: what is written; manifest and links: of the new generation; previous: the link's new
    target; removals: below /k3os/system; needed, room: bytes; reboot: whether the k3OS, the kernel
    or its arguments differ from what runs."""

    number: int
    before: Mapping[str, str]
    after: Mapping[str, str]
    steps: tuple[Step, ...]
    manifest: Mapping[str, object]
    links: Mapping[str, str]
    previous: str
    early_removals: tuple[str, ...]
    removals: tuple[str, ...]
    needed: int
    room: int
    changed: tuple[str, ...]
    reboot: bool

    def lines(self) -> list[str]:
        """The plan, for people."""
        lines = []
        for name in COMPONENTS:
            old, new = self.before.get(name, "none"), self.after.get(name, "none")
            if name in self.changed:
                what = f"{old} -> {new}" if old != new else f"{new}, other content"
                lines.append(f"{name:<7} {what}")
            elif new != "none":
                lines.append(f"{name:<7} {new} stays")
        lines.append(
            f"{len(self.steps)} files, {self.needed / 10**6:.1f} MB to write, "
            f"{self.room / 10**6:.1f} MB are free"
        )
        lines += [f"remove {path}" for path in (*self.early_removals, *self.removals)]
        return lines


def upgradable(
    names: list[str], installed: Installed, offered: Manifest, origin: str
) -> tuple[list[str], str]:
    """Which of the requested components can be upgraded; why the kernel stays, or "".

    In overlay mode the kernel is the other system's: no generation has one there. Raises UserError
    if only the kernel was requested.
    """
    rest = [name for name in names if name != "kernel"]
    if rest == names or ("kernel" in installed.versions and "kernel" in offered.versions):
        return names, ""
    if "kernel" in installed.versions:
        return rest, f"{origin} has no kernel: the one of this node stays"
    whose = "the kernel of this node is that of the system below k3OS"
    if not rest:
        raise UserError(whose, "nothing was written; upgrade it with that system's own means")
    return rest, f"warning: {whose}, which upgrades it: it stays"


def make_plan(
    installed: Installed,
    parts: Mapping[str, Part],
    *,
    arch: str,
    created: int,
    allow_downgrade: bool = False,
    room: int | None = None,
    arguments: tuple[str, ...] | None = None,
    extensions: tuple[Extension, ...] | None = None,
    added: tuple[Step, ...] = (),
) -> Plan:
    """Decide. parts: component to what replaces it. room: free bytes, None to measure them.
    arguments: of the kernel; extensions: of the system; None: those of the current generation.
    added: files of extensions that are new.

    Raises UserError: a downgrade, not enough space.
    """
    before = installed.versions
    if not allow_downgrade:
        refuse_downgrade(before, parts)
    old = installed.manifests[installed.current]
    record = manifest.new_record(arch, created, before)
    record |= {key: manifest.mapping(old, key) for key in ("sha256", "size")}
    links = {name: _component(installed, name, installed.current) for name in before}
    after, steps, changed = dict(before), [], []
    for name, part in parts.items():
        directory, same = _directory(installed, name, part)
        after[name] = part.version
        if links.get(name) != directory:
            changed.append(name)
        links[name] = directory
        known = {f"{directory}/{file.name}": (file.sha256, file.size) for file in part.files}
        record = manifest.with_component(record, name, part.version, known)
        for file in part.files:
            path = f"{directory}/{file.name}"
            if not same and digest_of(f"{installed.system}/{path}") != file.sha256:
                steps.append(Step(path, file, part.write))
    if arguments is None:
        arguments = installed.arguments(installed.current)
    record = kernel_args.into(record, arguments)
    if extensions is None:
        extensions = installed.extensions(installed.current)
    record = system_extensions.into(record, extensions)
    steps += [
        each for each in added if digest_of(f"{installed.system}/{each.path}") != each.file.sha256
    ]
    number = 1 + max(numbers(installed.system))
    key = manifest.LOADER_SUMS
    loaders = parts["k3os"].loaders if "k3os" in parts else manifest.mapping(old, key)
    record |= {key: dict(loaders)} if loaders else {}
    wanted = {*links.values(), *(step.path for step in steps)}
    wanted |= {each.path for each in extensions}
    kept = {installed.current, installed.previous, installed.running} & set(installed.manifests)
    early = unused(installed, kept, wanted)
    late = [
        path
        for path in unused(
            installed, {installed.kept, installed.running} & set(installed.manifests), wanted
        )
        if path not in early
    ]
    needed = sum(step.file.size for step in steps)
    free = room if room is not None else _free(installed.system)
    free += sum(_size(f"{installed.system}/{path}") for path in early)
    if (changed or added) and needed + SPARE > free:
        raise UserError(
            f"there is not enough space: {(needed + SPARE) / 10**6:.0f} MB are needed, "
            f"{free / 10**6:.0f} MB are free, {(needed + SPARE - free) / 10**6:.0f} MB are missing",
            "make room in /var, /home or /opt, or give the disk more space; nothing was written",
        )
    return Plan(
        number=number,
        before=before,
        after=after,
        steps=tuple(steps),
        manifest=record,
        links=links,
        previous=installed.kept,
        early_removals=tuple(early),
        removals=tuple(late),
        needed=needed,
        room=free,
        changed=tuple(changed),
        reboot=any(
            links.get(name) != _component(installed, name, installed.kept)
            for name in ("kernel", "k3os")
            if name in links
        )
        or arguments != installed.arguments(installed.kept)
        or extensions != installed.extensions(installed.kept),
    )


def refuse_downgrade(before: Mapping[str, str], parts: Mapping[str, Part]) -> None:
    for name in ("k3os", "k3s"):
        if name in parts and name in before and is_older(parts[name].version, before[name]):
            raise UserError(
                f"{name} {parts[name].version} is older than {before[name]}, which is installed",
                "--allow-downgrade does it all the same; `k3os upgrade --rollback` goes back to "
                "the previous generation",
            )


def _directory(installed: Installed, name: str, part: Part) -> tuple[str, bool]:
    """Where a component goes, and whether it is already there, complete.

    A version that is installed with other content gets a directory of its own: files that a
    generation uses are never overwritten.
    """
    plain = f"{name}/{part.version}"
    identity = hashlib.sha256("".join(file.sha256 for file in part.files).encode()).hexdigest()
    used = {path for each in installed.manifests.values() for path in manifest.sums_of(each)}
    for directory in (plain, f"{plain}~{identity[:8]}"):
        paths = {f"{directory}/{file.name}": file.sha256 for file in part.files}
        if all(digest_of(f"{installed.system}/{path}") == each for path, each in paths.items()):
            return directory, True
        if not any(path.startswith(f"{directory}/") for path in used):
            return directory, False
    raise UserError(
        f"{installed.system}/{directory} is damaged, and a generation uses it",
        "`k3os upgrade --rollback`, or install again with no_format, which keeps the data",
    )


def _component(installed: Installed, name: str, generation: str) -> str:
    """The directory of a generation's component, "k3os/0.1.0"."""
    target = link(f"{installed.system}/{generation}/{name}")
    return target.removeprefix("../../")


def unused(installed: Installed, kept: Iterable[str], wanted: Iterable[str]) -> list[str]:
    """Generations, components, extensions and leftovers that no generation in kept needs."""
    kept = set(kept)
    needed = set(wanted)
    for generation in kept:
        for name in COMPONENTS:
            needed.add(_component(installed, name, generation))
        needed |= {each.path for each in installed.extensions(generation)}
    found = [
        f"{GENERATIONS}/{number}"
        for number in sorted(numbers(installed.system))
        if f"{GENERATIONS}/{number}" not in kept
    ]
    for name in (*COMPONENTS, PLACE):
        directory = f"{installed.system}/{name}"
        versions = sorted(os.listdir(directory)) if os.path.isdir(directory) else []
        found += [f"{name}/{each}" for each in versions if f"{name}/{each}" not in needed]
    return found


def _free(system: str) -> int:
    status = os.statvfs(system)
    return status.f_bavail * status.f_frsize


def _size(path: str) -> int:
    """Bytes that a file or directory occupies on the disk."""
    if os.path.islink(path) or not os.path.isdir(path):
        return os.lstat(path).st_blocks * 512
    return sum(_size(entry.path) for entry in os.scandir(path))


def check_arch(offered: Manifest, arch: str, where: str) -> None:
    if offered.arch != arch:
        raise wrong_arch(offered.arch, arch, where)


def check_expected(offered: Manifest, version: str, where: str) -> None:
    """version: the expected k3OS, "" for any."""
    offered_version = offered.versions.get("k3os", "")
    if version and offered_version.removeprefix("v") != version.removeprefix("v"):
        raise UserError(
            f"is k3OS {offered_version or 'unknown'}, not {version}",
            "is the address that of the right release?",
            where,
        )
