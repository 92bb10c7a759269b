"""The network cards of this machine, as sysfs has them (sysfs(5), /sys/class/net): what `match` of
k3os.network compares.

path is udev's ID_PATH (systemd's udev-builtin-path_id.c), made here because the boot phase comes
before udev. What has no hardware of its own (VLANs, bonds, bridges) is none; nor are wireless
cards, whose addresses are DHCP's.
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
# a device's bus -> what stands before its name there
BUSES = {each: f"{each}-" for each in ("pci", "platform", "acpi", "xen", "bcma", "ccw", "vmbus")}
USB = "usb"


class Card(Frozen):
    """mac: its own, also as a member of a bond. driver, path: "" where it has none."""

    name: str
    mac: str
    driver: str = ""
    path: str = ""


def cards(node: Node) -> list[Card]:
    """By name."""
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
    """ID_PATH of a device below top."""
    parts: list[str] = []
    while device.startswith(f"{top}/"):
        bus, name = _leads_to(f"{device}/subsystem"), os.path.basename(device)
        if bus in BUSES:
            parts.insert(0, BUSES[bus] + name)
        elif bus == USB and "-" in name:
            parts.insert(0, f"usb-0:{name.partition('-')[2]}")
        device = os.path.dirname(device)
        # bridges and hubs above it are not named
        while bus and device.startswith(f"{top}/") and _leads_to(f"{device}/subsystem") == bus:
            device = os.path.dirname(device)
    return "-".join(parts)


def _leads_to(link: str) -> str:
    """The last part of what a symbolic link says, "" where it is none."""
    try:
        return os.path.basename(os.readlink(link))
    except OSError:
        return ""
