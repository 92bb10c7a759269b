"""IP addresses in k3os.network, and interface names.

Notation: RFC 4632 (`address/prefix`), RFC 4291; names as the kernel accepts them (dev_valid_name).
"""

from __future__ import annotations

import ipaddress

from k3os.config.kinds import Check, items_of
from k3os.config.scalars import scalar_text
from k3os.config.value import Node, Value, Wrong

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from k3os.config.key import Key
    from k3os.config.value import Place

DHCP, OFF = "dhcp", "off"
LONGEST_NAME = 15  # IFNAMSIZ without the NUL


def addresses(check: Check, key: Key, node: Node, path: str) -> Value:
    """`192.168.1.10/24`, `dhcp` or `off`; one wrong address makes the whole entry wrong."""

    def one(item: Node) -> str:
        word = scalar_text(item, "an address").strip()
        if word.lower() in (DHCP, OFF):
            return word.lower()
        try:
            address = ipaddress.ip_interface(_with_a_zone_that_is_one(word))
        except ValueError:
            hint = "write e.g. `192.168.1.10/24`, or `dhcp`"
            raise Wrong(item.place, f"`{word}` is not an address", hint) from None
        if "/" not in word:
            hint = f"write e.g. `{word}/{24 if address.version == 4 else 64}`"
            raise Wrong(item.place, f"`{word}` has no prefix length", hint)
        check_host(address, item.place)
        return str(address)

    return all_of(node, one)


def check_host(address: ipaddress.IPv4Interface | ipaddress.IPv6Interface, place: Place) -> None:
    """Raises Wrong if it cannot be the address of one host."""
    network = address.network
    if (what := _no_host(address.ip)) or "%" in str(address):
        what = what or "with a zone"
        raise Wrong(place, f"{address.ip} is {what}", "write an address of this interface")
    if address.version == 4 and network.prefixlen < 31:
        for reserved, what in (
            (network.network_address, "the network itself"),
            (network.broadcast_address, "the broadcast address"),
        ):
            if address.ip == reserved:
                hint = "take another address of the network"
                raise Wrong(place, f"{address.ip} is {what} of {network}", hint)


def _no_host(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """Why an address cannot be one host's in a network, "" if it can."""
    if address.is_unspecified:
        return "not a host's address"
    if address.is_multicast:
        return "a multicast address"
    return "this machine itself" if address.is_loopback else ""


def hosts(check: Check, key: Key, node: Node, path: str) -> Value:
    """IP addresses without a prefix length."""

    def one(item: Node) -> str:
        word = scalar_text(item, "an IP address").strip()
        hint = "write e.g. `192.168.1.1`"
        try:
            address = ipaddress.ip_address(_with_a_zone_that_is_one(word))
        except ValueError:
            raise Wrong(item.place, f"`{word}` is not an IP address", hint) from None
        # a name server may run on this node (loopback), or be on one link only (a zone)
        if (what := _no_host(address)) and not (address.is_loopback and key.name != "gateway"):
            raise Wrong(item.place, f"{word} is {what}", hint)
        if "%" in word and key.name == "gateway":
            plain = word.partition("%")[0]
            raise Wrong(item.place, f"`{word}` has a zone", f"write `{plain}`")
        return str(address)

    return all_of(node, one)


def _with_a_zone_that_is_one(word: str) -> str:
    """ipaddress accepts any text as a zone (`fe80::1%eth0`), even several lines. Raises
    ValueError."""
    _, percent, zone = word.partition("/")[0].partition("%")
    if percent and not is_name(zone):
        raise ValueError(zone)
    return word


def is_name(word: str) -> bool:
    """Whether it is a valid interface name."""
    fits = 0 < len(word) <= LONGEST_NAME and word not in (".", "..") and word.isascii()
    return fits and all(c.isalnum() or c in "-_." for c in word)


def interface_name(node: Node) -> str:
    """A canonical name or MAC. Raises Wrong."""
    word = scalar_text(node, "an interface").strip()
    if len(digits := word.replace(":", "").replace("-", "")) == 12 and word != digits:
        if set(digits.lower()) <= set("0123456789abcdef"):
            return ":".join(digits[i : i + 2] for i in range(0, 12, 2)).lower()
    if not is_name(word):
        hint = "write a name such as `eth0`, or a MAC such as `52:54:00:12:34:56`"
        long = f"`{word}` is not an interface name"
        if len(word) > LONGEST_NAME and is_name(word[:LONGEST_NAME]):
            long = f"`{word}` is longer than {LONGEST_NAME} characters"
        raise Wrong(node.place, long, hint)
    return word


def interface(check: Check, key: Key, node: Node, path: str) -> Value:
    """One interface, by name or MAC."""
    return Value(interface_name(node), node.place)


def all_of(node: Node, one: Callable[[Node], str]) -> Value:
    """A list of texts; one wrong item makes the whole list wrong."""
    return Value([Value(one(item), item.place) for item in items_of(node)], node.place)
