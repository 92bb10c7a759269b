"""`k3os image`: an installed disk as a file, for hypervisors, clouds and dd."""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
from pathlib import Path

from k3os.errors import UserError
from k3os.system.run import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.image.board import Board

EPILOG = """\
The disk boots with BIOS and with UEFI, also with Secure Boot, and grows to the size of the real
disk at each boot. It has sectors of 512 bytes; the installer handles others, too. The ISO is built
first (`k3os build --help` lists the variables: KERNEL, K3S, …), unless --iso names one: then its
own config.yaml is installed without --config.
--board rpi (or the variable BOARD) makes an SD card for the Raspberry Pi 3, 4 and 5 instead; it
implies ARCH=arm64 and --format raw.

k3os image --format qcow2 --config config.yaml
k3os image --format raw --size 8G --iso node-1.iso -o node-1.raw
k3os image --board rpi --config config.yaml
"""
DEFAULT_SIZE = 2 << 30
_UNITS = {"": 1, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
MIB = 1 << 20


def main(argv: list[str]) -> int:
    from k3os.image.board import BOARDS
    from k3os.image.diskformat import FORMATS

    parser = argparse.ArgumentParser(
        prog="k3os image",
        description="Make a disk with an installed k3OS. Root is not needed.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--format", choices=list(FORMATS), help="format of the file (default qcow2)")
    add("--board", choices=list(BOARDS), help="the board it is for, if that has no UEFI or BIOS")
    add("--config", default="", metavar="URL", help="the config.yaml to install: a path or URL")
    add(
        "--size",
        type=size_of,
        default=DEFAULT_SIZE,
        metavar="N[M|G]",
        help="size of the disk (default 2G)",
    )
    add("--iso", type=Path, metavar="PATH", help="use this k3OS ISO, and build nothing")
    add("-o", "--output", type=Path, metavar="PATH", help="where to write it (beside the ISO)")
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, _terminate)
    if not options.config and not options.iso:
        raise UserError(
            "nobody could log in to a disk without a configuration",
            "make image CONFIG=config.yaml",
            "--config",
        )
    config = check(options.config)
    from k3os.image.disk import DiskRequest, make_disk
    from k3os.image.remaster import explain

    board = board_of(options.board or os.environ.get("BOARD", ""))
    kind = options.format or ("raw" if board else "qcow2")
    iso = options.iso or _built()
    stem = f"{iso.stem}-{board.name}" if board else iso.stem
    output = options.output or iso.parent / f"{stem}.{kind}"
    if output.exists() and not output.is_file():
        raise UserError(f"{output} is not a file", "name a new file", "--output")
    if output.resolve() == iso.resolve():
        raise UserError("the disk would replace the ISO", "name another file", "--output")
    if not output.parent.is_dir():
        raise UserError(f"{output.parent} is not a directory", "make it first", "--output")
    try:
        files = _board_files(board) if board else None
        arch = os.environ.get("ARCH", "")
        make_disk(DiskRequest(iso, output, kind, config, options.size, arch, board, files), print)
    except CommandError as error:
        raise explain(error) from error
    except OSError as error:
        where = str(error.filename or "")
        raise UserError(error.strerror or str(error), "no image was written", where) from error
    return 0


def board_of(name: str) -> Board | None:
    """The board, which decides the architecture of a build; None for "". Raises UserError."""
    from k3os.image.board import BOARDS

    if not name:
        return None
    if name not in BOARDS:
        raise UserError(f"unknown board {name!r}", f"use one of: {', '.join(BOARDS)}", "BOARD")
    board = BOARDS[name]
    arch = os.environ.get("ARCH") or board.arch
    if arch != board.arch:
        raise UserError(f"the board {name} is {board.arch}", f"leave ARCH={arch} out", "ARCH")
    if os.environ.get("KERNEL") == "cloud":
        raise UserError(
            "the cloud kernel is for virtual machines only", "leave it out for a board", "KERNEL"
        )
    os.environ["ARCH"] = arch
    return board


def check(config: str) -> str:
    """Before anything is built, refuse a configuration that cannot be installed; its address."""
    if not config:
        return ""
    from k3os.install.config import compose

    address = config if "://" in config else os.path.abspath(config)
    compose("", address, "", print)
    return address


def size_of(text: str) -> int:
    """Bytes of "8G", "4096M" or a plain number; whole MiB, which clouds require."""
    match = re.fullmatch(r"([0-9]{1,15})([MGT]?)(?:i?B)?", text)
    size = int(match[1]) * _UNITS[match[2]] if match else 0
    if not size or size % MIB:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size in whole MiB; write 8G or 4096M")
    return size


def _built() -> Path:
    """The ISO of an up-to-date build, made without CONFIG: that goes only onto the disk."""
    from k3os.cli import build
    from k3os.image.settings import from_environment

    os.environ["CONFIG"] = ""
    build.main([])
    settings = from_environment(os.environ)
    return settings.artifacts / f"k3os-{settings.arch.name}.iso"


def _board_files(board: Board) -> Path:
    from k3os.image.build import board_files
    from k3os.image.progress import Progress
    from k3os.image.settings import from_environment

    settings = from_environment(os.environ)
    with Progress(settings.artifacts.parent / "logs" / f"{board.name}.log") as progress:
        try:
            return board_files(settings, progress, board)
        except (CommandError, UserError):
            print(progress.failure(), file=sys.stderr)
            raise


def _terminate(number: int, frame: object) -> None:
    raise KeyboardInterrupt  # as for Ctrl-C: unfinished files are removed
