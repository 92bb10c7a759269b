"""Whether there is room for the operator on this node.

The unpacked image needs space where k3s keeps images, which is memory in a live system, and the
import needs memory.
"""

from __future__ import annotations

import os

from k3os.paths import STATE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.load import Config
    from k3os.phases.node import Node

KEY = "k3os.operator"
# missing if the system's image was built without an operator
IMAGE = "/usr/share/k3os/operator/image.tar.zst"
# if it exists, this node has the image: /usr/lib/k3os/operator-image gives it to k3s
LINK = f"{STATE}/operator-image.tar.zst"
# the digest of the image that k3s got in this boot
IMPORTED = "/run/k3os/operator-image"
# where earlier builds had the link
OLD_LINK = "/var/lib/rancher/k3s/agent/images/k3os-operator.tar.zst"
# modes in which /var is on a disk
ON_DISK = ("disk", "overlay")
# MiB: MemTotal, which is about 60 less than the machine's memory; and the image's size where images
# are kept
LIVE_MEMORY, MEMORY, ROOM = 850, 650, 200


def narrowness(config: Config, node: Node) -> str:
    """Why there is no room for the operator, "" if there is. An existing one stays."""
    from k3os.config.k3s_data import directory
    from k3os.system import memory

    total = memory.parse(node.read("/proc/meminfo")).get("MemTotal", 0) // memory.MIB
    least = MEMORY if node.mode in ON_DISK else LIVE_MEMORY
    if 0 < total < least:
        return f"{total} MiB of memory are too little for it, it needs {least}"
    was_here = any(os.path.islink(node.entry(each)) for each in (LINK, OLD_LINK))
    if was_here:
        return ""
    place = directory(config.values)
    while not os.path.isdir(node.path(place)):
        place = os.path.dirname(place)
    room = os.statvfs(node.path(place))
    free = room.f_bavail * room.f_frsize >> 20
    return f"{free} MiB are free in /{place.split('/')[1]}, it needs {ROOM}" if free < ROOM else ""


def runs_here(config: Config, node: Node) -> bool:
    """Whether this node's k3s gets the image; without it, no pod of the operator can run."""
    value = config.get(KEY)
    if not node.exists(IMAGE) or (value is not None and not value.data):
        return False
    return value is not None or not narrowness(config, node)
