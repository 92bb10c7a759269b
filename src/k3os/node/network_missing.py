"""What k3os.network asks for and the kernel does not have: interfaces, members, addresses, routes.
Each with the reason, as far as it is visible, and what to do.

Pure. Anything else that connman or the kernel has is ignored here.
"""

from __future__ import annotations

from k3os.node.network_origin import LOOPBACK, address_text, identity, identity_of_rule
from k3os.phases.connman_services import DHCP
from k3os.phases.default_routes import DEFAULTS, VERSIONS
from k3os.phases.fallback import is_used, leased
from k3os.phases.ip_output import kind, link_of
from k3os.phases.network_plan import LINKS_UNIT, is_awaited
from k3os.phases.static_routes import MAIN, obstacle, route_identity, rule_identity
from k3os.system.interfaces import DUMMY, NOT_OURS
from k3os.system.numbers import whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, TypeAlias

    from k3os.node.network_cards import Hardware
    from k3os.node.network_kernel import Kernel
    from k3os.node.network_origin import Known
    from k3os.node.network_report import Missing
    from k3os.node.network_wanted import Wanted

    Json: TypeAlias = "dict[str, Any]"

AGAIN = "`journalctl -b -u k3os-config -u k3os-network -u connman` says what happened"
CABLE = "look at the cable, and at the port of the switch"
LINKS = f"`journalctl -b -u {LINKS_UNIT}` says why"
IS_DOWN = "somebody took it down; `sudo ip link set {} up`"


def missing(
    wanted: Iterable[Wanted], kernel: Kernel, known: Known, hardware: Hardware
) -> tuple[Missing, ...]:
    found: list[Missing] = []
    links = list(kernel.links)
    described = {name for name, each in known.by_device.items()} | {*known.parts}
    for each in wanted:
        found += _members(each, links, described)
        link = link_of(each.device, links)
        if link is None:
            # a missing member is already reported
            found += [] if each.owner else [_no_interface(each, links, described, hardware)]
            continue
        found += _wake(each, hardware)
        why, hint = _why(each, link, known)
        found += _addresses(each, link, why, hint)
        found += _sizes(each, link, links)
        found += _ways(each, link, kernel, why, hint)
    return tuple(dict.fromkeys([*found, *_rules(wanted, kernel)]))


def notes(kernel: Kernel, known: Known) -> tuple[str, ...]:
    """Problems outside of the configuration that explain a missing network: cards without an entry
    use DHCP, and each one with a carrier should have an address."""
    said = []
    own = [each for each in kernel.links if each["ifname"] not in known.plugins | {LOOPBACK}]
    if not any(_is_global(given, *VERSIONS) for each in own for given in each["addr_info"]):
        said.append("no interface has an address that others could reach")
    for link in own:
        name, service = link["ifname"], known.service(link["ifname"])
        if service is None or service.is_connected or name in known.by_device or "master" in link:
            continue
        if "LOWER_UP" in link["flags"] and service.ipv4.wanted == DHCP and not service.is_given:
            said.append(
                f"{name} has no entry and uses DHCP, and no server has answered: connman's state "
                f"is {service.state}; is it the right network? `journalctl -b -u connman`"
            )
    return tuple(said)


def _no_interface(
    each: Wanted, links: list[Json], described: set[str], hardware: Hardware
) -> Missing:
    name = each.device
    if is_awaited(name):
        spare = [card for card in hardware.cards.values() if card.name not in described]
        shown = [
            f"{card.name} ({', '.join(filter(None, (card.mac, card.driver, card.path)))})"
            for card in spare
        ]
        hint = f"without an entry are: {', '.join(shown)}" if shown else "`sudo dmesg` says more"
        return each.missing(f"no interface fits {each.entry['match']}", hint, "match")
    if each.made and (name == each.made or each.entry["made"]["port"] == name):
        return each.missing(f"{name} has not been made", LINKS)
    below = each.entry["below"]
    if below:
        if link_of(below, links) is None:
            return each.missing(f"{name} is not there, for {below} below it is not")
        return each.missing(f"the VLAN {name} is not there", AGAIN)
    what = f"no interface has the MAC {name}" if ":" in name else f"there is no interface {name}"
    return each.missing(what, _spare(links, described))


def _spare(links: list[Json], described: set[str]) -> str:
    """The cards that may be meant."""
    spare = [
        f"{link['ifname']} ({link.get('address', '')})"
        for link in links
        if link.get("link_type") == "ether"
        and not link["ifname"].startswith(NOT_OURS)
        and kind(link) in ("", "veth")
        and link["ifname"] not in described
    ]
    return f"without an entry are: {', '.join(spare)}" if spare else "`sudo dmesg` says which are"


def _wake(each: Wanted, hardware: Hardware) -> list[Missing]:
    asked = each.entry["wake"]
    card = next((c for c in hardware.cards.values() if each.below in (c.name, c.mac)), None)
    now = hardware.wake.get(card.name, asked) if card else asked
    if not card or not asked or asked in now:
        return []
    if not now:
        what = f"{card.name} cannot wake the machine: its driver, {card.driver}, knows no way"
        return [each.missing(what, "remove it" if asked == "g" else "", "wake_on_lan")]
    what = f"{card.name} wakes the machine by `{now}`, not `{asked}` (ethtool's letters)"
    hint = f"`ethtool {card.name}` says what it supports; the firmware may forbid it"
    return [each.missing(what, hint, "wake_on_lan")]


def _members(each: Wanted, links: list[Json], described: set[str]) -> list[Missing]:
    found: list[Missing] = []
    if not each.made:
        return found
    is_made = link_of(each.made, links) is not None
    for name in each.entry["made"]["members"]:
        link = link_of(name, links)
        if link is None:
            what = f"the member {name} of {each.made} is not there"
            hint = _spare(links, described)
            found.append(each.missing(what, hint, "interfaces", name))
        elif is_made and link.get("master") != each.made:
            where = f", but in {link['master']}" if "master" in link else ""
            what = f"{link['ifname']} is not a member of {each.made}{where}"
            found.append(each.missing(what, LINKS, "interfaces", name))
    return found


def _why(each: Wanted, link: Json, known: Known) -> tuple[str, str]:
    """Why an interface may have no address, and what to do."""
    name, flags = link["ifname"], link["flags"]
    if "UP" not in flags:
        return "it is down", IS_DOWN.format(name)
    if "LOWER_UP" not in flags or "NO-CARRIER" in flags:
        return "it has no carrier", CABLE
    if each.made and each.entry["made"]["kind"] == DUMMY:
        return "", LINKS
    if known.services is None:
        return "connman does not answer", "`systemctl status connman`"
    service = known.service(name)
    if service is None:
        return "connman does not know it", AGAIN
    if not service.is_connected:
        return f"connman's state is {service.state}", AGAIN
    return "", AGAIN


def _addresses(each: Wanted, link: Json, why: str, hint: str) -> list[Missing]:
    name = link["ifname"]
    reason = f": {why}" if why else ""
    present = {address_text(given) for given in link["addr_info"]}
    found = [
        each.missing(f"{name} has no address {text}{reason}", hint, "address", text)
        for text in each.entry["fixed"]
        if text not in present
    ]
    refused = [given for given in link["addr_info"] if given.get("dadfailed")]
    found += [
        each.missing(
            f"{name} may not use {text}: another machine on its network has it",
            "give one of the two another address",
            "address",
            text,
        )
        for text in map(address_text, refused)
        if text in each.entry["fixed"]
    ]
    if each.entry["dhcp"] and not each.owner and not leased(each.entry, link):
        why = why or "no DHCP server has answered"
        what = f"{name} is to use DHCP, and has no IPv4 address from it: {why}"
        what += "; it has its fallback_address" if is_used(each.entry, link) else ""
        found.append(each.missing(what, hint, "address", "dhcp"))
    return found


def _is_global(given: Json, *versions: int) -> bool:
    families = ["inet6" if version == 6 else "inet" for version in versions]
    return given.get("scope") == "global" and given.get("family") in families


def _sizes(each: Wanted, link: Json, links: list[Json]) -> list[Missing]:
    made = each.entry["made"]
    sized = [(link, each.entry["mtu"])]
    if made and (own := link_of(each.made, links)):
        sized.append((own, made["mtu"]))
    return [
        each.missing(
            f"{given['ifname']} has the MTU {given.get('mtu')}, not {size}",
            "it may be more than the driver takes: `ip -d link` says maxmtu",
            "mtu",
        )
        for given, size in sized
        if size and given.get("mtu") != size
    ]


def _ways(each: Wanted, link: Json, kernel: Kernel, why: str, hint: str) -> list[Missing]:
    """The gateways and routes of an entry."""
    name = link["ifname"]
    found = []
    reason = f": {why}" if why else ""
    for gateway in each.entry["gateways"]:
        leads = any(
            given.to in DEFAULTS
            and given.table == MAIN
            and any(hop.gateway == gateway and hop.device == name for hop in given.hops)
            for given in kernel.routes
        )
        if not leads:
            what = f"there is no default route via {gateway} on {name}{reason}"
            found.append(each.missing(what, hint, "gateway", gateway))
    found += _unwanted_ways(each, name, kernel)
    present = {identity(given) for given in kernel.routes}
    for number, asked in enumerate(each.entry["routes"]):
        if route_identity(asked, name) in present:
            continue
        via = f" via {asked['via']}" if asked["via"] else ""
        table = f" in table {asked['table']}" if asked["table"] != MAIN else ""
        because = why or obstacle(asked, link)
        reason = f": {because}" if because else ""
        what = f"{name} has no route to {asked['to']}{via}{table}{reason}"
        found.append(each.missing(what, hint, "routes", str(number)))
    return found


def _unwanted_ways(each: Wanted, name: str, kernel: Kernel) -> list[Missing]:
    """Default routes that an entry refuses, or wants with another metric."""
    entry = each.entry
    found = []
    for given in kernel.routes:
        if given.to not in DEFAULTS or given.table != MAIN or given.devices != (name,):
            continue
        gateway = given.hops[0].gateway
        if not entry["use_routes"] and gateway not in entry["gateways"]:
            what = f"{name} has a default route all the same: via {gateway or 'nobody'}"
            found.append(each.missing(what, AGAIN, "use_routes"))
        elif entry["metric"] and (whole(given.metric or "0") or 0) < entry["metric"]:
            what = f"{name} has a default route of the metric {given.metric or 0}"
            found.append(each.missing(what, AGAIN, "route_metric"))
    return found


def _rules(wanted: Iterable[Wanted], kernel: Kernel) -> list[Missing]:
    present = {identity_of_rule(given) for given in kernel.rules if not given.others}
    found = []
    for each in wanted:
        for number, asked in enumerate(each.entry["rules"]):
            if asked["version"] in VERSIONS and rule_identity(asked) not in present:
                what = f"there is no rule {words(asked)}"
                found.append(each.missing(what, AGAIN, "rules", str(number)))
    return found


def words(rule: Json) -> str:
    sides = [f"{name} {rule[name]}" for name in ("from", "to") if rule[name] != "all"]
    return f"{' '.join(sides)} table {rule['table']}"
