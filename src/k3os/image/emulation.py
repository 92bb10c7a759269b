"""Running another architecture's programs on this machine, for configuring packages in a build.

The kernel's binfmt_misc runs such programs with qemu-user (kernel Documentation/admin-guide/
binfmt-misc.rst). If the host has it installed, we enable it if we may; we install nothing: that is
up to `make setup`.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from k3os.errors import UserError
from k3os.image.settings import Architecture
from k3os.k3s.source import machine_arch
from k3os.system.run import CommandError, run

BINFMT = Path("/proc/sys/fs/binfmt_misc")
MOUNT = ("mount", "-t", "binfmt_misc", "binfmt_misc", str(BINFMT))
# on Debian 12 (binfmt-support), and on a Debian 13 without it
ENABLE = (
    ("update-binfmts", "--enable"),
    ("/usr/lib/systemd/systemd-binfmt",),
)
PACKAGES = "qemu-user-static binfmt-support arch-test"
# the default signs pointers with a slow cipher: more than half of a build's time
FAST = {"arm64": {"QEMU_CPU": "cortex-a57"}}


def environment(arch: Architecture) -> dict[str, str]:
    """Settings that make emulated programs of arch fast; harmless without emulation."""
    return FAST.get(arch.name, {})


def is_needed(arch: Architecture, machine: str = "") -> bool:
    """Whether this machine's processor cannot run that architecture's programs itself."""
    return machine_arch(machine or os.uname().machine) != arch.name


def is_ready(arch: Architecture, directory: Path = BINFMT) -> bool:
    """Whether the kernel can run the programs, even in a chroot (flag F)."""
    try:
        lines = (directory / arch.emulator).read_text().splitlines()
    except OSError:
        return False
    flags = next((line.split()[-1] for line in lines if line.startswith("flags:")), "")
    return lines[0] == "enabled" and "F" in flags


def ensure(arch: Architecture) -> None:
    """Make sure that programs of arch run here. Raises UserError with the remedy."""
    if not is_needed(arch) or is_ready(arch):
        return
    if os.geteuid() == 0:
        _switch_on(arch)
    if is_ready(arch):
        return
    if not shutil.which(f"{arch.emulator}-static") and not shutil.which(arch.emulator):
        raise UserError(
            f"nothing here can run programs of {arch.debian}: {arch.emulator}-static is missing",
            f"`make setup ARCH={arch.name}`, or as root: apt-get install {PACKAGES}",
            "ARCH",
        )
    enable = next((words for words in ENABLE if shutil.which(words[0])), ENABLE[0])
    raise UserError(
        f"this machine's kernel does not run programs of {arch.debian}: {BINFMT} has no enabled "
        f"{arch.emulator} with the flag F",
        f"as root: {' '.join(MOUNT)}; {' '.join(_enabling(enable, arch))} (in a container: on its "
        "host, whose kernel it is)",
        "ARCH",
    )


def _enabling(words: tuple[str, ...], arch: Architecture) -> list[str]:
    own = arch.emulator if words[0] == "update-binfmts" else f"{arch.emulator}.conf"
    return [*words, own]


def _switch_on(arch: Architecture) -> None:
    """What an init does on a host at startup, but not in a container or chroot."""
    commands = [list(MOUNT)] if not (BINFMT / "register").exists() else []
    commands += [_enabling(words, arch) for words in ENABLE if shutil.which(words[0])]
    for command in commands:
        try:
            run(command)
        except CommandError:
            continue  # is_ready() decides, and ensure() gives the remedy
