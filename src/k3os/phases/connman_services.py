"""What connman has made of each interface, by D-Bus (connman's doc/service-api.txt): how it got
its addresses, which name servers it was given, in the order in which connman prefers them.

busctl(1) prints it as JSON; everybody on the node may ask. What is a secret is not in there, and of
the rest only what is named here is read.

connman 1.44 calls whatever address came last to an interface the service's own, also one that
somebody has added by hand. What it was given stands in its own file alone, which only root may
read, and which holds the passphrases of wireless networks: these keys are all that is looked for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from k3os.phases.network_plan import CONNMAN
from k3os.system.files import text_of
from k3os.system.json_text import WRONG_SHAPE, an_object, map_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

COMMAND = (
    *("busctl", "--json=short", "--timeout=5", "--auto-start=no", "call"),
    *("net.connman", "/", "net.connman.Manager", "GetServices"),
)
# FIXED: as a file in /var/lib/connman says; MANUAL: as connmanctl was told
DHCP, AUTO, FIXED, MANUAL, OFF = "dhcp", "auto", "fixed", "manual", "off"

# the key that says which address it has, by method
GIVEN = {DHCP: "DHCP.LastAddress", AUTO: "DHCP.LastAddress"}
GIVEN |= dict.fromkeys((FIXED, MANUAL), "local_address")


@dataclass(frozen=True)
class Family:
    """Of one IP version. wanted: how it is to get addresses, method: how it got address."""

    wanted: str = ""
    method: str = ""
    address: str = ""
    gateway: str = ""


@dataclass(frozen=True)
class Service:
    """is_given: a file in /var/lib/connman says how it is to be. own_servers: those that were
    configured, not learned. given: the addresses that it got, None where only root may look."""

    name: str
    device: str
    kind: str
    state: str
    ipv4: Family = Family()
    ipv6: Family = Family()
    is_given: bool = False
    servers: tuple[str, ...] = ()
    own_servers: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    given: tuple[str, ...] | None = None

    def family(self, version: int) -> Family:
        return self.ipv4 if version == 4 else self.ipv6

    def learns(self, version: int) -> bool:
        """Whether somebody on the network tells it addresses of name servers: DHCP, an
        advertisement, each those of its own IP version."""
        return self.family(version).method in (DHCP, AUTO)

    @property
    def is_connected(self) -> bool:
        return self.state in ("ready", "online")


def look() -> tuple[Service, ...]:
    """Raises CommandError, where connman does not answer, too."""
    from k3os.system.run import run

    return services_in(run([*COMMAND], timeout=10, errors_apart=True))


def services_in(output: bytes) -> tuple[Service, ...]:
    """The services that belong to an interface; what somebody made of the answer is none."""
    try:
        listed = an_object(output)["data"][0]
        found = [_service(path, _plain(properties)) for path, properties in listed]
    except WRONG_SHAPE:
        return ()
    return tuple(each for each in found if each.device)


def with_given(service: Service, root: str = "") -> Service:
    """What root knows, too."""
    text = text_of(f"{root}{CONNMAN}/{service.name}/settings")
    settings = {name: value for name, _, value in map(_setting, text.split("\n"))}
    named = ((prefix, service.family(version)) for version, prefix in ((4, "IPv4"), (6, "IPv6")))
    found = [
        settings.get(f"{prefix}.{GIVEN[each.method]}", "")
        for prefix, each in named
        if each.method in GIVEN
    ]
    return replace(service, given=tuple(filter(None, found)))


def _setting(line: str) -> tuple[str, str, str]:
    return line.partition("=")


def _service(path: str, known: dict[str, Any]) -> Service:
    return Service(
        path.rpartition("/")[2],
        _text(map_in(known, "Ethernet"), "Interface"),
        _text(known, "Type"),
        _text(known, "State"),
        _family(known, "IPv4"),
        _family(known, "IPv6"),
        known.get("Immutable") is True,
        _texts(known, "Nameservers"),
        _texts(known, "Nameservers.Configuration"),
        _texts(known, "Domains"),
    )


def _family(known: dict[str, Any], name: str) -> Family:
    now = map_in(known, name)
    return Family(
        _text(map_in(known, f"{name}.Configuration"), "Method"),
        _text(now, "Method"),
        _text(now, "Address"),
        _text(now, "Gateway"),
    )


def _plain(value: Any) -> Any:
    """Without D-Bus' types: {"type": "s", "data": "x"} is "x"."""
    if isinstance(value, dict):
        if value.keys() == {"type", "data"}:
            return _plain(value["data"])
        return {name: _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list) else value


def _text(value: dict[str, Any], name: str) -> str:
    inner = value.get(name)
    return inner if isinstance(inner, str) else ""


def _texts(value: dict[str, Any], name: str) -> tuple[str, ...]:
    inner = value.get(name)
    return tuple(str(each) for each in inner) if isinstance(inner, list) else ()
