"""The boot menu that an older release wrote: its entries learn to name the file system they lie on.

Without that the label alone says what is booted (boot/media.py). Nothing else of the menu changes,
and it is replaced in one rename(2). The menu of another system, below which k3OS lies, has no such
entry and stays as it is.
"""

from __future__ import annotations

from k3os.install.loader import with_uuid
from k3os.install.perform import MENU
from k3os.system.blockdev import probe
from k3os.system.files import atomic_write
from k3os.system.mounts import mounted
from k3os.upgrade.perform import settle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def name_medium(root: str, say: Callable[[str], None]) -> None:
    """Do it for the state partition that is mounted, writable, at root. It never fails: a menu that
    stays as it is boots, too."""
    try:
        with open(f"{root}/{MENU}", encoding="utf-8", errors="surrogateescape") as file:
            old = file.read()
        menu = with_uuid(old, uuid_at(root))
        if menu != old:
            atomic_write(f"{root}/{MENU}", menu.encode("utf-8", "surrogateescape"), sync=True)
            settle(root)
            say("the boot menu names this disk's file system now: no other disk is booted from")
    except FileNotFoundError:
        return  # another system starts k3OS
    except OSError as error:
        say(f"the boot menu still goes by the label: {error}")


def uuid_at(root: str) -> str:
    """The UUID of the file system mounted at root, "" for one that has none. Raises OSError."""
    device = ""
    for source, target, _ in mounted():
        if target == root:
            device = source
    return probe(device).uuid if device.startswith("/dev/") else ""
