"""GRUB's environment block: /boot/grub/grubenv, 1024 bytes that GRUB itself reads and writes.

Format: GRUB's manual, "The GRUB environment block": a header line, lines of name=value, the rest
filled with "#".
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from k3os.errors import UserError
from k3os.system.files import atomic_write

PATH = "boot/grub/grubenv"
SIZE = 1024
HEADER = b"# GRUB Environment Block\n"


def parse(data: bytes) -> dict[str, str]:
    """Name to value; {} for an invalid block."""
    if len(data) != SIZE or not data.startswith(HEADER):
        return {}
    lines = data[len(HEADER) :].decode(errors="replace").split("\n")
    pairs = (line.partition("=") for line in lines if not line.startswith("#"))
    return {name: value for name, equals, value in pairs if equals}


def block(variables: Mapping[str, str]) -> bytes:
    """The block with these variables. Raises UserError if they do not fit."""
    data = HEADER + "".join(f"{name}={value}\n" for name, value in variables.items()).encode()
    if len(data) > SIZE or any("\n" in text for pair in variables.items() for text in pair):
        raise UserError(f"GRUB's environment block has room for {SIZE} bytes")
    return data.ljust(SIZE, b"#")


def read(root: str) -> dict[str, str]:
    """The variables on a mounted state partition."""
    try:
        with open(f"{root}/{PATH}", "rb") as file:
            return parse(file.read(SIZE + 1))
    except FileNotFoundError:
        return {}


def write(root: str, changes: Mapping[str, str]) -> bool:
    """Change variables ("" removes one), keep the others; returns whether the block changed.

    GRUB sees it once the file system is settled (switching.flush_journal). Raises OSError.
    """
    before = read(root)
    variables = {name: value for name, value in {**before, **changes}.items() if value}
    if variables == before:
        return False  # on top of another system the file may not exist, and is not needed
    data = block(variables)
    os.makedirs(os.path.dirname(f"{root}/{PATH}"), exist_ok=True)
    atomic_write(f"{root}/{PATH}", data, sync=True)
    return True
