"""The output of ip(8) with `-json`, for interfaces, routes and rules: parsed as untrusted data."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    Json: TypeAlias = "dict[str, Any]"


def routes_of(version: int) -> list[Json]:
    """The routes of an IP version's main table. Raises CommandError."""
    from k3os.system.run import run

    return routes_in(run(["ip", "-json", f"-{version}", "route", "show"], timeout=10))


def routes_in(output: bytes) -> list[Json]:
    """The routes that have a destination; all their values as text."""
    return [
        {name: str(value) for name, value in each.items()}
        for each in _objects(output)
        if isinstance(each.get("dst"), str) and isinstance(each.get("dev"), str)
    ]


def rules_in(output: bytes) -> list[Json]:
    """The rules that refer to a table; all their values as text."""
    return [
        {name: str(value) for name, value in each.items()}
        for each in _objects(output)
        if "table" in each and "priority" in each
    ]


def links_in(output: bytes) -> list[Json]:
    """The interfaces, each with a name and with those of its addresses that are complete."""
    found = []
    for each in _objects(output):
        if not isinstance(each.get("ifname"), str):
            continue
        flags, info = each.get("flags"), each.get("linkinfo")
        data = info.get("info_data") if isinstance(info, dict) else None
        number = data.get("id") if isinstance(data, dict) else None
        listed = each.get("addr_info")
        found.append(
            {
                **each,
                "flags": flags if isinstance(flags, list) else [],
                "linkinfo": {
                    "info_kind": str(info.get("info_kind", "")) if isinstance(info, dict) else "",
                    "info_data": {"id": number if type(number) is int else 0},
                },
                "addr_info": list(filter(_is_address, listed if isinstance(listed, list) else [])),
            }
        )
    return found


def _is_address(value: object) -> bool:
    from k3os.system.ip_text import is_address

    return (
        isinstance(value, dict)
        and isinstance(value.get("local"), str)
        and is_address(value["local"])
        and type(value.get("prefixlen")) is int
        and 0 <= value["prefixlen"] <= (128 if ":" in value["local"] else 32)
    )


def _objects(output: bytes) -> list[Json]:
    """ip(8) prints nothing for an empty result."""
    from k3os.system.json_text import objects

    try:
        return objects(output)
    except ValueError:
        return []


def addresses() -> list[Json]:
    """All interfaces with their addresses, as reported by ip(8)."""
    from k3os.system.run import run

    return links_in(run(["ip", "-json", "-details", "address", "show"], timeout=10))


def link_of(device: str, links: list[Json]) -> Json | None:
    """The interface with a name or MAC; for a MAC the hardware, not a VLAN on it."""
    for link in links:
        if device == link["ifname"]:
            return link
        if ":" in device and device == hardware_address(link) and not kind(link):
            return link
    return None


def hardware_address(link: Json) -> str:
    """A card's permanent MAC: in a bond it uses the bond's."""
    return str(link.get("permaddr") or link.get("address", ""))


def kind(link: Json) -> str:
    """ "vlan", "veth", "bridge" …; "" for hardware."""
    return str(link.get("linkinfo", {}).get("info_kind", ""))


def has_address(link: Json, version: int) -> bool:
    family = "inet" if version == 4 else "inet6"
    return any(
        each.get("family") == family and each.get("scope") == "global"
        for each in link.get("addr_info", [])
    )
