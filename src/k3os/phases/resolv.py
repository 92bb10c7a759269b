"""The name servers that pods ask: FILE, which k3s.service names to k3s (resolv-conf).

k3s looks at it once, when it starts, and takes 8.8.8.8 in the place of a file without servers or
with one that pods cannot reach; the kubelet reads it for each pod. So it is always there, and
changes with connman's own (resolv.conf(5)), which the node itself uses.
"""

from __future__ import annotations

import os

from k3os.config.value import Place
from k3os.phases.actions import DONE, UNCHANGED, Action

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.phases.node import Node

KEY = "k3os.dns_nameservers"
SOURCE = "/run/connman/resolv.conf"
FILE = "/run/k3os/resolv.conf"
# resolver(3) reads no more
MOST = 3
HEADER = "# The name servers of pods, written by k3os from those of the node.\n"
NONE_KNOWN = """\
# No name server that pods could ask is known yet. This address is for documentation (RFC 5737):
# nobody answers there.
nameserver 192.0.2.1
"""


def compose(source: str) -> str:
    """The file's text for a resolv.conf; "" when nobody in it can be asked from a pod."""
    servers, search = [], ""
    for line in source.splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == "nameserver" and rest.strip() not in servers and is_reachable(rest.strip()):
            servers.append(rest.strip())
        elif word in ("search", "domain") and rest.strip():
            search = f"search {rest.strip()}\n"
    if not servers:
        return ""
    return HEADER + search + "".join(f"nameserver {each}\n" for each in first(servers))


def first(servers: list[str]) -> list[str]:
    """Those there is room for, IPv4 first: most pods have no other way. One of each version, if
    there is one, for pods have no IPv4 in a cluster of IPv6."""
    old = [each for each in servers if ":" not in each]
    new = [each for each in servers if ":" in each]
    return [*old[: MOST - bool(new)], *new][:MOST]


def is_reachable(text: str) -> bool:
    """Whether an address means the same machine in a pod: neither this host nor this link."""
    import ipaddress

    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return not (
        address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_unspecified
        or text == "255.255.255.255"
    )


def refresh(node: Node) -> bool:
    """Write the file if it must change; whether it did. A network that is gone takes no server
    away: another one brings others. Raises OSError."""
    from k3os.system.files import atomic_write

    path, source = node.path(FILE), node.path(SOURCE)
    before = node.read(FILE)
    try:
        time = os.stat(source).st_mtime_ns
    except FileNotFoundError:
        time = 0
    text = compose(node.read(SOURCE)) or before or HEADER + NONE_KNOWN
    if text != before:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        atomic_write(path, text.encode(errors="surrogateescape"))
    if time:  # k3os-resolv.service compares these
        os.utime(path, ns=(time, time))
    return text != before


def is_stale() -> bool:
    """Whether connman has written its file since."""
    try:
        return os.stat(SOURCE).st_mtime_ns != os.stat(FILE).st_mtime_ns
    except FileNotFoundError:
        return False


class Write(Action):
    """Tells pods the name servers of now."""

    __slots__ = ()

    def __init__(self, place: Place) -> None:
        super().__init__(KEY, place)

    def describe(self) -> str:
        return f"write the name servers of pods to {FILE}"

    def perform(self, node: Node) -> str:
        return DONE if refresh(node) else UNCHANGED
