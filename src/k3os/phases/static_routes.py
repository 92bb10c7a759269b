"""Static routes and rules of k3os.network: from the output of ip(8) to commands of ip(8).

The kernel drops an interface's routes when it goes down or loses its address, so they are set again
together with the others (routes.py). Rules belong to no interface and stay until they are removed.
"""

from __future__ import annotations

import ipaddress

from k3os.phases.ip_output import link_of, routes_in, rules_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    from k3os.config.network import Interface

    Json: TypeAlias = "dict[str, Any]"

MAIN = "254"
# the default metric: ip-route(8)
METRIC = {4: "0", 6: "1024"}


def planned(interface: Interface) -> dict[str, list[Json]]:
    """`routes` and `rules` for an entry of PLAN; all values except `version` are texts."""
    return {
        "routes": [
            {
                "version": each.version,
                "to": each.to,
                "via": each.via,
                "metric": str(each.metric) if each.metric else METRIC[each.version],
                "table": str(each.table),
            }
            for each in interface.routes
        ],
        "rules": [
            {
                "version": each.version,
                "from": each.source or "all",
                "to": each.to or "all",
                "priority": str(each.priority),
                "table": str(each.table),
            }
            for each in interface.rules
        ],
    }


class Present:
    """The kernel's routes in all tables, and its rules."""

    __slots__ = ("routes", "rules")

    def __init__(self, routes: dict[int, list[Json]], rules: dict[int, list[Json]]) -> None:
        self.routes = {
            (
                *(version, each.get("table", MAIN), each["dst"], each.get("metric", "0")),
                *(each["dev"], each.get("gateway", "")),
            )
            for version, listed in routes.items()
            for each in listed
        }
        self.rules = {
            (version, _side(each, "src"), _side(each, "dst"), each["priority"], each["table"])
            for version, listed in rules.items()
            for each in listed
        }

    @classmethod
    def look(cls, entries: list[Json]) -> Present:
        """Only for IP versions that entries have routes or rules of: a kernel may lack one of them.
        Raises CommandError."""
        from k3os.system.run import run

        def show(version: int, *words: str) -> bytes:
            return run(["ip", "-json", "-N", f"-{version}", *words], timeout=10)

        versions = {
            each["version"] for entry in entries for each in (*entry["routes"], *entry["rules"])
        }
        return cls(
            {each: routes_in(show(each, "route", "show", "table", "all")) for each in versions},
            {each: rules_in(show(each, "rule", "show")) for each in versions},
        )


def _side(rule: Json, name: str) -> str:
    """`all`, an address, or a network, in the form of ip-rule(8)."""
    length = rule.get(f"{name}len")
    return f"{rule.get(name, 'all')}/{length}" if length else rule.get(name, "all")


def decide_static(
    entries: list[Json], links: list[Json], present: Present
) -> tuple[list[list[str]], list[str]]:
    """The commands that set up routes and rules, and, in words, what is not possible yet."""
    commands = [
        ["ip", f"-{each['version']}", "rule", "add", *_words_of_rule(each)]
        for key, each in _rules(entries).items()
        if key not in present.rules
    ]
    missing: list[str] = []
    for entry in entries:
        link = link_of(entry["device"], links)
        if link is None:
            continue
        for each in entry["routes"]:
            if route_identity(each, link["ifname"]) in present.routes:
                continue
            if why := obstacle(each, link):
                missing.append(f"the route to {each['to']} waits: {why}")
                continue
            words = ["ip", f"-{each['version']}", "route", "replace", each["to"]]
            words += ["via", each["via"]] if each["via"] else []
            words += ["dev", link["ifname"], "metric", each["metric"], "table", each["table"]]
            commands.append([*words, "proto", "static"])
    return commands, missing


def undo_static(
    former: list[Json], entries: list[Json], links: list[Json], present: Present
) -> list[list[str]]:
    """The commands that remove what former has and entries do not ask for."""
    routes = {
        route_identity(each, entry["device"]) for entry in entries for each in entry["routes"]
    }
    commands = [
        ["ip", f"-{each['version']}", "rule", "delete", *_words_of_rule(each)]
        for key, each in _rules(former).items()
        if key in present.rules and key not in _rules(entries)
    ]
    for entry in former:
        link = link_of(entry["device"], links)
        if link is None:
            continue
        for each in entry["routes"]:
            kept = route_identity(each, entry["device"]) in routes
            if not kept and route_identity(each, link["ifname"]) in present.routes:
                words = ["ip", f"-{each['version']}", "route", "delete", each["to"]]
                words += ["dev", link["ifname"], "metric", each["metric"], "table", each["table"]]
                commands.append(words)
    return commands


def route_identity(route: Json, device: str) -> tuple[object, ...]:
    """The same tuple as in Present."""
    where = (route["version"], route["table"], route["to"], route["metric"])
    return (*where, device, route["via"])


def _rules(entries: list[Json]) -> dict[tuple[object, ...], Json]:
    """Without duplicates: two entries may have the same rule."""
    return {rule_identity(each): each for entry in entries for each in entry["rules"]}


def rule_identity(rule: Json) -> tuple[object, ...]:
    return tuple(rule[name] for name in ("version", "from", "to", "priority", "table"))


def _words_of_rule(rule: Json) -> list[str]:
    words = ["from", rule["from"], "to", rule["to"]]
    return [*words, "table", rule["table"], "priority", rule["priority"]]


def obstacle(route: Json, link: Json) -> str:
    """Why the kernel would reject a route now, "" if it would not."""
    family = "inet" if route["version"] == 4 else "inet6"
    networks = [
        ipaddress.ip_network(f"{each['local']}/{each['prefixlen']}", strict=False)
        for each in link.get("addr_info", [])
        if each.get("family") == family
    ]
    if "UP" not in link.get("flags", []) or not networks:
        return f"{link['ifname']} has no IPv{route['version']} address yet"
    if route["via"] and not any(ipaddress.ip_address(route["via"]) in each for each in networks):
        return f"{route['via']} is in no network of {link['ifname']}"
    return ""
