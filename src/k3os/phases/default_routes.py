"""Default routes: which interfaces have one, through which router, and which one is used.

Pure: from the output of ip(8) to commands of ip(8). connman 1.44 gives every connected service a
default route (with low priority, even without a gateway) and does not support metrics; it cannot be
configured otherwise. For IPv6 the kernel, too, adds one for a router advertisement, which a sysctl
prevents (`sysctls`): otherwise it would come back with each advertisement.
"""

from __future__ import annotations

from k3os.phases.fallback import is_used
from k3os.phases.ip_output import has_address, kind, link_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    Json: TypeAlias = "dict[str, Any]"
    # interface, gateway, metric (0: default)
    Way: TypeAlias = "tuple[str, str, int]"

DEFAULTS = ("default", "0.0.0.0/0", "::/0")
VERSIONS = (4, 6)
# the kernel's defaults: Documentation/networking/ip-sysctl.rst
USUAL_SYSCTLS = {"accept_ra_defrtr": "1", "ra_defrtr_metric": "1024"}


def sysctls(*, use_routes: bool, metric: int) -> dict[str, str]:
    """Settings in net/ipv6/conf/INTERFACE that differ from the kernel's defaults."""
    found = {} if use_routes else {"accept_ra_defrtr": "0"}
    return {**found, "ra_defrtr_metric": str(metric)} if metric else found


def chosen(entries: list[Json], links: list[Json], version: int) -> tuple[str, str]:
    """The interface and gateway of the configured default route; ("", "") if there is none, or if
    its interface has no address: then another route is better than none."""
    found = [
        (entry["metric"], link["ifname"], gateway)
        for entry in entries
        if (link := link_of(entry["device"], links)) and has_address(link, version)
        if (gateway := asked(entry, link, version))
    ]
    _, device, gateway = min(found, key=lambda each: each[0], default=(0, "", ""))
    return device, gateway


def asked(entry: Json, link: Json, version: int) -> str:
    """The gateway in the configuration, "" for none."""
    if version == 4 and entry["fallback_gateway"] and is_used(entry, link):
        return str(entry["fallback_gateway"])
    return next((each for each in entry["gateways"] if (":" in each) == (version == 6)), "")


def ways(entries: list[Json], links: list[Json], routes: list[Json], version: int) -> list[Way]:
    """The wanted default routes: those with a configured gateway, and those from DHCP or a router
    that have a metric. Metrics must differ: the second route gets another one, or is left out."""
    found: dict[int, Way] = {}
    for entry in entries:
        link = link_of(entry["device"], links)
        if link is None or not has_address(link, version):
            continue
        name, metric = link["ifname"], entry["metric"]
        gateway = asked(entry, link, version)
        if metric:
            gateway = gateway or _learned(name, metric, routes)
            while metric in found:
                metric += 1
        if gateway:
            found.setdefault(metric, (name, gateway, metric))
    return list(found.values())


def _learned(name: str, metric: int, routes: list[Json]) -> str:
    """The gateway that connman or the kernel learned from a network, "" for none. A newly learned
    route does not have our metric yet."""
    those = [each for each in _defaults(routes, name) if "gateway" in each]
    new = [each for each in those if each.get("metric", "0") != str(metric)]
    return str((new or those)[0]["gateway"]) if those else ""


def _defaults(routes: list[Json], name: str) -> list[Json]:
    return [each for each in routes if each["dst"] in DEFAULTS and each.get("dev", "") == name]


def decide_routes(
    entries: list[Json], links: list[Json], routes: list[Json], version: int
) -> list[list[str]]:
    """The commands that change the routes accordingly; none if they are right."""
    described = [(each, link) for each in entries if (link := link_of(each["device"], links))]
    ours = {link["ifname"] for link in links if kind(link) in ("", "vlan", "bond")}
    ours |= {link["ifname"] for _, link in described}  # and the ports of bridges
    bare = {link["ifname"] for each, link in described if version in each["static"]}
    wanted = ways(entries, links, routes, version)
    is_asked = bool(chosen(entries, links, version)[0])
    unwanted = _without(described, wanted, version)
    commands, there = [], set()
    for route in routes:
        name = route.get("dev", "")
        if route["dst"] == "0.0.0.0" and name in bare:  # connman's route to a gateway of 0.0.0.0
            commands.append(["ip", "route", "delete", "0.0.0.0/32", "dev", name])
        if route["dst"] not in DEFAULTS or name not in ours:
            continue
        way = next((each for each in wanted if _is(route, each, version)), None)
        if way and (way not in there or route.get("protocol") == "ra"):
            there.add(way)
            continue
        leads_nowhere = "gateway" not in route and name in bare
        # advertisements would restore theirs again and again; it has a worse metric than ours
        is_another = is_asked and route.get("protocol") != "ra"
        if leads_nowhere or is_another or name in unwanted or _is_stale(route, described):
            commands.append(_delete(route, version))
    added = [_replace(each, version) for each in wanted if each not in there]
    # those without a gateway first: the same command would later match the new route
    first = [words for words in commands if "via" not in words and "metric" not in words]
    return [*first, *added, *(words for words in commands if words not in first)]


def _without(described: list[tuple[Json, Json]], wanted: list[Way], version: int) -> set[str]:
    """The interfaces that must have no default route besides the wanted ones."""
    leading = {name for name, _, _ in wanted}
    found = set()
    for entry, link in described:
        name = link["ifname"]
        refused = not entry["use_routes"] and not asked(entry, link, version)
        # a route without a gateway may be all that an isolated network has
        is_gone = version == 4 and not has_address(link, version)
        has_own = entry["metric"] and (name in leading or is_gone)
        if refused or has_own:
            found.add(name)
    return found


def _is_stale(route: Json, described: list[tuple[Json, Json]]) -> bool:
    """Whether it is the route of a former fallback address, to a router that is out of reach."""
    return any(
        route.get("gateway", "") == entry["fallback_gateway"] != ""
        and route["dev"] == link["ifname"]
        and not is_used(entry, link)
        and not _is_reached(link, entry["fallback_gateway"])
        for entry, link in described
    )


def _is_reached(link: Json, gateway: str) -> bool:
    import ipaddress

    router = ipaddress.ip_address(gateway)
    return any(
        router in ipaddress.ip_interface(f"{each['local']}/{each['prefixlen']}").network
        for each in link.get("addr_info", [])
    )


def _is(route: Json, way: Way, version: int) -> bool:
    device, gateway, metric = way
    is_advertised = metric > 0 and route.get("protocol") == "ra"  # by any of several routers
    if route.get("dev", "") != device or (
        route.get("gateway", "") != gateway and not is_advertised
    ):
        return False
    if metric:
        return bool(route.get("metric", "") == str(metric))
    return version == 6 or "metric" not in route


def _replace(way: Way, version: int) -> list[str]:
    device, gateway, metric = way
    words = ["ip", f"-{version}", "route", "replace", "default", "via", gateway, "dev", device]
    return [*words, "metric", str(metric)] if metric else words


def _delete(route: Json, version: int) -> list[str]:
    words = ["ip", f"-{version}", "route", "delete", "default"]
    if "gateway" in route:
        words += ["via", route["gateway"]]
    words += ["dev", route["dev"]]
    return [*words, "metric", str(route["metric"])] if "metric" in route else words


def rank(entries: list[Json], link: Json) -> float:
    """Preference of an interface's default route; the lowest number wins."""
    for entry in entries:
        if link_of(entry["device"], [link]):
            return float("inf") if not entry["use_routes"] else float(entry["metric"])
    return 0.0
