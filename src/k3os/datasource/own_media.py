"""Which media `auto` may read: the machine's own. Anyone who can write to a disk (a pod with a raw
volume, the owner of a LUN) can label it cidata, and userdata runs as root.

The machine's own are CDs, removable and USB media, media that are read-only, and the disk that this
system runs from. sysfs: Documentation/ABI/stable/sysfs-block.
"""

from __future__ import annotations

import os

from k3os.paths import BASE
from k3os.system import blockdev
from k3os.system.blockdev import disk_of
from k3os.system.files import text_of
from k3os.system.mounts import mounted

# parts of a device's path in sysfs: a network disk's own attributes cannot be trusted
NETWORK = ("/session", "/rport-", "/nvme-fabrics/", "/vhci_hcd", "/rbd/")
# what the kernel builds from other devices or a server's answers: nbd, dm, md, loop, and multipath
# NVMe; never a CD or a stick
MADE = "/devices/virtual/"


def is_own(device: str, mounts: str = "") -> bool:
    """Whether a device is one of the machine's own media. mounts: the mount table to read."""
    name = device.rpartition("/")[2]
    disk = disk_of(name)
    path = os.path.realpath(f"{blockdev.SYS_BLOCK}/{disk}")
    if any(part in path for part in NETWORK):
        return False
    if MADE in path:
        return disk == _running_from(mounts)
    return (
        disk.startswith("sr")
        or "/usb" in path
        or text_of(f"{path}/removable") == "1"
        or text_of(f"{path}/device/type") == "SD"
        or text_of(f"{path}/ro") == "1"
        or disk == _running_from(mounts)
    )


def _running_from(mounts: str) -> str:
    """The disk that the running system is on, "" if it is in memory."""
    for source, target, _ in mounted(mounts):
        if target == BASE and source.startswith("/dev/"):
            return disk_of(source)
    return ""
