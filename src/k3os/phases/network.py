"""k3os.network: addresses through connman (connman-service.config(5)), VLANs and MTUs through
udev (udev(7)), which both act whenever an interface appears.

What connman cannot do (one default route, several IPv4 addresses) is left in PLAN for
routes.py, which runs when an address changes.
"""

from __future__ import annotations

import os

from k3os.config.value import Place
from k3os.phases.actions import DONE, LATER, UNCHANGED, Action, Refused, WriteFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.load import Config
    from k3os.config.network import Interface
    from k3os.phases.node import Node

KEY = "k3os.network"
CONNMAN = "/var/lib/connman/k3os-network.config"
UDEV = "/etc/udev/rules.d/70-k3os-network.rules"
PLAN = "/run/k3os/network.json"
SOCKET = "k3os-network.socket"


def plan(config: Config, node: Node) -> list[Action]:
    value = config.get(KEY)
    if value is None and not node.exists(CONNMAN):
        return []
    from k3os.config.network import interfaces

    place = value.place if value is not None else Place("default")
    entries = config.entries(KEY)
    right, wrong = interfaces(entries)
    actions: list[Action] = [
        Refused(f"{KEY}.{name}", error.place, f"configure {name}", error.message, error.hint)
        for name, error in wrong
    ]
    names = device_names(node) if any(each.vlan_number for each in right) else {}
    connman = "\n".join(services(right, names))
    rules = "".join(line for each in right for line in udev_rules(each))
    files = [
        WriteFile(KEY, place, CONNMAN, connman.encode(), 0o600),
        WriteFile(KEY, place, UDEV, rules.encode()),
        WriteFile(KEY, place, PLAN, routing(right)),
    ]
    actions += files
    if node.phase == "runtime":
        actions.append(Retrigger(place, files[1]))
        actions.append(Settle(place))
    return actions


def device_names(node: Node) -> dict[str, str]:
    """MAC -> name of the hardware that is there. A VLAN has the MAC of what it is on, so that
    connman would take the one for the other."""
    directory = "/sys/class/net"
    try:
        names = sorted(os.listdir(node.path(directory)))
    except FileNotFoundError:
        return {}
    found: dict[str, str] = {}
    for name in names:
        if "DEVTYPE=vlan" not in node.read(f"{directory}/{name}/uevent"):
            found.setdefault(node.read(f"{directory}/{name}/address").strip(), name)
    return found


def services(right: list[Interface], names: dict[str, str]) -> list[str]:
    """connman's sections. The bare interface below a VLAN gets no address, unless it has an
    entry of its own."""
    sections = []
    described = {names.get(each.device, each.device) for each in right}
    for interface in right:
        lines = [_match(interface.device, names)]
        lines += [f"IPv4={ipv4(interface)}", f"IPv6={ipv6(interface)}"]
        if interface.nameservers:
            lines.append(f"Nameservers={','.join(interface.nameservers)}")
        if interface.domains:
            lines.append(f"SearchDomains={','.join(interface.domains)}")
        sections.append(_section(interface.device, lines))
        below = interface.vlan and names.get(interface.name, interface.name)
        if below and below not in described:
            lines = [_match(below, names), "IPv4=off", "IPv6=off"]
            sections.append(_section(interface.name, lines))
    return sections


def _match(device: str, names: dict[str, str]) -> str:
    device = names.get(device, device)
    return f"MAC={device}" if ":" in device else f"DeviceName={device}"


def _section(name: str, lines: list[str]) -> str:
    tag = "".join(c if c.isalnum() else "_" for c in name)
    return "\n".join([f"[service_k3os_{tag}]", "Type=ethernet", *lines, ""])


def ipv4(interface: Interface) -> str:
    """`dhcp`, `off`, or the first address with the gateway."""
    own = interface.of_version(4)
    if interface.dhcp:
        return "dhcp"
    return _fixed(interface, 4) if own else "off"


def ipv6(interface: Interface) -> str:
    """`auto` (router advertisements, DHCPv6), `off`, or the first address with the gateway."""
    if interface.of_version(6):
        return _fixed(interface, 6)
    return "auto" if interface.dhcp or interface.addresses else "off"


def _fixed(interface: Interface, version: int) -> str:
    address = str(interface.of_version(version)[0])
    gateway = interface.gateway(version)
    return f"{address}/{gateway}" if gateway else address


def udev_rules(interface: Interface) -> list[str]:
    """Rules that give an interface its MTU and make its VLAN when it appears."""
    match = 'ACTION=="add", SUBSYSTEM=="net", '
    if interface.is_mac:  # a VLAN has the MAC of what it is on
        bare = match + f'ATTR{{address}}=="{interface.name}", ENV{{DEVTYPE}}!="vlan"'
    else:
        bare = match + f'KERNEL=="{interface.name}"'
    rules = []
    if interface.vlan:
        rules.append(f"{bare}, {add_vlan(interface.device, interface.vlan)}\n")
    elif interface.vlan_number:
        parent = interface.name.rpartition(".")[0]
        rules.append(
            f'{match}KERNEL=="{parent}", {add_vlan(interface.name, interface.vlan_number)}\n'
        )
    if interface.mtu:
        # the frames of a VLAN pass through the interface below it
        rules.append(f'{bare}, ATTR{{mtu}}="{interface.mtu}"\n')
        if interface.vlan:
            device = f'{match}KERNEL=="{interface.device}"'
            rules.append(f'{device}, ATTR{{mtu}}="{interface.mtu}"\n')
    return rules


def add_vlan(device: str, number: int) -> str:
    """udev's RUN key for ip-link(8)."""
    return f'RUN+="/usr/sbin/ip link add link $name name {device} type vlan id {number}"'


def routing(right: list[Interface]) -> bytes:
    """PLAN: a list of maps with device (name or MAC), gateways, static (IP versions with a
    fixed address), more (addresses that connman has no room for)."""
    import json

    entries = []
    for interface in right:
        more = interface.of_version(4)[0 if interface.dhcp else 1 :] + interface.of_version(6)[1:]
        entries.append(
            {
                "device": interface.device,
                "gateways": [str(each) for each in interface.gateways],
                "static": sorted({each.version for each in interface.addresses}),
                "dhcp": interface.dhcp,
                "more": [str(each) for each in more],
            }
        )
    return json.dumps(entries, indent=1).encode() + b"\n"


class Retrigger(Action):
    """Lets udev look at the interfaces again, when its rules changed after it had."""

    __slots__ = ("rules",)

    def __init__(self, place: Place, rules: Action) -> None:
        super().__init__(KEY, place)
        self.rules = rules

    def describe(self) -> str:
        return "make VLANs and set MTUs, if they changed"

    def perform(self, node: Node) -> str:
        from k3os.system.run import run

        if not node.is_real or self.rules.result != DONE:
            return UNCHANGED
        run(["udevadm", "control", "--reload"], timeout=30)
        run(["udevadm", "trigger", "--subsystem-match=net", "--action=add", "--settle"], timeout=60)
        return DONE


class Settle(Action):
    """The default route that was asked for and no other, before k3s looks for one."""

    __slots__ = ()

    def __init__(self, place: Place) -> None:
        super().__init__(KEY, place)

    def describe(self) -> str:
        return "settle addresses and the default route"

    def perform(self, node: Node) -> str:
        from k3os.system.run import run

        if not node.is_real:
            return LATER
        from k3os.phases.routes import settle

        done, missing = settle(wait=10)
        run(["systemctl", "start", "--no-block", SOCKET], timeout=30)
        self.note = "; ".join([*done, *missing])
        if missing:
            return LATER
        return DONE if done else UNCHANGED
