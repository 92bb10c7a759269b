"""Whose medium it is: what `auto` reads. Whoever may write to a disk (a pod with a raw volume, the
owner of a LUN) may label it cidata, and userdata runs as root.

The machine's own are CDs, what is removable or behind USB, what nobody here can write to, and the
disk that this system runs from. sysfs: Documentation/ABI/stable/sysfs-block.
"""

from __future__ import annotations

import os

from k3os.paths import BASE
from k3os.system import blockdev
from k3os.system.blockdev import disk_of
from k3os.system.files import text_of
from k3os.system.mounts import mounted

# parts of a device's path in sysfs: a disk that comes over a network says of itself what it likes
NETWORK = ("/session", "/rport-", "/nvme-fabrics/", "/vhci_hcd", "/rbd/")
# what the kernel makes of other devices or of a server's answers: nbd, dm, md, loop, and NVMe whose
# paths it joins; a CD or stick is none of it
MADE = "/devices/virtual/"


def is_own(device: str, mounts: str = "") -> bool:
    """Whether a device is a medium of the machine's own. mounts: the table of mounts to read."""
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
    """The disk that the running system is on, "" for memory."""
    for source, target, _ in mounted(mounts):
        if target == BASE and source.startswith("/dev/"):
            return disk_of(source)
    return ""
