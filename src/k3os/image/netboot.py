"""The initrd for network boot: the normal one, followed by everything that is on the ISO.

PID 1 finds the system in the initrd (k3os.boot.media.CARRIED), so no network driver is needed
before the real root. Format: kernel Documentation/driver-api/early-userspace/buffer-format.rst: one
compressed archive after another, then an uncompressed one, since its contents are compressed
already.
"""

from __future__ import annotations

from pathlib import Path

from k3os.boot.media import CARRIED, CARRIED_WHOLE
from k3os.image.settings import Settings
from k3os.image.tree import Tree, write_cpio

ALIGNMENT = 4  # of an uncompressed archive within an initrd
# where a boot loader that creates archives itself (iPXE) may put a config.yaml: k3os.boot.init
OWN_CONFIG_DIRECTORY = "k3os/system"


def build_netboot(settings: Settings, tree: Tree, initrd: Path, output: Path) -> None:
    """Write <output>/initrd from the ISO's tree of /boot and /k3os and the normal initrd."""
    with open(output / "initrd", "wb") as file:
        plain = initrd.read_bytes()
        file.write(plain + b"\0" * (-len(plain) % ALIGNMENT))
        write_cpio(carried(tree), file, settings.epoch)
        # a separate archive, since members are sorted: if it is there, the other one is complete
        last = Tree()
        last.file(CARRIED_WHOLE.strip("/"), b"")
        write_cpio(last, file, settings.epoch)


def carried(tree: Tree) -> Tree:
    """The ISO's tree at its place in the initrd."""
    prefix = CARRIED.strip("/")
    moved = Tree()
    moved.directory(OWN_CONFIG_DIRECTORY)
    for path, entry in tree.walk():
        moved.add(f"{prefix}/{path}", entry)
    return moved
