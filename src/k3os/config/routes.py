"""`routes` and `rules` in an entry of k3os.network: static routes, and which table is used when.

The names are netplan's (netplan-yaml(5), "routes", "routing-policy"), their effect is that of
ip-route(8) and ip-rule(8). The node's own default route is `gateway`.
"""

from __future__ import annotations

import ipaddress

from k3os.config.kinds import Check, one_map
from k3os.config.scalars import items_in, scalar_text
from k3os.config.value import Node, Value, Wrong, field_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    from k3os.config.key import Key

    Net: TypeAlias = "ipaddress.IPv4Network | ipaddress.IPv6Network"
    Face: TypeAlias = "ipaddress.IPv4Interface | ipaddress.IPv6Interface"

DEFAULT = "default"
MAIN = 254
# after those of network plugins (cilium has 9 to 110), before the kernel's own (32766)
PRIORITY = 1000


class Route:
    """A static route. to: a network, "default" for all; via: "" if the target is on the link."""

    __slots__ = ("metric", "table", "to", "version", "via")

    def __init__(self, entry: dict[str, Value]) -> None:
        self.to = field_text(entry, "to")
        self.via = field_text(entry, "via")
        self.metric = int(field_text(entry, "metric") or 0)
        self.table = int(field_text(entry, "table") or MAIN)
        self.version = 6 if ":" in (self.via if self.to == DEFAULT else self.to) else 4

    @property
    def identity(self) -> tuple[object, ...]:
        """What must be unique: the kernel stores only one route with it."""
        return self.to, self.version, self.metric, self.table


class Rule:
    """The packets that use a table. source, to: a network, "" for any."""

    __slots__ = ("priority", "source", "table", "to", "version")

    def __init__(self, entry: dict[str, Value]) -> None:
        self.source = field_text(entry, "from")
        self.to = field_text(entry, "to")
        self.table = int(field_text(entry, "table"))
        self.priority = int(field_text(entry, "priority") or PRIORITY)
        self.version = 6 if ":" in self.source + self.to else 4


def of_entry(entry: dict[str, Value]) -> tuple[list[Route], list[Rule]]:
    """The routes and rules of an entry of k3os.network whose fields have been checked."""
    return (
        [Route(each.data) for each in _listed(entry, "routes") if isinstance(each.data, dict)],
        [Rule(each.data) for each in _listed(entry, "rules") if isinstance(each.data, dict)],
    )


def _listed(entry: dict[str, Value], name: str) -> list[Value]:
    value = entry.get(name)
    return value.data if value is not None and isinstance(value.data, list) else []


def network(check: Check, key: Key, node: Node, path: str) -> Value:
    """`10.0.0.0/8`, an address for a host, `default`; in the notation of ip(8)."""
    word = scalar_text(node, "a network").strip()
    if word.lower() == DEFAULT and key.name == "to":
        return Value(DEFAULT, node.place)
    try:
        face = ipaddress.ip_interface(word)
    except ValueError:
        raise Wrong(node.place, f"`{word}` is not a network", "write e.g. `10.20.0.0/16`") from None
    if "%" in word:
        raise Wrong(node.place, f"`{word}` has a zone", f"write `{face.network}`")
    if face.network.prefixlen == 0:
        hint = "write `to: default`" if key.name == "to" else f"leave `{key.name}` out"
        raise Wrong(node.place, f"{word} means every address", hint)
    if face.ip != face.network.network_address:
        message = f"{word} is an address within {face.network}"
        raise Wrong(node.place, message, f"write `{face.network}`, or `{face.ip}` for that host")
    is_host = face.network.prefixlen == face.max_prefixlen
    return Value(str(face.ip if is_host else face.network), node.place)


def router(check: Check, key: Key, node: Node, path: str) -> Value:
    """One IP address."""
    from k3os.config.addresses import hosts

    value = hosts(check, key, node, path)
    assert isinstance(value.data, list)
    if len(value.data) != 1:
        raise Wrong(node.place, "takes one address", "write a route for each")
    return value.data[0]


def routes(check: Check, key: Key, node: Node, path: str) -> Value:
    """A list of maps; a wrong one makes the whole list wrong: half a network is useless."""
    values: list[Value] = []
    wrong: list[tuple[str, Wrong]] = []
    for index, item in [(0, node)] if node.kind == "map" else items_in(node):
        try:
            values.append(_one(check, key, item, f"{path}[{index}]"))
        except Wrong as error:
            wrong.append((f"{path}[{index}]", error))
    for item_path, each in wrong[:-1]:
        check.error(item_path, each)
    if wrong:
        raise wrong[-1][1]
    return Value(list(values), node.place)


def _one(check: Check, key: Key, item: Node, path: str) -> Value:
    value = one_map(check, key, item, path, strict=True)
    entry = value.data
    assert isinstance(entry, dict)
    if key.name == "rules":
        if not {"from", "to"} & set(entry):
            raise Wrong(item.place, "has neither from nor to", "write `from: …`, whose packets")
        families = {":" in str(entry[name].data) for name in ("from", "to") if name in entry}
        if DEFAULT in (field_text(entry, "from"), field_text(entry, "to")):
            raise Wrong(entry["to"].place, "`default` means every address", "leave `to` out")
        if len(families) > 1:
            raise Wrong(item.place, "has an IPv4 and an IPv6 network", "write a rule for each")
        return value
    route = Route(entry)
    if route.to == DEFAULT and route.table == MAIN:
        hint = "write `gateway: …` beside `address`, or a `table` of its own here"
        raise Wrong(entry["to"].place, "is the default route of the node", hint)
    if route.to == DEFAULT and not route.via:
        raise Wrong(item.place, "has no via", "write `via: …`, the router's address")
    if route.via and (":" in route.via) != (route.version == 6):
        message = (
            f"{route.via} is not an IPv{route.version} address, {route.to} is IPv{route.version}"
        )
        raise Wrong(entry["via"].place, message, "write both of one kind")
    return value


def check_reachable(
    entry: dict[str, Value], own: dict[int, list[Face]], *, dhcp: bool, off: bool
) -> None:
    """Whether the routers are in the interface's networks. own: its addresses by IP version.

    With DHCP its networks are not known yet; that is checked on the running node. Raises Wrong.
    """
    for value in _listed(entry, "routes"):
        assert isinstance(value.data, dict)
        route = Route(value.data)
        faces = own[route.version]
        if off or not (faces or dhcp):
            message = f"the interface has no IPv{route.version} address"
            raise Wrong(value.place, message, "give it one, or write the route elsewhere")
        if not route.via:
            continue
        via, place = ipaddress.ip_address(route.via), value.data["via"].place
        if any(via == each.ip for each in faces):
            raise Wrong(place, f"{via} is this node's own address", "write the router's address")
        if dhcp or via.is_link_local or any(via in each.network for each in faces):
            continue
        hint = f"write an address in {faces[0].network}"
        raise Wrong(place, f"{via} is not in the network", hint)
