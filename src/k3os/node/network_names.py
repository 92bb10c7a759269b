"""Which name servers the node and its pods use, and where each comes from.

Reads the resolv.conf(5) texts that connman and k3os.phases.resolv write, in the order of the file.
"""

from __future__ import annotations

from k3os.node.network_origin import FROM_A_FILE, UNANSWERED
from k3os.node.network_report import CONNMAN, OTHER, NameServer, Origin, Pods
from k3os.node.network_report import DHCP as BY_DHCP
from k3os.node.network_wanted import part
from k3os.phases.resolv import FALLBACK, FILE, MAIN, NONE_KNOWN, SOURCE, is_reachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from k3os.node.network_origin import Known
    from k3os.node.network_wanted import Configuration
    from k3os.phases.connman_services import Service

KEY = "k3os.dns_nameservers"
UNKNOWN = Origin(OTHER, f"somebody who has written it into {SOURCE}")
OF_MAIN = Origin(CONNMAN, f"FallbackNameservers in {MAIN}, since no network names any")


def servers(text: str, known: Known, config: Configuration) -> tuple[NameServer, ...]:
    """text: SOURCE."""
    learned, _, fallback = text.partition(FALLBACK)
    found = [NameServer(each, _origin(each, known)) for each in _listed(learned)]
    found += [NameServer(each, _fallback(each, config)) for each in _listed(fallback)]
    return tuple(found)


def _listed(text: str) -> list[str]:
    words = [line.split() for line in text.split("\n")]
    return list(dict.fromkeys(each[1] for each in words if each[:1] == ["nameserver"] and each[1:]))


def search(text: str) -> tuple[str, ...]:
    """The last line counts: resolv.conf(5)."""
    lines = [line.split() for line in text.split("\n")]
    found = [each[1:] for each in lines if each and each[0] in ("search", "domain")]
    return tuple(found[-1]) if found else ()


def _fallback(server: str, config: Configuration) -> Origin:
    if server in config.servers:
        place, words = config.servers[server], "since no network names any"
        return Origin("k3os", words, KEY, place)
    return OF_MAIN


def _origin(server: str, known: Known) -> Origin:
    plain = server.partition("%")[0]
    for service in (known.services or {}).values():
        if plain in {each.partition("%")[0] for each in (*service.servers, *service.own_servers)}:
            return _of_service(server, service, known)
    if known.services is None:
        return UNANSWERED
    return UNKNOWN


def _of_service(server: str, service: Service, known: Known) -> Origin:
    """connman does not say whether a server is from its file or from the network. That is only
    certain if the network cannot provide any, or root can see the file's source."""
    entry = known.by_device.get(service.device)
    learns = service.learns(6 if ":" in server else 4)
    if entry is not None and (part("nameservers", server) in entry.places or not learns):
        return entry.origin("nameservers", server)
    if server in service.own_servers:
        return Origin(CONNMAN, f"connmanctl, for {service.device}")
    if not learns:
        return Origin(CONNMAN, f"{FROM_A_FILE.words}, for {service.device}")
    how = "DHCP" if ":" not in server else "router advertisement or DHCPv6"
    words = f"{how} on {service.device}"
    if entry is not None and not entry.place:
        words += f", or {entry.origin('nameservers').key}: root sees which"
    elif entry is None and service.is_given:
        words += f", or {FROM_A_FILE.words}"
    return Origin(BY_DHCP, words)


def pods(text: str, used: Iterable[NameServer], file: str = FILE, unknown: str = "") -> Pods:
    """text: of the file."""
    listed = tuple(_listed(text))
    if file == FILE and NONE_KNOWN.strip() in text:
        listed = ()
    lost = [each.address for each in used if not is_reachable(each.address)]
    return Pods(file, listed, tuple(lost), unknown)
