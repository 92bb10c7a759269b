"""The network cards of this machine according to sysfs (sysfs(5), /sys/class/net), for `match` in
k3os.network.

path is udev's ID_PATH (systemd's udev-builtin-path_id.c), computed here because the boot phase runs
before udev. Devices without hardware of their own (VLANs, bonds, bridges) are not included, and
neither are wireless cards, which only use DHCP.
"""

from __future__ import annotations

import os

from k3os.system.frozen import Frozen
from k3os.system.interfaces import NOT_OURS, WIRELESS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.phases.node import Node

CLASS = "/sys/class/net"
DEVICES = "/sys/devices"
# a device's bus -> the prefix of its name in ID_PATH
BUSES = {each: f"{each}-" for each in ("pci", "platform", "acpi", "xen", "bcma", "ccw", "vmbus")}
USB = "usb"


class Card(Frozen):
    """mac: the permanent one, also in a bond. driver, path: "" if it has none."""

    name: str
    mac: str
    driver: str = ""
    path: str = ""


def cards(node: Node) -> list[Card]:
    """All cards, sorted by name."""
    try:
        names = sorted(os.listdir(node.path(CLASS)))
    except FileNotFoundError:
        return []
    return [_card(node, each) for each in names if _is_card(node, each)]


def _is_card(node: Node, name: str) -> bool:
    if name == "lo" or name.startswith((*NOT_OURS, *WIRELESS)):
        return False
    return "DEVTYPE=" not in node.read(f"{CLASS}/{name}/uevent") and node.exists(
        f"{CLASS}/{name}/address"
    )


def _card(node: Node, name: str) -> Card:
    own = node.read(f"{CLASS}/{name}/bonding_slave/perm_hwaddr")
    mac = (own or node.read(f"{CLASS}/{name}/address")).strip().lower()
    device = os.path.realpath(node.path(f"{CLASS}/{name}/device"))
    if not os.path.isdir(device):
        return Card(name, mac)
    top = os.path.realpath(node.path(DEVICES))
    return Card(name, mac, _leads_to(f"{device}/driver"), path_of(device, top))


def path_of(device: str, top: str) -> str:
    """The ID_PATH of a device below top."""
    parts: list[str] = []
    while device.startswith(f"{top}/"):
        bus, name = _leads_to(f"{device}/subsystem"), os.path.basename(device)
        if bus in BUSES:
            parts.insert(0, BUSES[bus] + name)
        elif bus == USB and "-" in name:
            parts.insert(0, f"usb-0:{name.partition('-')[2]}")
        device = os.path.dirname(device)
        # bridges and hubs above it are left out
        while bus and device.startswith(f"{top}/") and _leads_to(f"{device}/subsystem") == bus:
            device = os.path.dirname(device)
    return "-".join(parts)


def _leads_to(link: str) -> str:
    """The last component of a link's target, "" if it is not a link."""
    try:
        return os.path.basename(os.readlink(link))
    except OSError:
        return ""
