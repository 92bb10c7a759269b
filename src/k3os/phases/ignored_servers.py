"""Name servers and search domains that come only from interfaces with `use_dns: false`.

connman 1.44 requests both with each lease and has no setting to prevent it, so they are removed
from its resolv.conf afterwards (resolv.py). D-Bus tells which interface they come from.
"""

from __future__ import annotations

from k3os.phases.ip_output import link_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, TypeAlias

    from k3os.phases.connman_services import Service

    Json: TypeAlias = "dict[str, Any]"


def ignored(
    entries: list[Json], links: list[Json], services: Iterable[Service]
) -> tuple[set[str], set[str]]:
    """Servers (without zones) and domains to ignore. Those from another interface, or in an entry,
    are not among them."""
    refusing = {}
    for entry in entries:
        link = link_of(entry["device"], links)
        if link and not entry["use_dns"]:
            refusing[link["ifname"]] = entry
    servers, domains = _of(each for each in services if each.device in refusing)
    own = {plain(each) for entry in entries for each in entry["nameservers"]}
    named = {each for entry in entries for each in entry["domains"]}
    others = _of(each for each in services if each.device not in refusing and each.is_connected)
    return servers - own - others[0], domains - named - others[1]


def _of(services: Iterable[Service]) -> tuple[set[str], set[str]]:
    listed = list(services)
    return (
        {plain(server) for each in listed for server in each.servers},
        {domain for each in listed for domain in each.domains},
    )


def plain(server: str) -> str:
    """The address without its zone."""
    return server.partition("%")[0]


def without(text: str, servers: set[str], domains: set[str]) -> str:
    """A resolv.conf(5) without these; other lines stay unchanged."""
    kept = []
    for line in text.split("\n"):
        word, *rest = line.split() or [""]
        if word == "nameserver" and rest and plain(rest[0]) in servers:
            continue
        if word in ("search", "domain") and domains.intersection(rest):
            rest = [each for each in rest if each not in domains]
            if not rest:
                continue
            line = " ".join([word, *rest])
        kept.append(line)
    return "\n".join(kept)


def look(entries: list[Json]) -> tuple[set[str], set[str]]:
    """`ignored` for the current state of this node. connman is not asked if all entries use DNS.
    Raises CommandError."""
    if all(entry["use_dns"] for entry in entries):
        return set(), set()
    from k3os.phases import connman_services
    from k3os.phases.ip_output import addresses

    return ignored(entries, addresses(), connman_services.look())
