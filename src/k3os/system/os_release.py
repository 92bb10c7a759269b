"""Which system a file tree belongs to. It only reads; the format is os-release(5)."""

from __future__ import annotations

from k3os.errors import UserError

OURS = "k3os"


def os_id(root: str) -> str:
    """ID of os-release(5), "" if there is none."""
    try:
        with open(f"{root}/usr/lib/os-release", errors="surrogateescape") as file:
            lines = [line.strip().partition("=") for line in file]
    except OSError:
        return ""
    return next((value.strip("\"'") for name, _, value in lines if name == "ID"), "")


def check_node(root: str = "") -> None:
    """Raise UserError unless this machine runs k3OS: elsewhere, a command that sets up a node would
    change the machine's name, files and services."""
    if os_id(root) != OURS:
        raise UserError("this machine does not run k3OS", "call it on a node; nothing was changed")
