"""Is this file a k3s for that architecture, and which version is it?

It only starts the file to ask for its version. ELF header: elf(5), e_machine in elf.h.
"""

from __future__ import annotations

import stat
from pathlib import Path

from k3os.errors import UserError
from k3os.k3s.source import VERSION
from k3os.system.run import CommandError, run

MACHINES = {62: "amd64", 183: "arm64", 40: "arm"}


def check_executable(path: Path, arch: str, where: str) -> None:
    """Raise UserError unless path is an executable regular file that can run on arch."""
    try:
        status = path.stat()
        with open(path, "rb") as file:
            head = file.read(20)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}", "give the path of k3s", where) from error
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"{path} is not a regular file", "give the path of k3s", where)
    if not status.st_mode & 0o111:
        raise UserError(f"{path} is not executable", f"chmod +x {path}", where)
    if head.startswith(b"#!"):
        return  # a script, such as the stub of our tests, runs anywhere
    if not head.startswith(b"\x7fELF"):
        raise UserError(f"{path} is not a program (neither ELF nor #!)", "is it really k3s?", where)
    machine = MACHINES.get(int.from_bytes(head[18:20], "little"), "another architecture")
    if machine != arch:
        raise UserError(f"{path} is for {machine}, not for {arch}", "take the right file", where)


def ask_version(path: Path, digest: str, name: str = "") -> str:
    """What `k3s --version` says, else what name (or path) says, else the start of the hash."""
    try:
        # without our K3S=…: that is for the build
        output = run([str(path), "--version"], cwd="/", env={"K3S": None}, timeout=30)
    except (CommandError, OSError):
        output = b""  # another architecture, or a script whose interpreter is missing
    for text in (output.decode(errors="replace"), name or path.name):
        match = VERSION.search(text)
        if match:
            return match[0]
    return f"custom-{digest[:12]}"
