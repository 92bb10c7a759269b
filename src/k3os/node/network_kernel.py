"""Interfaces, addresses, routes and rules in the kernel, by ip(8): all of them, in every table,
without duplicates.

ip_output.py parses what other modules need, too; this adds what only this command needs: routes
without an interface or over several, the state of a bond and its members.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from k3os.node.network_report import Hop, Route, Rule
from k3os.phases.ip_output import links_in
from k3os.system.json_text import map_in, maps, objects

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    Json: TypeAlias = "dict[str, Any]"

VERSIONS = (4, 6)
# ip-route(8), with -N: /usr/include/linux/rtnetlink.h, RTN_*, RT_TABLE_*, RTPROT_*
KINDS = dict(
    zip(
        "23456789",
        "local broadcast anycast multicast blackhole unreachable prohibit throw".split(),
        strict=True,
    )
)
MAIN, LOCAL = "254", "255"
TABLES = {MAIN: "main", LOCAL: "local", "253": "default"}
# of a rule: words that are shown unchanged
PLAIN = ("iif", "oif", "fwmark", "fwmask", "ipproto", "sport", "dport", "tos", "uidrange")
WITHOUT_TABLE = ("action", "goto", "nop")


@dataclass(frozen=True)
class Kernel:
    """links: from ip_output.links_in; details: name -> its state, in words."""

    links: tuple[Json, ...] = ()
    routes: tuple[Route, ...] = ()
    rules: tuple[Rule, ...] = ()
    details: dict[str, str] = field(default_factory=dict)


def look() -> Kernel:
    """Raises CommandError if ip(8) cannot even list the interfaces."""
    from contextlib import suppress

    from k3os.system.run import CommandError, run

    shown = run(["ip", "-json", "-details", "address", "show"], timeout=10)
    routes: list[Route] = []
    rules: list[Rule] = []
    for version in VERSIONS:
        words = ["ip", "-json", "-N", f"-{version}"]
        with suppress(CommandError):  # a kernel without IPv6
            routes += routes_in(run([*words, "route", "show", "table", "all"], timeout=10), version)
            rules += rules_in(run([*words, "rule", "show"], timeout=10), version)
    return Kernel(tuple(links_in(shown)), tuple(routes), tuple(rules), details_in(shown))


def routes_in(output: bytes, version: int) -> list[Route]:
    return [
        Route(
            version,
            each["dst"],
            _hops(each),
            KINDS.get(str(each.get("type", "")), ""),
            _text(each, "metric"),
            _text(each, "table") or MAIN,
            _text(each, "protocol"),
            _text(each, "prefsrc"),
            bool({"dead", "linkdown"} & set(map(str, _listed(each, "flags")))),
        )
        for each in _objects(output)
        if isinstance(each.get("dst"), str)
    ]


def _hops(route: Json) -> tuple[Hop, ...]:
    several = maps(route.get("nexthops"))
    found = [Hop(_gateway(each), _text(each, "dev")) for each in several or [route]]
    return tuple(each for each in found if each.gateway or each.device)


def _gateway(hop: Json) -> str:
    via = hop.get("via")  # of another IP version
    return _text(via, "host") if isinstance(via, dict) else _text(hop, "gateway")


def rules_in(output: bytes, version: int) -> list[Rule]:
    return [
        Rule(
            version,
            _text(each, "priority"),
            _side(each, "src"),
            _side(each, "dst"),
            _text(each, "table"),
            _others(each),
        )
        for each in _objects(output)
        if "priority" in each
    ]


def _side(rule: Json, name: str) -> str:
    length = _text(rule, f"{name}len")
    text = _text(rule, name) or "all"
    return f"{text}/{length}" if length else text


def _others(rule: Json) -> str:
    words = ["not"] if "not" in rule else []
    for name in (*PLAIN, *(WITHOUT_TABLE if "table" not in rule else ())):
        if name in rule:
            words += [name, _text(rule, name)]
    return " ".join(word for word in words if word)


def details_in(output: bytes) -> dict[str, str]:
    """Of bonds, their members, and VLANs: in words for people."""
    found = {}
    for each in _objects(output):
        info = map_in(each, "linkinfo")
        data, of_member = (map_in(info, name) for name in ("info_data", "info_slave_data"))
        words = []
        if info.get("info_kind") == "bond":
            active = _text(data, "active_slave")
            words = [_text(data, "mode"), f"{active} is active" if active else ""]
        elif info.get("info_kind") == "vlan":
            words = [f"{_text(data, 'id')} on {_text(each, 'link')}"]
        if info.get("info_slave_kind") == "bond":
            link = _text(of_member, "mii_status").lower()
            words += [_text(of_member, "state").lower(), f"link {link}" if link else ""]
        elif info.get("info_slave_kind") == "bridge":
            words += [_text(of_member, "state")]
        if said := ", ".join(word for word in words if word):
            found[_text(each, "ifname")] = said
    return found


def _listed(value: Json, name: str) -> list[object]:
    inner = value.get(name)
    return inner if isinstance(inner, list) else []


def _text(value: Json, name: str) -> str:
    found = value.get(name)
    return "" if found is None or isinstance(found, (dict, list)) else str(found)


def _objects(output: bytes) -> list[Json]:
    """ip(8) prints nothing if there is nothing."""
    try:
        return objects(output)
    except ValueError:
        return []
