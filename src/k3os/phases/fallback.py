"""The address of an interface whose DHCP server does not answer (`fallback_address`).

Pure: from what ip(8) says to commands of ip(8). connman 1.44 asks for about 35 s, makes up an
address of 169.254.0.0/16 (RFC 3927) then, and asks again each minute. The made up one is the sign:
it brings news of an address, as the server's answer does, which takes the fallback away.
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
    """As the configuration has it."""
    return f"{given['local']}/{given['prefixlen']}"


def leased(entry: Json, link: Json) -> list[Json]:
    """The addresses that DHCP brought."""
    others = {entry["fallback"], *entry["fixed"]}
    return [
        each
        for each in _ipv4(link)
        if text(each) not in others and not each["local"].startswith(MADE_UP)
    ]


def is_used(entry: Json, link: Json) -> bool:
    """Whether the fallback is what the interface has in the place of a lease."""
    there = {text(each) for each in _ipv4(link)}
    return entry["fallback"] in there and not leased(entry, link)


def decide_fallback(entry: Json, link: Json) -> list[list[str]]:
    """The commands that give or take it; none when it is right as it is."""
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
    # the kernel would take the lease's address, of the same network, and its routes with it
    setting = f"net/ipv4/conf/{link['ifname']}/promote_secondaries=1"
    return [["sysctl", "-e", "-q", "-w", setting], delete]
