"""An installed disk as a file: what `k3os install` makes on a disk, without root and loop devices.

Partitions, menu, loaders and file copying come from the installer's code. sfdisk(8), mke2fs(8) and
mtools(1) work on the file; debugfs(8) fills the ext4, with fixed owners, times and order, so that
the same inputs give the same bytes.
"""

from __future__ import annotations

import json
import os
import re
import uuid
from dataclasses import dataclass
from pathlib import Path

from k3os.config.check import check_text
from k3os.errors import UserError
from k3os.generation import adding, boot_loaders, grub, install_medium, kernel_args, layout
from k3os.generation.install_medium import InstallMedium
from k3os.generation.layout import CONFIG, LOADERS, STATE_LABEL, SYSTEM
from k3os.image import board
from k3os.image.board import Board
from k3os.image.diskformat import convert
from k3os.image.remaster import extracted
from k3os.install import bios_loader, formatting, plan
from k3os.install import config as configuration
from k3os.install.plan import LAYOUT
from k3os.k3s import unpack
from k3os.system.console import Say
from k3os.system.digest import file_sha256
from k3os.system.disks import human
from k3os.system.run import run

# for a disk that grows: what mke2fs would choose for a large disk, not for these few MiB
EXT4_SHAPE = ("-b", "4096", "-I", "256", "-i", "16384", "-J", "size=64")
ZEROED = "assume_storage_prezeroed=1,root_owner=0:0"
TTY = "k3os.install.tty"
# the partition's name, also used for its file system's UUID
STATE = "state"
_SPACE = uuid.UUID("1ad3bd5a-5e15-4a4a-9ad5-6b336f735f31")
# what debugfs prints for successful commands
_FINE = re.compile(rb"debugfs: |debugfs \d|Allocated inode: \d+$|$")
_UNQUOTABLE = re.compile(r"[\"\n]")


@dataclass(frozen=True)
class DiskRequest:
    """source: a k3OS ISO; config: address or absolute path, "" for the ISO's own.

    size: bytes of the disk; format: a name of diskformat.FORMATS. arch: required architecture of
    the ISO, "" for any. board: None for a machine with firmware of its own; else the board, with
    the files for its FAT partition.
    """

    source: Path
    target: Path
    format: str
    config: str
    size: int
    arch: str = ""
    board: Board | None = None
    board_files: Path | None = None


@dataclass(frozen=True)
class Span:
    """A partition in the file; in bytes."""

    start: int
    size: int


def make_disk(request: DiskRequest, say: Say) -> None:
    """Write request.target, complete or not at all. Raises UserError, CommandError, OSError."""
    with extracted(request.source, request.target.parent) as iso:
        what = install_medium.read_medium(str(iso))
        install_medium.verify(what, f"{iso}/{SYSTEM}", lambda _: None)
        install_medium.verify_medium(what)
        if request.arch not in ("", what.arch):
            raise UserError(
                f"is for {what.arch}, not for {request.arch}",
                "take another ISO, or another ARCH",
                str(request.source),
            )
        if request.board is not None:
            board.check_kernel(request.board, what.versions["kernel"], str(request.source))
        own, version = f"{iso}/{CONFIG}", configuration.k3s_version(what)
        text = configuration.compose(own, request.config, "", say, k3s_version=version)
        if request.size < plan.needed(what):
            have, want = human(request.size), human(plan.needed(what))
            raise UserError(f"a disk of {have} is too small: {want} are needed", where="--size")
        versions = ", ".join(f"{name} {version}" for name, version in what.versions.items())
        say(f"{request.source}: {versions}; for a disk with sectors of 512 bytes")
        root = iso.parent / "root"
        adding.lay_down(what, text, str(root), lambda _: None)
        unpack.for_first_start(what, text, str(root), say)
        state = str(identity(what, request.size, STATE))
        grub.write_menu(str(root), menu_for(text, what.arch), state)
        names = layout.LOADER_FILES[what.arch]
        board_name = request.board.name if request.board is not None else ""
        boot_loaders.record(f"{root}/{SYSTEM}", what, names, board_name)
        adding.from_medium(what, f"{root}/{SYSTEM}", kernel_args.of_config(text))
        raw = iso.parent / "disk.raw"
        _write(raw, request, what, root, iso.parent, say)
        finished = convert(raw, request.format, identity(what, request.size, request.format))
        finished.chmod(0o600)  # it contains the configuration
        finished.rename(request.target)
    taken = request.target.stat().st_blocks * 512
    say(f"{request.target}: a disk of {human(request.size)} in a file of {taken / 10**6:.1f} MB")


def menu_for(text: bytes, arch: str) -> str:
    """The disk's GRUB menu, with the console and arguments of the configuration."""
    tty = check_text(text, "config.yaml")[0].get(TTY)
    arguments = bool(kernel_args.of_config(text))
    return grub.menu(str(tty.data) if tty else "", arch=arch, arguments=arguments)


def identity(what: InstallMedium, size: int, part: str) -> uuid.UUID:
    """A UUID that is the same for the same system and size, and does not depend on secrets."""
    return uuid.uuid5(_SPACE, f"{part} {size} {what.manifest.decode()}")


def modules_of(what: InstallMedium) -> str:
    """modules.dep(5) and modules.builtin of a medium's kernel."""
    version = what.versions["kernel"]
    image = f"{what.root}/{SYSTEM}/kernel/{version}/modules.squashfs"
    lists = [f"modules/{version}/modules.{name}" for name in ("dep", "builtin")]
    return run(["unsquashfs", "-no-progress", "-cat", image, *lists]).decode()


def _write(
    disk: Path, request: DiskRequest, what: InstallMedium, root: Path, scratch: Path, say: Say
) -> None:
    """The whole disk: table, file systems, loaders."""
    with open(disk, "wb") as file:
        file.truncate(request.size)

    def name(part: str) -> str:
        return str(identity(what, request.size, part))

    if request.board is None:
        parts, script = tuple(LAYOUT), formatting.script(LAYOUT, name)
    else:
        parts, script = request.board.layout, board.table(request.board, name)
    run(["sfdisk", "--quiet", str(disk)], stdin=script.encode())
    table = json.loads(run(["sfdisk", "--json", str(disk)]))["partitiontable"]
    unit = int(table.get("sectorsize", 512))
    spans = {
        part.name: Span(entry["start"] * unit, entry["size"] * unit)
        for part, entry in zip(parts, table["partitions"], strict=True)
    }
    epoch = int(json.loads(what.manifest)["created"])
    state = name(STATE)
    _write_state(disk, spans[STATE], state, root, scratch, epoch)
    loaders = f"{what.root}/{LOADERS}"
    fat = scratch / "fat"
    fat.mkdir()
    if request.board is not None and request.board_files is not None:
        run(["cp", "-r", f"{request.board_files}/.", str(fat)])
        for model, driver in board.without_driver(request.board, modules_of(what)).items():
            say(f"without device trees {model}*: the kernel has no driver {driver}")
            for path in fat.glob(f"{model}*.dtb"):
                path.unlink()
    _write_efi(disk, spans["efi"], state, Path(loaders), fat, epoch)
    if what.has_bios:
        bios_loader.embed(str(disk), loaders, spans["bios"].start, spans["bios"].size)


def _write_state(disk: Path, span: Span, name: str, root: Path, scratch: Path, epoch: int) -> None:
    environment = {"E2FSPROGS_FAKE_TIME": str(epoch), "SOURCE_DATE_EPOCH": str(epoch)}
    command = [*formatting.MAKE_STATE, *EXT4_SHAPE, "-L", STATE_LABEL, "-U", name]
    command += ["-E", f"offset={span.start},hash_seed={name},{ZEROED}"]
    run([*command, str(disk), f"{span.size // 1024}k"], env=environment)
    script = scratch / "debugfs"
    script.write_text("\n".join(debugfs_commands(root)) + "\n")
    place = f"{disk}?offset={span.start}"
    output = run(["debugfs", "-w", "-f", str(script), place], env=environment)
    for line in output.splitlines():
        if not _FINE.match(line):
            raise UserError(
                f"debugfs cannot fill the file system: {line.decode(errors='replace')}",
                "is there space left on this disk?",
            )
    _compare(place, root, scratch / "copy")


def debugfs_commands(root: Path) -> list[str]:
    """Commands that fill an ext4 with the files below root: owned by root, sorted by name."""
    commands = []
    for directory, names, files in os.walk(root):
        names.sort()
        inside = f"/{os.path.relpath(directory, root)}".removesuffix("/.")
        commands.append(f"cd {_quoted(inside or '/')}")
        for name in sorted([*names, *files]):
            path = f"{directory}/{name}"
            if os.path.islink(path):
                commands.append(f"symlink {_quoted(name)} {_quoted(os.readlink(path))}")
            elif os.path.isdir(path):
                commands.append(f"mkdir {_quoted(name)}")
            else:
                commands.append(f"write {_quoted(path)} {_quoted(name)}")
    return commands


def _quoted(name: str) -> str:
    if _UNQUOTABLE.search(name):
        raise UserError(f"{name!r} cannot be put into a disk image", "give the file another name")
    return f'"{name}"'


def _compare(place: str, root: Path, copy: Path) -> None:
    """Read the file system back and compare it."""
    copy.mkdir()
    run(["debugfs", "-R", f"rdump / {_quoted(str(copy))}", place])
    for path in sorted(root.rglob("*")):
        copied = copy / path.relative_to(root)
        if path.is_symlink():
            same = copied.is_symlink() and copied.readlink() == path.readlink()
        elif path.is_dir():
            same = copied.is_dir()
        else:
            same = copied.is_file() and _mode(copied) == _mode(path)
            same = same and file_sha256(str(copied)) == file_sha256(str(path))
        if not same:
            raise UserError(
                f"/{path.relative_to(root)} did not get into the disk image as it is",
                "is there space left on this disk?",
            )
    run(["rm", "-rf", str(copy)])


def _mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def _write_efi(disk: Path, span: Span, state: str, loaders: Path, fat: Path, epoch: int) -> None:
    """The FAT partition: the loaders for UEFI, and the contents of the directory fat."""
    sectors = ["--invariant", f"--offset={span.start // 512}", "-h", str(span.start // 512)]
    run([*formatting.MAKE_EFI, *sectors, str(disk), str(span.size // 1024)])
    environment = {"SOURCE_DATE_EPOCH": str(epoch), "TZ": "UTC", "MTOOLS_SKIP_CHECK": "1"}
    run(["mcopy", "-s", "-n", "-i", str(loaders / "efi.img"), "::/EFI", str(fat)])
    stub = fat / "EFI/debian/grub.cfg"
    stub.parent.mkdir(exist_ok=True)
    stub.write_text(grub.efi_stub(state))
    place = f"{disk}@@{span.start}"
    for path in sorted(fat.rglob("*")):
        os.utime(path, (epoch, epoch))
        name = f"::/{path.relative_to(fat)}"
        command = ["mmd"] if path.is_dir() else ["mcopy", "-m", "-Q"]
        command += ["-i", place, *([] if path.is_dir() else [str(path)]), name]
        run(command, env=environment)
