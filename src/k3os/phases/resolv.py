"""The name servers for pods: FILE, which k3s.service passes to k3s (resolv-conf).

k3s checks it once, when it starts, and uses 8.8.8.8 instead of a file without servers or with one
that pods cannot reach; the kubelet reads it for each pod. So it always exists, and follows SOURCE
(resolv.conf(5)), which the node itself uses.

SOURCE is connman's. Without its proxy, connman ignores FallbackNameservers (connman.conf(5)): if it
knows no server, we add them here; they disappear when it rewrites the file.
"""

from __future__ import annotations

import os

from k3os.config.hostnames import is_domain
from k3os.config.value import Place
from k3os.phases.actions import DONE, UNCHANGED, Action
from k3os.phases.managed_block import lines_of
from k3os.phases.network_plan import PLAN
from k3os.system.ip_text import ipv4, is_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.phases.node import Node

KEY = "k3os.dns_nameservers"
SOURCE = "/run/connman/resolv.conf"
FILE = "/run/k3os/resolv.conf"
MAIN = "/etc/connman/main.conf"
FALLBACK = "# FallbackNameservers of connman's main.conf, since no network names a server"
# resolver(3) reads no more
MOST = 3
HEADER = "# The name servers of pods, written by k3os from those of the node.\n"
NONE_KNOWN = """\
# No name server that pods could ask is known yet. This address is for documentation (RFC 5737):
# nobody answers there.
nameserver 192.0.2.1
"""


def compose(source: str) -> str:
    """The file's text for a resolv.conf; "" if pods can reach none of its servers."""
    servers, search = [], ""
    for line in source.split("\n"):
        word, *rest = line.split() or [""]
        if word == "nameserver" and rest and rest[0] not in servers and is_reachable(rest[0]):
            servers.append(rest[0])
        elif word in ("search", "domain") and (names := list(filter(is_domain, rest))):
            search = f"search {' '.join(names)}\n"
    if not servers:
        return ""
    return HEADER + search + "".join(f"nameserver {each}\n" for each in first(servers))


def first(servers: list[str]) -> list[str]:
    """The servers that fit, IPv4 first: most pods have nothing else. At least one of each version
    if possible: in an IPv6 cluster, pods have no IPv4."""
    old = [each for each in servers if ":" not in each]
    new = [each for each in servers if ":" in each]
    return [*old[: MOST - bool(new)], *new][:MOST]


def with_fallback(source: str, main: str) -> str:
    """A resolv.conf plus the fallback servers in main.conf, if it has no others."""
    lines = lines_of(source.partition(FALLBACK)[0])
    if any(line.startswith("nameserver") for line in lines):
        return source
    settings = [line.partition("=") for line in main.split("\n")]
    named = [text for name, _, text in settings if name.strip() == "FallbackNameservers"]
    servers = [each.strip() for text in named for each in text.split(",") if is_address(each)]
    added = [FALLBACK, *(f"nameserver {each}" for each in servers[:MOST])] if servers else []
    return "".join(f"{line}\n" for line in [*lines, *added])


def is_reachable(text: str) -> bool:
    """Whether an address means the same machine in a pod: not this host, and no IPv6 link-local
    one. The node forwards IPv4 link-local ones: clouds have servers at 169.254…."""
    if numbers := ipv4(text):
        is_multicast = 224 <= numbers[0] < 240
        return numbers[0] != 127 and not is_multicast and numbers not in ([0] * 4, [255] * 4)
    import ipaddress

    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if "%" in text:  # the zone is an interface's name, which a pod does not have
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return not (
        address.is_loopback
        or (address.version == 6 and address.is_link_local)
        or address.is_multicast
        or address.is_unspecified
        or text == "255.255.255.255"
    )


def refresh(node: Node) -> bool:
    """Update both files as needed; returns whether the pods' changed. If the network is gone, pods
    keep their servers until another network has some. Raises OSError; and CommandError, after
    writing all servers, if connman cannot tell which ones are unwanted."""
    from k3os.system.run import CommandError

    failure = None
    path, source = node.path(FILE), node.path(SOURCE)
    before, given = node.read(FILE), node.read(SOURCE)
    try:
        wanted = _without_ignored(node, given)
    except CommandError as error:
        wanted, failure = given, error
    known = with_fallback(wanted, node.read(MAIN))
    if known != given:
        _write(source, known)
    try:
        time = os.stat(source).st_mtime_ns
    except FileNotFoundError:
        time = 0
    text = compose(known) or before or HEADER + NONE_KNOWN
    if text != before:
        _write(path, text)
    if time:  # k3os-resolv.service compares the times
        os.utime(path, ns=(time, time))
    if failure:
        raise failure
    return text != before


def _without_ignored(node: Node, text: str) -> str:
    """The text without what k3os.network says to ignore. Raises CommandError."""
    plan = node.read(PLAN)
    if not node.is_real or '"use_dns": false' not in plan:
        return text
    from k3os.phases.ignored_servers import look, without
    from k3os.phases.network_plan import entries_in

    return without(text, *look(entries_in(plan.encode(errors="surrogateescape"))))


def _write(path: str, text: str) -> None:
    from k3os.system.files import atomic_write

    os.makedirs(os.path.dirname(path), exist_ok=True)
    atomic_write(path, text.encode(errors="surrogateescape"))


def is_stale() -> bool:
    """Whether connman has written its file since then."""
    try:
        return os.stat(SOURCE).st_mtime_ns != os.stat(FILE).st_mtime_ns
    except FileNotFoundError:
        return False


class Write(Action):
    """Updates the name servers of pods."""

    __slots__ = ()

    def __init__(self, place: Place) -> None:
        super().__init__(KEY, place)

    def describe(self) -> str:
        return f"write the name servers of pods to {FILE}"

    def perform(self, node: Node) -> str:
        return DONE if refresh(node) else UNCHANGED
