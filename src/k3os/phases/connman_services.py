"""The state of connman's services over D-Bus (connman's doc/service-api.txt): how each interface
got its addresses, and which name servers, in the order of connman's preference.

busctl(1) prints it as JSON; everybody on the node may read it. It contains no secrets, and only
what is named here is read.

connman 1.44 reports an interface's latest address as the service's own, even one that somebody has
added by hand. Only its own file has what it was really given. This file is readable by root only
and contains the passphrases of wireless networks, so nothing but these keys is read from it.
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
# FIXED: by a file in /var/lib/connman; MANUAL: by connmanctl
DHCP, AUTO, FIXED, MANUAL, OFF = "dhcp", "auto", "fixed", "manual", "off"

# method -> the key that contains its address
GIVEN = {DHCP: "DHCP.LastAddress", AUTO: "DHCP.LastAddress"}
GIVEN |= dict.fromkeys((FIXED, MANUAL), "local_address")


@dataclass(frozen=True)
class Family:
    """For one IP version. wanted: the configured method; method: how it got address."""

    wanted: str = ""
    method: str = ""
    address: str = ""
    gateway: str = ""


@dataclass(frozen=True)
class Service:
    """is_given: configured by a file in /var/lib/connman. own_servers: configured, not learned.
    given: the addresses that it got, None if only root may read them."""

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
        """Whether the network tells it name servers with addresses of this IP version, by DHCP or
        router advertisements."""
        return self.family(version).method in (DHCP, AUTO)

    @property
    def is_connected(self) -> bool:
        return self.state in ("ready", "online")


def look() -> tuple[Service, ...]:
    """Raises CommandError, also if connman does not answer."""
    from k3os.system.run import run

    return services_in(run([*COMMAND], timeout=10, errors_apart=True))


def services_in(output: bytes) -> tuple[Service, ...]:
    """The services that belong to an interface; malformed ones are left out."""
    try:
        listed = an_object(output)["data"][0]
        found = [_service(path, _plain(properties)) for path, properties in listed]
    except WRONG_SHAPE:
        return ()
    return tuple(each for each in found if each.device)


def with_given(service: Service, root: str = "") -> Service:
    """The service with what only root can read."""
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
    """Without D-Bus' types: {"type": "s", "data": "x"} becomes "x"."""
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
