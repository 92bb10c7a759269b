"""What k3os.network says about routes and addresses, stored for routes.py and replug.py."""

from __future__ import annotations

from k3os.system.interfaces import KINDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    from k3os.phases.node import Node

    Json: TypeAlias = "dict[str, Any]"

PLAN = "/run/k3os/network.json"
# exists if there is work for k3os.phases.links: it is the unit's condition, so that other nodes do
# not start it
LINKS, LINKS_UNIT = "/run/k3os/network-links", "k3os-links.service"
CONNMAN = "/var/lib/connman"
# followed by the interface's name; earlier versions had one file for all, without a name
FILE = "k3os-network"
SUFFIX = ".config"
USUAL_MTU = 1500
# prefix for an entry whose `match` fits nothing: names of interfaces contain no slash
AWAITED = "match/"
# the defaults of an entry of PLAN
ENTRY: Json = {"gateways": [], "static": [], "dhcp": False, "fixed": [], "more": [], "below": ""}
ENTRY |= {"device": None, "name": "", "mtu": 0, "routes": [], "rules": [], "made": {}}
# what an interface accepts from its network, and its fallback: k3os.config.learned
LEARNED: Json = {"use_dns": True, "use_routes": True, "metric": 0}
LEARNED |= {"nameservers": [], "domains": [], "fallback": "", "fallback_gateway": ""}
ENTRY |= LEARNED
ENTRY |= {"wake": "", "match": ""}
TEXTS = ("device", "name", "below", "wake", "match")
# fields of `made` for k3os.phases.links: texts, lists of texts
MADE_TEXTS = ("kind", "name", "primary", "port")
MADE_LISTS = ("words", "members")
# fields of each route and rule (k3os.phases.static_routes), all texts
STATIC = {
    "routes": ("to", "via", "metric", "table"),
    "rules": ("from", "to", "priority", "table"),
}


def plan_at(path: str) -> list[Json] | None:
    """The entries in the file, None if it does not exist. Raises OSError."""
    try:
        with open(path, "rb") as file:
            return entries_in(file.read())
    except FileNotFoundError:
        return None


def former_plan(node: Node) -> list[Json]:
    """The current entries of PLAN."""
    return entries_in(node.read(PLAN).encode(errors="surrogateescape"))


def entries_in(data: bytes) -> list[Json]:
    """The entries of PLAN; malformed ones are left out."""
    from k3os.system.json_text import objects

    try:
        entries = [{**ENTRY, **each} for each in objects(data)]
    except ValueError:
        return []
    return [
        each
        for each in entries
        if all(isinstance(each[name], str) for name in TEXTS)
        and type(each["mtu"]) is int
        and all(_are_texts(each[name]) for name in ("gateways", "fixed", "more"))
        and isinstance(each["static"], list)
        and set(map(str, each["static"])) <= {"4", "6"}
        and all(_are_static(each[name], fields) for name, fields in STATIC.items())
        and (each["made"] == {} or _is_made(each["made"]))
        and _is_learned(each)
    ]


def is_awaited(device: str) -> bool:
    return device.startswith(AWAITED)


def file_of(device: str) -> str:
    """connman's file for an interface."""
    return f"{CONNMAN}/{FILE}-{device}{SUFFIX}"


def have_static(entries: list[Json]) -> bool:
    """Whether any entry has routes or rules."""
    return any(entry[name] for entry in entries for name in STATIC)


def _are_static(value: object, fields: tuple[str, ...]) -> bool:
    return isinstance(value, list) and all(
        isinstance(each, dict)
        and each.get("version") in (4, 6)
        and all(isinstance(each.get(name), str) for name in fields)
        for each in value
    )


def _is_made(value: object) -> bool:
    return (
        isinstance(value, dict)
        and value.get("kind") in KINDS
        and type(value.get("mtu")) is int
        and all(isinstance(value.get(name), str) for name in MADE_TEXTS)
        and all(_are_texts(value.get(name)) for name in MADE_LISTS)
    )


def _is_learned(entry: Json) -> bool:
    from k3os.system.ip_text import is_address

    router = entry["fallback_gateway"]
    return (
        all(type(entry[name]) is bool for name in ("use_dns", "use_routes"))
        and type(entry["metric"]) is int
        and entry["metric"] >= 0
        and all(_are_texts(entry[name]) for name in ("nameservers", "domains"))
        and isinstance(entry["fallback"], str)
        and isinstance(router, str)
        and (router == "" or is_address(router))
    )


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def dumped(entries: list[Json]) -> bytes:
    import json

    return json.dumps(entries, indent=1).encode() + b"\n"
