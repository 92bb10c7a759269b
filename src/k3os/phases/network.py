"""k3os.network: addresses through connman (connman-service.config(5)), VLANs and MTUs through udev
(udev(7)), which both act whenever an interface appears; links.py creates bonds, bridges and dummies
before connman starts.

One file per interface, since connman takes down all interfaces of a changed file; no file if the
entry equals connman's default. What it cannot do (one default route, several IPv4 addresses) is
left in PLAN for routes.py, which runs when an address changes.
"""

from __future__ import annotations

import os

from k3os.config.value import Place
from k3os.phases.actions import DONE, LATER, UNCHANGED, Action, Refused, Remove, WriteFile
from k3os.phases.interface_rules import VIRTUAL, below_vlans, is_made_with_mtu, udev_rules
from k3os.phases.network_plan import (
    CONNMAN,
    FILE,
    LINKS,
    PLAN,
    SUFFIX,
    dumped,
    file_of,
    former_plan,
    is_awaited,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.load import Config
    from k3os.config.network import Interface
    from k3os.phases.network_plan import Json
    from k3os.phases.node import Node

KEY = "k3os.network"
# connman's default
DEFAULT = ["IPv4=dhcp", "IPv6=auto"]
UDEV = "/etc/udev/rules.d/70-k3os-network.rules"
SOCKET = "k3os-network.socket"


def plan(config: Config, node: Node) -> list[Action]:
    value = config.get(KEY)
    present = files(node)
    if value is None and not present and not node.exists(PLAN):
        return []
    place = value.place if value is not None else Place("default")
    actions, right, known = asked_for(config, node)
    # k3os-links.service also waits for interfaces that match an entry
    made = any(each.made or is_awaited(each.name) for each in right)
    names = known if any(each.vlan_number for each in right) else {}
    wanted = services(right, names)
    lines = [*below_vlans(right), *(line for each in right for line in udev_rules(each))]
    lines = list(dict.fromkeys(lines))
    rules = WriteFile(KEY, place, UDEV, "".join(lines).encode())
    former, routed = former_plan(node), routing(right)
    actions += [rules, WriteFile(KEY, place, PLAN, dumped(routed))]
    made_before = any(each["made"] or is_awaited(each["device"]) for each in former)
    if made or made_before:
        actions.append(WriteFile(KEY, place, LINKS, b"") if made else Remove(KEY, place, LINKS))
    if node.phase != "runtime":
        return (
            actions
            + [_file(place, path, text) for path, text in wanted.items()]
            + [Remove(KEY, place, path) for path in present if path not in wanted]
        )
    from k3os.phases.replug import Replug, Undo, to_learn_anew

    actions.append(Undo(place, former, routed))
    if made or made_before:
        from k3os.phases.links import Make, Unmake, freed

        actions.append(Unmake(place, former, routed))
    changed = [path for path in {**present, **wanted} if present.get(path) != wanted.get(path)]
    actions += [_file(place, path, wanted[path]) for path in wanted if path not in changed]
    anew = to_learn_anew(former, routed)
    if changed or anew:
        texts = "".join(present.get(path, "") + wanted.get(path, "") for path in changed)
        changes: list[Action] = [
            _file(place, path, wanted[path]) if path in wanted else Remove(KEY, place, path)
            for path in changed
        ]
        about = list(dict.fromkeys([*devices(texts), *anew]))
        actions.append(Replug(place, changes, about))
    actions.append(Retrigger(place, rules))
    if made or made_before:
        actions.append(Make(place, former, routed))
    described = {each.device for each in right}
    left = devices("".join(text for path, text in present.items() if path not in wanted))
    left += freed(former, routed) if made_before else []
    actions.append(Settle(place, [name for name in left if name not in described]))
    return actions


def asked_for(config: Config, node: Node) -> tuple[list[Action], list[Interface], dict[str, str]]:
    """A refusal for each unusable entry, the usable ones with their members, and, if needed, the
    names of hardware by MAC."""
    from k3os.config.network import interfaces

    entries = config.entries(KEY)
    right, wrong = interfaces(entries)
    refused: list[Action] = [
        Refused(f"{KEY}.{name}", error.place, f"configure {name}", error.message, error.hint)
        for name, error in wrong
    ]
    if any(each.match for each in right):
        right, unfit = _matched(right, node)
        for key, (message, hint) in unfit.items():
            path, where = f"{KEY}.{key}", entries[key].place
            refused.append(Refused(path, where, f"configure {key}", message, hint))
    if any(each.made for each in right):
        from k3os.config.members import with_members

        right = with_members(right)
    known = device_names(node) if any(each.is_mac or each.vlan_number for each in right) else {}
    named = {each.device for each in right}
    for each in [each for each in right if known.get(each.device) in named]:
        name = each.owner.name if each.owner and each.key not in entries else each.key
        path, where = f"{KEY}.{name}", entries[name].place
        message = f"is {known[each.device]}, which another entry describes"
        what, hint = f"configure {each.name}", "keep one of the two"
        refused.append(Refused(path, where, what, message, hint))
        right.remove(each)
    return refused, right, known


def _matched(
    right: list[Interface], node: Node
) -> tuple[list[Interface], dict[str, tuple[str, str]]]:
    from k3os.phases.cards import cards
    from k3os.phases.matching import resolved

    return resolved(right, cards(node))


def _file(place: Place, path: str, text: str) -> WriteFile:
    return WriteFile(KEY, place, path, text.encode(), 0o600)


def files(node: Node) -> dict[str, str]:
    """Our files for connman, with their texts."""
    try:
        names = sorted(os.listdir(node.path(CONNMAN)))
    except FileNotFoundError:
        return {}
    paths = [f"{CONNMAN}/{each}" for each in names if is_ours(each)]
    return {path: node.read(path) for path in paths}


def is_ours(name: str) -> bool:
    return name == FILE + SUFFIX or (name.startswith(f"{FILE}-") and name.endswith(SUFFIX))


def devices(text: str) -> list[str]:
    """The interfaces, by name or MAC, that connman's sections apply to."""
    settings = (line.partition("=") for line in text.split("\n"))
    return list(dict.fromkeys(v for name, _, v in settings if name in ("MAC", "DeviceName")))


def device_names(node: Node) -> dict[str, str]:
    """MAC -> name for existing hardware. A VLAN has the MAC of its parent, and a bond that of a
    member, so connman could confuse them."""
    directory = "/sys/class/net"
    try:
        names = sorted(os.listdir(node.path(directory)))
    except FileNotFoundError:
        return {}
    found: dict[str, str] = {}
    for name in names:
        kind = node.read(f"{directory}/{name}/uevent").partition("DEVTYPE=")[2].partition("\n")[0]
        if kind not in VIRTUAL:
            own = node.read(f"{directory}/{name}/bonding_slave/perm_hwaddr")
            own = own or node.read(f"{directory}/{name}/address")
            found.setdefault(own.strip(), name)
    return found


def services(right: list[Interface], names: dict[str, str]) -> dict[str, str]:
    """connman's files, by path. The parent of a VLAN gets no address, unless it has an entry of its
    own."""
    found = {}
    described = {names.get(each.device, each.device) for each in right}
    for interface in right:
        if not is_connmans(interface):
            continue
        lines = [f"IPv4={ipv4(interface)}", f"IPv6={ipv6(interface)}"]
        if interface.nameservers:
            lines.append(f"Nameservers={','.join(interface.nameservers)}")
        if interface.domains:
            lines.append(f"SearchDomains={','.join(interface.domains)}")
        if lines != DEFAULT:
            found[file_of(interface.device)] = _section(interface.device, names, lines)
        below = interface.vlan and names.get(interface.name, interface.name)
        if interface.made and interface.made.kind == "bridge":
            continue
        if below and below not in described:
            off = ["IPv4=off", "IPv6=off"]
            found[file_of(interface.name)] = _section(interface.name, names, off)
    return found


def is_connmans(interface: Interface) -> bool:
    """Whether connman manages the device with the addresses (see k3os.phases.links)."""
    if is_awaited(interface.name):
        return False
    if interface.owner and interface.owner.made and interface.owner.made.kind == "bond":
        return False
    kind = interface.made.kind if interface.made else ""
    return kind != "dummy" and (kind != "bridge" or bool(interface.port or interface.vlan))


def _section(device: str, names: dict[str, str], lines: list[str]) -> str:
    tag = "".join(c if c.isalnum() else "_" for c in device)
    name = names.get(device, device)
    match = f"MAC={name}" if ":" in name else f"DeviceName={name}"
    return "\n".join([f"[service_k3os_{tag}]", "Type=ethernet", match, *lines, ""])


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


def routing(right: list[Interface]) -> list[Json]:
    """PLAN: a list of maps with device (name or MAC), name (of the entry), gateways, static (IP
    versions with a fixed address), fixed (all fixed addresses), more (those that connman does not
    support), below (the parent of a VLAN, "" for other devices), mtu (0: unchanged), routes and
    rules (of `static_routes.planned`), made (for `links`; {}: nothing), nameservers and domains (of
    the entry), wake, match (in words), and the rest of LEARNED."""
    from k3os.phases.static_routes import planned

    entries: list[Json] = []
    for interface in right:
        more = interface.of_version(4)[0 if interface.dhcp else 1 :] + interface.of_version(6)[1:]
        if interface.made and interface.made.kind == "dummy":
            more = interface.addresses
        parent = interface.name if interface.vlan else interface.name.rpartition(".")[0]
        entries.append(
            {
                "device": interface.device,
                "name": interface.key,
                "gateways": [str(each) for each in interface.gateways],
                "static": sorted({each.version for each in interface.addresses}),
                "dhcp": interface.dhcp,
                "fixed": [str(each) for each in interface.addresses],
                "more": [str(each) for each in more],
                "below": parent if interface.vlan_number else "",
                "mtu": 0 if is_made_with_mtu(interface) else int(interface.mtu or 0),
                "made": planned_link(interface),
                "wake": interface.wake,
                "match": str(interface.match or ""),
                "nameservers": interface.nameservers,
                "domains": interface.domains,
                **planned(interface),
                **interface.learned.planned(),
            }
        )
    return entries


def planned_link(interface: Interface) -> Json:
    """`made` for an entry of PLAN."""
    made = interface.made
    if made is None:
        return {}
    return {
        "kind": made.kind,
        "name": interface.name,
        "words": made.words,
        "mtu": int(interface.mtu or 0) if is_made_with_mtu(interface) else 0,
        "primary": made.primary,
        "members": made.members,
        "port": interface.port,
    }


class Retrigger(Action):
    """Makes udev process the interfaces again if its rules have changed."""

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
    """Set up only the configured default route, before k3s looks for one.

    back: interfaces that no longer have an entry, which get addresses by DHCP again.
    """

    __slots__ = ("back",)

    def __init__(self, place: Place, back: list[str]) -> None:
        super().__init__(KEY, place)
        self.back = back

    def describe(self) -> str:
        return "settle addresses and the default route"

    def perform(self, node: Node) -> str:
        from k3os.system.run import run

        if not node.is_real:
            return LATER
        from k3os.phases.routes import set_routes

        done, missing = set_routes(wait=10, back=self.back)
        run(["systemctl", "start", "--no-block", SOCKET], timeout=30)
        self.note = "; ".join([*done, *missing])
        if missing:
            return LATER
        return DONE if done else UNCHANGED
