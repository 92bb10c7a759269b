"""The address of an interface whose DHCP server does not answer (`fallback_address`).

Pure: from the output of ip(8) to commands of ip(8). connman 1.44 asks for about 35 s, then assigns
an address of 169.254.0.0/16 (RFC 3927), and asks again each minute. That address is the trigger: it
causes an address event, as does the server's answer, upon which the fallback is removed.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    Json: TypeAlias = "dict[str, Any]"

MADE_UP = "169.254."


def _ipv4(link: Json) -> list[Json]:
    return [
        each
        for each in link.get("addr_info", [])
        if each.get("family") == "inet" and each.get("scope") == "global"
    ]


def text(given: Json) -> str:
    """In the form of the configuration."""
    return f"{given['local']}/{given['prefixlen']}"


def leased(entry: Json, link: Json) -> list[Json]:
    """The addresses from DHCP."""
    others = {entry["fallback"], *entry["fixed"]}
    return [
        each
        for each in _ipv4(link)
        if text(each) not in others and not each["local"].startswith(MADE_UP)
    ]


def is_used(entry: Json, link: Json) -> bool:
    """Whether the interface uses the fallback instead of a lease."""
    there = {text(each) for each in _ipv4(link)}
    return entry["fallback"] in there and not leased(entry, link)


def decide_fallback(entry: Json, link: Json) -> list[list[str]]:
    """The commands that add or remove the fallback; none if it is right."""
    given, there = entry["fallback"], _ipv4(link)
    if not given:
        return []
    dev = ["dev", link["ifname"]]
    own = next((each for each in there if text(each) == given), None)
    if own is None:
        has_given_up = any(each["local"].startswith(MADE_UP) for each in there)
        if has_given_up and not leased(entry, link):
            return [["ip", "address", "add", given, "brd", "+", *dev]]
        return []
    if not leased(entry, link):
        return []
    delete = ["ip", "address", "delete", given, *dev]
    if own.get("secondary") or not any(each.get("secondary") for each in there):
        return [delete]
    # otherwise the kernel would also remove the lease's address in the same network, and its routes
    setting = f"net/ipv4/conf/{link['ifname']}/promote_secondaries=1"
    return [["sysctl", "-e", "-q", "-w", setting], delete]
