"""What an interface accepts from its network (name servers, default routes), in k3os.network, and
what it does if no DHCP server answers.

The names are netplan's (netplan-yaml(5), "dhcp4-overrides"), except for the fallback address, which
netplan does not have. Carried out by k3os.phases.default_routes, fallback and ignored_servers.
"""

from __future__ import annotations

import ipaddress

from k3os.config.addresses import OFF, addresses, check_host
from k3os.config.kinds import Check
from k3os.config.value import Node, Value, Wrong, field_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.key import Key
    from k3os.config.network import Interface

FIELDS = ("use_dns", "use_routes", "route_metric")
FALLBACK, FALLBACK_GATEWAY = "fallback_address", "fallback_gateway"


class Learned:
    """metric: of its default route, 0 for the default. fallback: address and prefix length, "" for
    none."""

    __slots__ = ("fallback", "fallback_gateway", "metric", "use_dns", "use_routes")

    def __init__(self, entry: dict[str, Value]) -> None:
        self.use_dns = _is_wanted(entry, "use_dns")
        self.use_routes = _is_wanted(entry, "use_routes")
        self.metric = int(field_text(entry, "route_metric") or 0)
        self.fallback = field_text(entry, FALLBACK)
        self.fallback_gateway = field_text(entry, FALLBACK_GATEWAY)

    def planned(self) -> dict[str, object]:
        """The part of an entry of PLAN (k3os.phases.network_plan, LEARNED)."""
        return {name: getattr(self, name) for name in self.__slots__}


def _is_wanted(entry: dict[str, Value], name: str) -> bool:
    return name not in entry or entry[name].data is True


def fixed_address(check: Check, key: Key, node: Node, path: str) -> Value:
    """One IPv4 address with its prefix length."""
    value = addresses(check, key, node, path)
    assert isinstance(value.data, list)
    hint = "write e.g. `192.168.1.10/24`"
    if len(value.data) != 1:
        raise Wrong(node.place, "takes one address", hint)
    (item,) = value.data
    if "/" not in str(item.data):
        raise Wrong(item.place, f"`{item.data}` is not an address", hint)
    if ":" in str(item.data):
        raise Wrong(item.place, f"{item.data} is an IPv6 address, and this must be IPv4", hint)
    return item


def check_entry(interface: Interface, entry: dict[str, Value]) -> None:
    """Check these fields against the rest of an entry. Raises Wrong."""
    learned = interface.learned
    for name in (*FIELDS, FALLBACK):
        if name in entry and not (interface.dhcp or interface.addresses):
            message = f"{name} needs an address, and this interface has none"
            raise Wrong(entry[name].place, message, f"remove it, or `address: {OFF}`")
    if learned.metric and not learned.use_routes and not interface.gateways:
        message = "there is no default route for this metric"
        raise Wrong(entry["route_metric"].place, message, "remove it, or `use_routes: false`")
    if FALLBACK_GATEWAY in entry and FALLBACK not in entry:
        message = f"{FALLBACK_GATEWAY} needs {FALLBACK}"
        hint = f"write `{FALLBACK}: …`, too; the router of a fixed address is `gateway`"
        raise Wrong(entry[FALLBACK_GATEWAY].place, message, hint)
    if FALLBACK in entry:
        _check_fallback(interface, entry)


def _check_fallback(interface: Interface, entry: dict[str, Value]) -> None:
    place = entry[FALLBACK].place
    fallback = ipaddress.ip_interface(interface.learned.fallback)
    if not interface.dhcp:
        message = "is for an interface that uses DHCP, and this one has a fixed address"
        raise Wrong(place, message, "write `address: dhcp`, or remove it")
    if fallback.is_link_local:
        message = f"{fallback.ip} is a link-local address"
        raise Wrong(place, message, "write one of your network")
    if any(fallback.ip == each.ip for each in interface.addresses):
        raise Wrong(place, f"{fallback.ip} is its address anyway", "keep one of the two")
    if gateway := interface.learned.fallback_gateway:
        place = entry[FALLBACK_GATEWAY].place
        router = ipaddress.ip_address(gateway)
        if router not in fallback.network:
            hint = f"write an address in {fallback.network}"
            raise Wrong(place, f"{gateway} is not in the network", hint)
        if router == fallback.ip:
            message = f"{gateway} is this node's own address"
            raise Wrong(place, message, "write the router's address")
        check_host(ipaddress.ip_interface(f"{router}/{fallback.network.prefixlen}"), place)
