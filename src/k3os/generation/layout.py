"""Names of the files, links and file systems of a disk or medium (docs/reference/files.md).

Paths are relative to where the file system is mounted. It only reads links.
"""

from __future__ import annotations

import os

from k3os.system.numbers import whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# labels of file systems: of an installed system, of its boot loader for UEFI, of an ISO
STATE_LABEL, EFI_LABEL, ISO_LABEL = "K3OS_STATE", "K3OS_GRUB", "K3OS"
# kernel parameter with which GRUB says which file system it was read from
MEDIUM_UUID = "k3os.medium_uuid"

SYSTEM, DATA = "k3os/system", "k3os/data"
CONFIG = f"{SYSTEM}/config.yaml"
FACTORY_RESET, EPHEMERAL = f"{SYSTEM}/factory-reset", f"{SYSTEM}/ephemeral"
# below SYSTEM
GENERATIONS, DOWNLOADS, AIRGAP = "generations", "downloads", "airgap"
LINKS = ("current", "previous")
# of a generation: the file with GRUB's arguments for the kernel (kernel_args.py), and the kernel
# parameter that says which generation they belong to
ARGUMENTS, ARGUMENTS_OF = "grubenv", "k3os.args_of"
# of a generation; also directories below SYSTEM
COMPONENTS = ("kernel", "k3os", "k3s")

MENU = "boot/grub/grub.cfg"
LOADERS = "boot/grub/k3os"
# architecture to what is in LOADERS; only PCs have a BIOS
BIOS, UEFI = ("boot.img", "core.img"), "efi.img"
LOADER_FILES = {"amd64": (*BIOS, UEFI), "arm64": (UEFI,)}
# of the ISO itself; not installed
MENUS = (MENU, "EFI/debian/grub.cfg")


def link(path: str) -> str:
    """The target of a link, "" if it is not a link."""
    try:
        return os.readlink(path)
    except OSError:
        return ""


def have_same(system: str, one: str, other: str, names: Iterable[str] = COMPONENTS) -> bool:
    """Whether two generations below a /k3os/system have the same files of these COMPONENTS."""
    return all(link(f"{system}/{one}/{name}") == link(f"{system}/{other}/{name}") for name in names)


def numbers(system: str) -> list[int]:
    """The numbers of the generations below a /k3os/system, in no order."""
    directory = f"{system}/{GENERATIONS}"
    names = os.listdir(directory) if os.path.isdir(directory) else []
    return [number for name in names if (number := whole(name)) is not None]


def has_kernel(root: str, generation: str, release: str) -> bool:
    """Whether the kernel of a generation ("current") on the file system at root is that release."""
    target = link(f"{root}/{SYSTEM}/{generation}/kernel")
    return os.path.basename(target).partition("~")[0] == release
