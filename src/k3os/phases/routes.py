"""Do what connman does not: set up the configured default route, and additional addresses. Runs in
the runtime phase and whenever an address changes.

`decide` is pure: from the output of ip(8) to commands of ip(8).
"""

from __future__ import annotations

import time

from k3os.phases.default_routes import VERSIONS, chosen, decide_routes, rank
from k3os.phases.fallback import decide_fallback
from k3os.phases.ip_output import addresses, has_address, kind, link_of, routes_of
from k3os.phases.network_plan import PLAN, have_static, is_awaited, plan_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, TypeAlias

    Json: TypeAlias = "dict[str, Any]"

POLL_SECONDS = 0.5
TRIES = 3
# for connman's own changes after its services were reordered
CONNMAN_SECONDS = 1.0


def set_routes(wait: float = 0, back: Sequence[str] = ()) -> tuple[list[str], list[str]]:
    """(what was done, what is missing: an interface or its address), both in words.

    wait: seconds for addresses to appear, and for a default route that DHCP may still provide.
    back: interfaces without an entry to wait for, too. Raises CommandError.
    """
    from k3os.system.run import CommandError

    entries = plan_at(PLAN)
    if entries is None:
        return [], []
    end = time.monotonic() + wait
    awaited = entries + [{"device": name, "static": [], "dhcp": True} for name in back]
    links, missing = _look(awaited)
    while time.monotonic() < end and (missing or coming(entries, links, _routes())):
        time.sleep(POLL_SECONDS)
        links, missing = _look(awaited)
    if order(entries, links):
        time.sleep(CONNMAN_SECONDS)
    done: list[str] = []
    for _ in range(TRIES):
        try:
            if _run(decide_fallbacks(entries, links), done):
                links, missing = _look(awaited)  # the routes need these addresses
            commands = decide(entries, links, _routes())
            waiting: list[str] = []
            if have_static(entries):
                from k3os.phases.static_routes import Present, decide_static

                more, waiting = decide_static(entries, links, Present.look(entries))
                commands += more
            _run(commands, done)
        except CommandError as error:
            failure = error  # connman made one of the changes first; look again
            links, missing = _look(awaited)
            continue
        return done, [*missing, *waiting]
    raise failure


def _run(commands: list[list[str]], done: list[str]) -> bool:
    """Run them; whether there were any. done: gets them, in words. Raises CommandError."""
    from k3os.system.run import run

    for words in commands:
        run(words, timeout=10)
        done.append(" ".join(words[2:]))
    return bool(commands)


def _routes() -> dict[int, list[Json]]:
    return {version: routes_of(version) for version in VERSIONS}


def _look(entries: list[Json]) -> tuple[list[Json], list[str]]:
    links = addresses()
    missing = []
    for entry in entries:
        link = link_of(entry["device"], links)
        if link is None and is_awaited(entry["device"]):
            missing.append(f"no interface fits {entry['name']}: {entry['match']}")
        elif link is None:
            missing.append(f"{entry['device']} is not there")
        elif not all(has_address(link, version) for version in wanted_versions(entry)):
            missing.append(f"{entry['device']} has no address yet")
    return links, missing


def wanted_versions(entry: Json) -> list[int]:
    """The IP versions of which an interface must have an address."""
    static: list[int] = entry["static"]
    return static or ([4] if entry["dhcp"] else [])


def coming(entries: list[Json], links: list[Json], routes: dict[int, list[Json]]) -> list[str]:
    """While there is no default route, the interfaces that may still get one by DHCP.

    Only those without an entry: connman considers the node online as soon as one interface has an
    address, which is at once if that is fixed.
    """
    leading = any("gateway" in route for listed in routes.values() for route in listed)
    if leading or not entries or any(entry["gateways"] for entry in entries):
        return []
    described = [link_of(entry["device"], links) for entry in entries]
    return [
        link["ifname"]
        for link in links
        if link.get("link_type") == "ether"
        and "LOWER_UP" in link.get("flags", [])
        and not (kind(link) or "master" in link or link in described or has_address(link, 4))
    ]


def decide_fallbacks(entries: list[Json], links: list[Json]) -> list[list[str]]:
    """The commands that add or remove fallback addresses."""
    those = ((entry, link_of(entry["device"], links)) for entry in entries if entry["fallback"])
    return [words for entry, link in those if link for words in decide_fallback(entry, link)]


def decide(
    entries: list[Json], links: list[Json], routes: dict[int, list[Json]]
) -> list[list[str]]:
    """The commands that set up addresses and routes; none if they are right."""
    commands = []
    for entry in entries:
        link = link_of(entry["device"], links)
        if link:
            commands += _decide_addresses(entry, link)
    for version in VERSIONS:
        commands += decide_routes(entries, links, routes[version], version)
    return commands


def _decide_addresses(entry: Json, link: Json) -> list[list[str]]:
    """The first fixed address is connman's, and the source address of the node. Further ones must
    come after it, also when it was removed and came back behind them."""
    present = {f"{each['local']}/{each['prefixlen']}": each for each in link.get("addr_info", [])}
    first = [each for each in entry["fixed"] if each not in entry["more"]]
    if not all(each in present for each in first):
        return []
    behind = [each for each in first if present[each].get("secondary")]
    commands = []
    for each in entry["more"]:
        words = [each, "dev", link["ifname"]]
        leads = each in present and any(_leads(present[each], present[other]) for other in behind)
        if leads:
            commands.append(["ip", "address", "delete", *words])
            # unless promote_secondaries is set, the kernel removes an address's secondaries with it
            kept = (other for other in behind if _leads(present[each], present[other]))
            replace = ["ip", "address", "replace"]
            commands += [[*replace, other, "brd", "+", "dev", link["ifname"]] for other in kept]
        if leads or each not in present:
            commands.append(["ip", "address", "add", *words])
    return commands


def _leads(one: Json, other: Json) -> bool:
    """Whether one is primary and other in the same network. ip(8): "secondary"."""
    import ipaddress

    networks = [
        ipaddress.ip_interface(f"{e['local']}/{e['prefixlen']}").network for e in (one, other)
    ]
    return networks[0] == networks[1] and not one.get("secondary")


def order(entries: list[Json], links: list[Json]) -> bool:
    """Make the chosen interface's service connman's first, whose name servers are used and whose
    default route has no metric: that of the IPv4 gateway, else of the IPv6 gateway, or else a
    service that no entry ranks behind the others.

    Returns whether something was changed. Raises CommandError.
    """
    from k3os.system.run import run

    device = chosen(entries, links, 4)[0] or chosen(entries, links, 6)[0]
    is_ranked = any(each["metric"] or not each["use_routes"] for each in entries)
    if not device and not is_ranked:
        return False
    names = services()
    wanted = service_of(link, names) if (link := link_of(device, links)) else ""
    first = names[0] if names else ""
    if not device:
        first, wanted = _best(entries, links, names)
    if not wanted or first == wanted:
        return False
    run(["connmanctl", "move-before", wanted, first], timeout=10)
    return True


def _best(entries: list[Json], links: list[Json], names: list[str]) -> tuple[str, str]:
    """The first of connman's services whose interface has an address, and the one that should be
    first; ("", "") if there is none."""
    ranks = {
        service: rank(entries, link)
        for link in links
        if any(has_address(link, version) for version in VERSIONS)
        if (service := service_of(link, names))
    }
    listed = [each for each in names if each in ranks]
    return (listed[0], min(listed, key=ranks.__getitem__)) if listed else ("", "")


def services() -> list[str]:
    """The names of connman's services, in the order of its preference."""
    from k3os.system.run import run

    listed = run(["connmanctl", "services"], timeout=10).decode(errors="replace").splitlines()
    return [line.split()[-1] for line in listed if line.split()]


def service_name(link: Json) -> str:
    """connman's name for a wired interface's service."""
    digits = str(link.get("address", "")).replace(":", "")
    number = link.get("linkinfo", {}).get("info_data", {}).get("id")
    return f"ethernet_{digits}_{number:03x}_cable" if number else f"ethernet_{digits}_cable"


def service_of(link: Json, names: list[str]) -> str:
    """The name of an interface's service, "" for none: a wireless card's also contains the
    network."""
    wired = service_name(link)
    if wired in names:
        return wired
    wireless = f"wifi_{str(link.get('address', '')).replace(':', '')}_"
    return next((each for each in names if each.startswith(wireless)), "")
