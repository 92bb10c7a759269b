"""k3os.network: addresses of interfaces. Checks each entry, and entries against each other.

A wrong entry is left out completely: half a network locks people out.
"""

from __future__ import annotations

import ipaddress

from k3os.config.addresses import DHCP, LONGEST_NAME, OFF, check_host, interface_name
from k3os.config.kinds import Check, map_named
from k3os.config.learned import FIELDS, Learned
from k3os.config.learned import check_entry as check_learned
from k3os.config.value import Node, Value, Wrong, field_text
from k3os.system.interfaces import DUMMY, KINDS, NOT_OURS, WIRELESS
from k3os.system.numbers import are_digits, clamped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.key import Key
    from k3os.config.made import Made
    from k3os.config.match import Match
    from k3os.config.routes import Route, Rule

HIGHEST_VLAN = 4094
# keys beside or above the interfaces in netplan, cloud-init and RancherOS
OF_OTHERS = ("version", "renderer", "ethernets", "wifis", "vlans", "bonds", "interfaces", "config")
# devices without hardware, which must be created (ip-link(8)), and how
_BRIDGE = "write `bridge: {{interfaces: […]}}` at {}"
MADE = {
    "bond": "write `bond: {{mode: …, interfaces: […]}}` at {}",
    "br": _BRIDGE,
    "bridge": _BRIDGE,
    "vlan": "write e.g. `eth0: {{vlan: 100, …}}`",
    "team": "write a bond, or make it in boot_cmd: `ip link add {} type …`",
}
USUAL_MTU = 1500
WAKE = {True: "g", False: "d"}  # by a magic packet, or not at all: ethtool(8), wol
SMALLEST_MTU = {4: 576, 6: 1280}  # every host must accept this size: RFC 791, RFC 8200


class Interface:
    """One entry: name or MAC, the VLAN on top of it (0: none), its addresses and gateways.

    addresses: ipaddress interfaces, in the order of the text. gateways: at most one per family.
    made: what k3OS must create with that name. owner: the bond or bridge that it is a member of.
    key: the entry's name in the configuration, not an interface's if there is a match. wake: for
    ethtool(8), "" for no change.
    """

    __slots__ = (
        *("addresses", "dhcp", "domains", "gateways", "key", "learned", "made", "match", "mtu"),
        *("name", "nameservers", "owner", "routes", "rules", "vlan", "wake"),
    )

    def __init__(self, name: str, entry: dict[str, Value]) -> None:
        self.key = self.name = name
        words = _texts(entry, "address")
        self.dhcp = DHCP in words or not words
        self.addresses = [ipaddress.ip_interface(word) for word in words if "/" in word]
        self.gateways = [ipaddress.ip_address(word) for word in _texts(entry, "gateway")]
        self.nameservers = _texts(entry, "nameservers")
        self.domains = _texts(entry, "domains")
        self.mtu = field_text(entry, "mtu")
        self.vlan = int(field_text(entry, "vlan") or 0)
        self.learned = Learned(entry)
        self.wake = WAKE[entry["wake_on_lan"].data is True] if "wake_on_lan" in entry else ""
        self.match: Match | None = None
        if "match" in entry:
            from k3os.config.match import of_entry as match_of

            self.match = match_of(entry)
        self.routes: list[Route] = []
        self.rules: list[Rule] = []
        if "routes" in entry or "rules" in entry:
            from k3os.config.routes import of_entry

            self.routes, self.rules = of_entry(entry)
        self.made: Made | None = None
        self.owner: Interface | None = None
        if not entry.keys().isdisjoint(KINDS):
            from k3os.config.made import of_entry as made_of

            self.made = made_of(entry)

    @property
    def vlan_number(self) -> int:
        """The VLAN's id, in either notation; 0 for none. ip-link(8): eth0.100."""
        parent, _, digits = self.name.rpartition(".")
        return self.vlan or (clamped(digits) if parent and are_digits(digits) else 0)

    @property
    def below(self) -> str:
        """The parent of its VLAN, by name or MAC; itself if it has no VLAN."""
        return self.name.rpartition(".")[0] if self.vlan_number and not self.vlan else self.name

    @property
    def is_mac(self) -> bool:
        return ":" in self.name

    def of_version(self, version: int) -> list[ipaddress.IPv4Interface | ipaddress.IPv6Interface]:
        """The addresses of IPv4 or IPv6."""
        return [each for each in self.addresses if each.version == version]

    def gateway(self, version: int) -> str:
        """The gateway of IPv4 or IPv6, "" for none."""
        return next((str(each) for each in self.gateways if each.version == version), "")

    @property
    def port(self) -> str:
        """The name of the node's own port of a bridge, "" for none."""
        has_addresses = self.dhcp or self.addresses
        if self.made is None or self.made.kind != "bridge" or self.vlan or not has_addresses:
            return ""
        from k3os.config.made import port

        return port(self.name)

    @property
    def device(self) -> str:
        """The device that gets the addresses: the interface, its VLAN or its port, or its MAC."""
        if self.port:
            return self.port
        if not self.vlan:
            return self.name
        return f"vlan{self.vlan}" if self.is_mac else f"{self.name}.{self.vlan}"


def _texts(entry: dict[str, Value], name: str) -> list[str]:
    value = entry.get(name)
    data = value.data if value is not None else []
    return [str(item.data) for item in data] if isinstance(data, list) else [str(data)]


def networks(check: Check, key: Key, node: Node, path: str) -> Value:
    """The map of interfaces: checks names, each entry, and entries against each other.

    `eth0: dhcp` is short for `eth0: {address: dhcp}`.
    """
    if node.kind == "map":
        node.pairs = [(name, _long_form(entry)) for name, entry in node.pairs]
    entries = map_named(check, key, node, path, _name)
    right, wrong = interfaces(entries)
    for name, error in wrong:
        check.error(f"{path}.{name}", error)
    made = {each.name for each in right if each.made}
    for each in right:
        hint = MADE.get(each.below.rstrip("0123456789"), "")
        if hint and each.below not in made and not each.match:
            message = "k3OS does not make such a device: this entry waits until something else does"
            place = entries[each.name].place
            check.warn(place, f"{path}.{each.name}", message, hint.format(each.below))
    return Value({each.name: entries[each.name] for each in right}, node.place)


def _long_form(node: Node) -> Node:
    if node.kind == "map":
        return node
    entry = Node("map", node.place)
    if node.kind != "null":
        entry.pairs.append((Node("scalar", node.place, "address"), node))
    return entry


def _name(node: Node) -> str:
    """A canonical interface name or MAC. Raises Wrong."""
    word = node.text.strip()
    if word in OF_OTHERS:
        hint = "write `eth0: {address: …}` for each interface"
        raise Wrong(node.place, f"`{word}` belongs to another network configuration", hint)
    return interface_name(node)


def interfaces(
    entries: dict[str, Value],
) -> tuple[list[Interface], list[tuple[str, Wrong]]]:
    """The entries that can be used, and (name, what is wrong) for the others."""
    right: list[Interface] = []
    wrong: list[tuple[str, Wrong]] = []
    taken = _Taken()
    for name, value in entries.items():
        assert isinstance(value.data, dict)
        try:
            interface = Interface(name, value.data)
            if interface.made:
                from k3os.config.made import check_entry

                check_entry(interface, value, value.data)
            if interface.match:
                from k3os.config.match import check_entry as check_match

                check_match(interface, value, value.data)
            _check_device(interface, value, value.data)
            _check(interface, value, value.data)
            taken.check(interface, value.data)
        except Wrong as error:
            wrong.append((name, error))
        else:
            taken.add(interface)
            right.append(interface)
    small = _too_small_below(right, entries)
    right = [each for each in right if each.name not in small]
    wrong += small.items()
    if any(each.made for each in right):
        from k3os.config.members import check_together

        apart = check_together(right, entries)
        right = [each for each in right if each.name not in apart]
        wrong += apart.items()
    return right, wrong


def _too_small_below(right: list[Interface], entries: dict[str, Value]) -> dict[str, Wrong]:
    """The VLANs whose packets would be larger than the MTU of the interface below them."""
    found = {}
    bridges = (each.name for each in right if each.made and each.made.kind == "bridge")
    sizes = dict.fromkeys(bridges, USUAL_MTU)  # the ports of a bridge get its MTU
    sizes |= {each.name: int(each.mtu) for each in right if each.mtu}
    for each in right:
        size = sizes.get(each.below, 0)
        if each.mtu and size and int(each.mtu) > size:
            message = f"{each.mtu} is more than {size}, the mtu of {each.below} below it"
            found[each.name] = Wrong(entries[each.name].place, message, f"write {size} or less")
    return found


def _check_device(interface: Interface, value: Value, entry: dict[str, Value]) -> None:
    is_named = not interface.made and not interface.match
    if is_named and (interface.name == "lo" or interface.name.startswith(NOT_OURS)):
        hint = "in boot_cmd, or where it is made: `ip address add …`"
        hint = "write `dummy: true`, too" if interface.name.startswith(DUMMY) else hint
        raise Wrong(value.place, "connman does not manage this interface", hint)
    is_dhcp = interface.dhcp and not interface.addresses and {"address", *FIELDS}.issuperset(entry)
    if is_named and interface.name.startswith(WIRELESS) and not is_dhcp:
        hint = "write its network into k3os.wifi"
        raise Wrong(value.place, "is wireless, and has its address from DHCP", hint)
    number = interface.vlan_number
    if number > HIGHEST_VLAN or (number == 0 and interface.name.endswith(".0")):
        raise Wrong(
            value.place, f"{number} is not a VLAN number", f"VLANs go from 1 to {HIGHEST_VLAN}"
        )
    if interface.wake and (interface.made or interface.below != interface.name):
        message = "a magic packet wakes a network card, and this is not one"
        raise Wrong(entry["wake_on_lan"].place, message, "write it at the interface below")
    if interface.vlan and "." in interface.name:
        hint = "name the interface below both, once"
        raise Wrong(value.place, "is a VLAN already; VLANs in VLANs are not supported", hint)
    if len(interface.device) > LONGEST_NAME and not interface.is_mac:
        raise Wrong(value.place, f"{interface.device} is too long for an interface's name")


def _check(interface: Interface, value: Value, entry: dict[str, Value]) -> None:
    words = _texts(entry, "address")
    for version, smallest in SMALLEST_MTU.items():
        if interface.mtu and int(interface.mtu) < smallest and interface.of_version(version):
            message = f"{interface.mtu} is too small for IPv{version}"
            raise Wrong(entry["mtu"].place, message, f"write {smallest} or more")
    if OFF in words and (len(words) > 1 or interface.gateways):
        hint = "remove the other addresses and the gateway, or `off`"
        raise Wrong(value.place, "`off` means: no address at all", hint)
    for version in (4, 6):
        gateways = [each for each in interface.gateways if each.version == version]
        if len(gateways) > 1:
            raise Wrong(entry["gateway"].place, f"two gateways for IPv{version}", "keep one")
        own = interface.of_version(version)
        if not gateways:
            continue
        gateway = gateways[0]
        for each in own:
            if gateway in each.network:
                router = ipaddress.ip_interface(f"{gateway}/{each.network.prefixlen}")
                check_host(router, entry["gateway"].place)
        if any(gateway == each.ip for each in own):
            hint = "write the router's address"
            raise Wrong(entry["gateway"].place, f"{gateway} is this node's own address", hint)
        reachable = any(gateway in each.network for each in own) or gateway.is_link_local
        if own and not reachable:
            hint = f"write an address in {own[0].network}"
            raise Wrong(entry["gateway"].place, f"{gateway} is not in the network", hint)
        if not own and not interface.dhcp:
            hint = f"give it an IPv{version} address, too"
            raise Wrong(entry["gateway"].place, f"{gateway} cannot be reached", hint)
    check_learned(interface, entry)
    if interface.routes:
        from k3os.config.routes import check_reachable

        faces = {version: interface.of_version(version) for version in SMALLEST_MTU}
        check_reachable(entry, faces, dhcp=interface.dhcp, off=OFF in words)


class _Taken:
    """What the entries so far use, and by which of them; as dictionaries, since there may be
    thousands."""

    __slots__ = ("addresses", "devices", "gateways", "routes")

    def __init__(self) -> None:
        self.gateways: dict[tuple[int, int], str] = {}
        self.addresses: dict[object, str] = {}
        self.devices: dict[str, str] = {}
        self.routes: dict[object, str] = {}

    def add(self, interface: Interface) -> None:
        for gateway in interface.gateways:
            which = gateway.version, interface.learned.metric
            self.gateways.setdefault(which, interface.name)
        for address in interface.addresses:
            self.addresses.setdefault(address.ip, interface.name)
        self.devices.setdefault(interface.device, interface.name)
        for route in interface.routes:
            self.routes.setdefault(route.identity, interface.name)

    def check(self, interface: Interface, entry: dict[str, Value]) -> None:
        for gateway in interface.gateways:
            if other := self.gateways.get((gateway.version, interface.learned.metric)):
                message = f"{other} has the gateway already: there is one default route"
                hint = "keep the gateway of one interface"
                if interface.learned.metric:
                    message = f"{other} has a gateway with the metric {interface.learned.metric}"
                    hint = "give this one another route_metric"
                raise Wrong(entry["gateway"].place, message, hint)
        for address in interface.addresses:
            if other := self.addresses.get(address.ip):
                hint = "give each interface its own"
                raise Wrong(entry["address"].place, f"{other} has {address.ip}, too", hint)
        own: set[object] = set()
        for number, route in enumerate(interface.routes):
            this = "this entry" if route.identity in own else ""
            if other := self.routes.get(route.identity, this):
                place = entry["routes"].data[number].place  # type: ignore[union-attr,index]
                message = f"{other} has a route to {route.to} already"
                raise Wrong(place, message, "keep one, or give it another `metric` or `table`")
            own.add(route.identity)
        if other := self.devices.get(interface.device):
            message = f"{other} describes {interface.device} already"
            raise Wrong(next(iter(entry.values())).place, message, "keep one of the two")
