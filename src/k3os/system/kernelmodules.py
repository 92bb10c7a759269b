"""Loading kernel modules for the existing devices, through modprobe(8)."""

import os

from k3os.system.run import CommandError, run


def device_aliases(root: str = "/sys/devices") -> set[str]:
    """The modalias of every device the kernel found (sysfs; Documentation/ABI)."""
    aliases = set()
    for directory, _, files in os.walk(root):
        if "modalias" in files:
            try:
                with open(os.path.join(directory, "modalias"), errors="replace") as file:
                    aliases.add(file.read().strip())
            except OSError:
                continue  # the device went away while we looked
    return aliases - {""}


def load(names: list[str]) -> str:
    """modprobe all names or aliases that exist; returns modprobe's complaints.

    An alias without a module is no error (most are built in); nor is a module whose device does
    not answer.
    """
    if not names:
        return ""
    return _modprobe("-a", "-b", names=names)


def unload(names: list[str]) -> str:
    """Remove modules that are no longer in use; returns modprobe's complaints."""
    return _modprobe("-r", names=names)


def _modprobe(*options: str, names: list[str]) -> str:
    try:
        return run(["modprobe", *options, "-q", "--", *names], check=False).decode()
    except CommandError as error:
        return str(error)
