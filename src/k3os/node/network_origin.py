"""Where an address, a route, a rule or an interface comes from: decided from the kernel's data,
the entries of k3os.network, and what connman was given.

Pure, and careful: what it cannot explain was set by hand or by another program.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from k3os.config.made import peer
from k3os.node.network_kernel import LOCAL, MAIN
from k3os.node.network_report import (
    ADVERTISED,
    BY_HAND,
    BY_KERNEL,
    BY_PLUGIN,
    CONNMAN,
    LINK_LOCAL,
    OTHER,
    Address,
    Hop,
    Origin,
    Route,
)
from k3os.node.network_report import DHCP as BY_DHCP
from k3os.node.network_wanted import WIFI
from k3os.phases.connman_services import AUTO, DHCP, FIXED, MANUAL, OFF
from k3os.phases.default_routes import DEFAULTS
from k3os.phases.fallback import is_used
from k3os.phases.ip_output import hardware_address, kind, link_of
from k3os.phases.static_routes import METRIC, route_identity, rule_identity
from k3os.system.interfaces import NOT_OURS, WIRELESS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, TypeAlias

    from k3os.node.network_kernel import Kernel
    from k3os.node.network_report import Rule
    from k3os.node.network_wanted import Configuration, Wanted
    from k3os.phases.connman_services import Service

    Json: TypeAlias = "dict[str, Any]"

LOOPBACK = "lo"
IPV4_LINK_LOCAL = "169.254."
# rtnetlink.h, RTPROT_*: the origins of routes
KERNELS, ADVERTISEMENT = "2", "9"
PROGRAMS = {"11": "zebra", "12": "bird", "42": "babel", "186": "bgp", "188": "ospf", "189": "rip"}
# the kernel's own rules, by version: ip-rule(8)
KERNELS_RULES = {4: ("0", "32766", "32767"), 6: ("0", "32766")}
FROM_DHCP = Origin(BY_DHCP, "DHCP, by connman")
FROM_DHCPV6 = Origin(BY_DHCP, "DHCPv6, by connman")
FROM_ROUTER = Origin(ADVERTISED, "router advertisement (SLAAC)")
FROM_ADVERTISEMENT = Origin(ADVERTISED, "router advertisement")
IS_LINK_LOCAL = Origin(LINK_LOCAL, "link-local, by the kernel")
WITHOUT_DHCP = Origin(LINK_LOCAL, "link-local, by connman: no DHCP server has answered")
FROM_A_FILE = Origin(CONNMAN, "a service file in /var/lib/connman")
BY_CONNMANCTL = Origin(CONNMAN, "connman, told by connmanctl")
NOBODY = Origin(OTHER, "nobody: connman does not know it")
WANTED = {DHCP: "by itself, DHCP", OFF: "told: no addresses", MANUAL: "told by connmanctl"}
UNANSWERED = Origin(OTHER, "unknown: connman does not answer")


@dataclass(frozen=True)
class Known:
    """For lookups. by_device: an interface's name -> the entry that describes it; parts: bridges
    and bonds that have no entry of their own; services: None if connman does not answer."""

    by_device: dict[str, Wanted]
    parts: dict[str, Origin]
    services: dict[str, Service] | None
    routes: dict[tuple[object, ...], Origin]
    rules: dict[tuple[object, ...], Origin]
    gateways: dict[tuple[object, object], Origin]
    plugins: frozenset[str]
    wifi: str = ""
    of_pods: tuple[str, ...] = ()

    def service(self, device: str) -> Service | None:
        return (self.services or {}).get(device)


def known(
    kernel: Kernel,
    config: Configuration,
    services: Iterable[Service] | None,
    of_pods: tuple[str, ...] = (),
) -> Known:
    """of_pods: their networks."""
    links = list(kernel.links)
    by_device: dict[str, Wanted] = {}
    parts: dict[str, Origin] = dict(config.off)
    routes: dict[tuple[object, ...], Origin] = {}
    rules: dict[tuple[object, ...], Origin] = {}
    gateways: dict[tuple[object, object], Origin] = {}
    for each in config.wanted:
        link = link_of(each.device, links)
        name = link["ifname"] if link else each.device
        by_device.setdefault(name, each)
        for made in _made(each):
            parts.setdefault(made, each.origin())
        for number, route in enumerate(each.entry["routes"]):
            routes.setdefault(route_identity(route, name), each.origin("routes", str(number)))
        for number, rule in enumerate(each.entry["rules"]):
            rules.setdefault(rule_identity(rule), each.origin("rules", str(number)))
        for gateway in each.entry["gateways"]:
            gateways.setdefault((name, gateway), each.origin("gateway", gateway))
        router = each.entry["fallback_gateway"]
        if router and link and is_used(each.entry, link):
            gateways.setdefault((name, router), each.origin("fallback_gateway", router))
    ours = {*by_device, *parts}
    carriers = {name for route in kernel.routes if is_the_default(route) for name in route.devices}
    return Known(
        by_device,
        parts,
        {each.device: each for each in services} if services is not None else None,
        routes,
        rules,
        gateways,
        frozenset(
            link["ifname"]
            for link in links
            if link["ifname"].startswith(NOT_OURS) and link["ifname"] not in ours | carriers
        ),
        config.wifi,
        of_pods,
    )


def _made(wanted: Wanted) -> list[str]:
    made = wanted.entry["made"]
    if not made:
        return []
    return [made["name"], *([made["port"], peer(made["name"])] if made["port"] else [])]


def is_the_default(route: Route) -> bool:
    """A default route in the main table."""
    return route.to in DEFAULTS and route.table == MAIN


def manager(name: str, link: Json, known: Known) -> Origin:
    """Who manages an interface."""
    if entry := known.by_device.get(name):
        words = f"member of {entry.owner}" if entry.owner else ""
        return replace(entry.origin("interfaces" if entry.is_listed else ""), words=words)
    if name in known.parts:
        return known.parts[name]
    if name == LOOPBACK:
        return BY_KERNEL
    if name in known.plugins:
        return BY_PLUGIN
    if known.services is None:
        return UNANSWERED
    service = known.services.get(name)
    if service is None:
        return NOBODY
    if service.kind == "wifi" or name.startswith(WIRELESS):
        return Origin(CONNMAN, "connman", WIFI if known.wifi else "", known.wifi)
    if service.is_given:
        return FROM_A_FILE
    return Origin(CONNMAN, f"connman {WANTED.get(service.ipv4.wanted, 'by itself')}")


def address(link: Json, given: Json, known: Known) -> Address:
    text = address_text(given)
    notes = [word for word in ("tentative", "dadfailed", "deprecated") if given.get(word)]
    notes += ["temporary"] if given.get("temporary") else []
    return Address(text, _of_address(link, text, given, known), tuple(notes))


def address_text(given: Json) -> str:
    """In the form of the configuration."""
    return f"{given['local']}/{given['prefixlen']}"


def _of_address(link: Json, text: str, given: Json, known: Known) -> Origin:
    name = link["ifname"]
    entry = known.by_device.get(name)
    if entry and text in entry.entry["fixed"]:
        return entry.origin("address", text)
    if entry and text == entry.entry["fallback"]:
        return entry.origin("fallback_address", text)
    version = 6 if given.get("family") == "inet6" else 4
    if name == LOOPBACK and given.get("scope") == "host":
        return BY_KERNEL
    if name in known.plugins:
        return BY_PLUGIN
    if version == 6 and given.get("scope") == "link":
        return IS_LINK_LOCAL
    if _is_advertised(given):
        return FROM_ROUTER
    service = known.service(name)
    if service is None:
        return UNANSWERED if known.services is None else BY_HAND
    return _of_connman(link, given, version, service, entry)


def _of_connman(
    link: Json, given: Json, version: int, service: Service, entry: Wanted | None
) -> Origin:
    family, local = service.family(version), given["local"]
    learned = {
        FIXED: FROM_A_FILE,
        MANUAL: BY_CONNMANCTL,
        DHCP: FROM_DHCP,
        AUTO: FROM_DHCPV6 if version == 6 else WITHOUT_DHCP,
    }.get(family.method, BY_HAND)
    if version == 4 and local.startswith(IPV4_LINK_LOCAL) and family.method == DHCP:
        learned = WITHOUT_DHCP
    if service.given:
        return learned if local in service.given else BY_HAND
    fixed = entry.entry["fixed"] if entry else []
    others = [
        each
        for each in link["addr_info"]
        if each.get("family") == given.get("family") and each.get("scope") == "global"
        if not _is_advertised(each) and address_text(each) not in fixed
    ]
    if len(others) > 1 and service.given is None and learned is not BY_HAND:
        return replace(learned, words=f"{learned.words}, or by hand: only root sees which")
    return learned if family.address == local else BY_HAND


def _is_advertised(given: Json) -> bool:
    words = (given.get("protocol") == "kernel_ra", given.get("mngtmpaddr"), given.get("temporary"))
    return given.get("family") == "inet6" and any(words)


def route(given: Route, known: Known) -> Route:
    """The same with its origin."""
    return replace(given, origin=_of_route(given, known))


def _of_route(given: Route, known: Known) -> Origin:
    *_, device, gateway = identity(given)
    if found := known.routes.get(identity(given)):
        return found
    if is_the_default(given) and (found := known.gateways.get((device, gateway))):
        return found
    if given.protocol == ADVERTISEMENT:
        return FROM_ADVERTISEMENT
    if given.devices and known.plugins.issuperset(given.devices):
        return BY_PLUGIN
    if given.protocol == KERNELS or given.table == LOCAL:
        return BY_KERNEL
    if connmans := _connmans(given, device, gateway, known):
        entry = known.by_device.get(str(device))
        if is_the_default(given) and entry and given.metric == str(entry.entry["metric"]):
            asked = entry.origin("route_metric")
            return replace(connmans, key=asked.key, place=asked.place)
        return connmans
    if any(_is_within(given.to, each) for each in known.of_pods):
        return BY_PLUGIN
    if program := PROGRAMS.get(given.protocol, ""):
        return Origin(OTHER, program)
    return BY_HAND


def _is_within(network: str, other: str) -> bool:
    import ipaddress

    try:
        inner, outer = (ipaddress.ip_network(each, strict=False) for each in (network, other))
    except ValueError:  # "default", or an invalid value given to k3s
        return False
    return inner.version == outer.version and inner.subnet_of(outer)  # type: ignore[arg-type]


def _connmans(given: Route, device: object, gateway: object, known: Known) -> Origin | None:
    service = known.service(str(device))
    if service is None or given.table != MAIN:
        return None
    family = service.family(given.version)
    learned = FROM_DHCP if given.version == 4 else FROM_DHCPV6
    learned = learned if family.method in (DHCP, AUTO) else Origin(CONNMAN, "connman")
    if given.to in DEFAULTS:
        # besides those to a gateway it adds some without, of low priority: default_routes.py
        return learned if gateway in (family.gateway, "") else None
    host = given.to.partition("/")[0]
    if host and host in (family.gateway, "0.0.0.0"):
        return Origin(CONNMAN, "connman, the way to the router")
    if given.version == 6 and given.metric == "1" and "/" not in given.to:
        return Origin(CONNMAN, "connman, the way to a host")
    if host in service.servers:
        return Origin(CONNMAN, "connman, the way to a name server")
    return None


def rule(given: Rule, known: Known) -> Rule:
    """The same with its origin."""
    origin, asked = BY_HAND, known.rules.get(identity_of_rule(given))
    if asked and not given.others:
        origin = asked
    elif (
        given.priority in KERNELS_RULES[given.version]
        and not given.others
        and given.source == given.to == "all"
    ):
        origin = BY_KERNEL
    return replace(given, origin=origin)


def identity(given: Route) -> tuple[object, ...]:
    """What distinguishes routes, as in static_routes.route_identity."""
    first = given.hops[0] if given.hops else Hop("", "")
    where = (given.version, given.table, given.to, given.metric or METRIC[4])
    return (*where, first.device, first.gateway)


def identity_of_rule(given: Rule) -> tuple[object, ...]:
    return given.version, given.source, given.to, given.priority, given.table


def own_mac(link: Json) -> str:
    """The card's own MAC, if the interface has another one."""
    own = hardware_address(link)
    return own if own != link.get("address", "") else ""


def kind_of(link: Json) -> str:
    """In words for people."""
    if link["ifname"] == LOOPBACK:
        return "loopback"
    if link["ifname"].startswith(WIRELESS):
        return "wireless card"
    return kind(link) or "card"
