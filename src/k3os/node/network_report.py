"""What `k3os network show` prints, as one value: interfaces, routes, rules and name servers with
their origins, and what the configuration asks for but is missing.

It reads nothing; k3os.node.network_facts does, and network_origin, network_names and
network_missing decide. `as_dict` is the format of --json.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# where something comes from. OTHER: set by hand, or by an unknown program
CONFIGURED, DHCP, ADVERTISED, LINK_LOCAL = "k3os", "dhcp", "router-advertisement", "link-local"
KERNEL, CONNMAN, PLUGIN, OTHER = "kernel", "connman", "network-plugin", "other"


@dataclass(frozen=True)
class Origin:
    """Where something comes from. key and place (file:line) if the configuration asks for it; place
    is "" if only root may see it."""

    by: str
    words: str = ""
    key: str = ""
    place: str = ""

    def __str__(self) -> str:
        if self.key:
            said = f"{self.key}, {self.place}" if self.place else self.key
            return f"{said}; {self.words}" if self.words else said
        return self.words


BY_KERNEL = Origin(KERNEL, "the kernel")
BY_PLUGIN = Origin(PLUGIN, "k3s or a network plugin")
BY_HAND = Origin(OTHER, "by hand, or another program")


@dataclass(frozen=True)
class Address:
    text: str  # with the prefix length
    origin: Origin
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Hop:
    gateway: str
    device: str


@dataclass(frozen=True)
class Route:
    """kind: "" for a normal route, else `blackhole` and the like. metric, table: numbers;
    protocol: as a number of ip-route(8), "" for boot."""

    version: int
    to: str
    hops: tuple[Hop, ...] = ()
    kind: str = ""
    metric: str = ""
    table: str = ""
    protocol: str = ""
    source: str = ""
    is_dead: bool = False
    origin: Origin = BY_HAND

    @property
    def devices(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(each.device for each in self.hops if each.device))


@dataclass(frozen=True)
class Rule:
    """source, to: a network, `all` for any. others: further conditions, as in ip-rule(8)."""

    version: int
    priority: str
    source: str
    to: str
    table: str
    others: str = ""
    origin: Origin = BY_HAND


@dataclass(frozen=True)
class Device:
    """An interface. kind: "card", "bond", "vlan" …; detail: more, in words; state: the kernel's
    operational state; connman: state of its service, "" for none. own_mac: the card's, if the
    interface has another one, as members of bonds do. is_plugins: of k3s or a network plugin.
    driver, path: of a card, what `match` in k3os.network compares."""

    name: str
    kind: str
    state: str
    is_up: bool
    has_carrier: bool
    mac: str
    mtu: int
    managed: Origin
    own_mac: str = ""
    master: str = ""
    members: tuple[str, ...] = ()
    detail: str = ""
    connman: str = ""
    addresses: tuple[Address, ...] = ()
    is_plugins: bool = False
    driver: str = ""
    path: str = ""


@dataclass(frozen=True)
class NameServer:
    address: str
    origin: Origin


@dataclass(frozen=True)
class Pods:
    """The resolv.conf of pods and its servers. unreachable: servers of the node that cannot work
    in a pod; unknown: why the file is not certain."""

    file: str
    servers: tuple[str, ...] = ()
    unreachable: tuple[str, ...] = ()
    unknown: str = ""


@dataclass(frozen=True)
class Missing:
    """What the configuration asks for and is not there: where, what, and what to do."""

    what: str
    key: str = ""
    place: str = ""
    hint: str = ""

    def __str__(self) -> str:
        said = ": ".join(each for each in (self.place, self.key, self.what) if each)
        return f"{said}; {self.hint}" if self.hint else said


@dataclass(frozen=True)
class Report:
    missing: tuple[Missing, ...] = ()
    notes: tuple[str, ...] = ()
    interfaces: tuple[Device, ...] = ()
    routes: tuple[Route, ...] = ()
    rules: tuple[Rule, ...] = ()
    name_servers: tuple[NameServer, ...] = ()
    search: tuple[str, ...] = ()
    pods: Pods = field(default_factory=lambda: Pods(""))

    def as_dict(self) -> Mapping[str, Any]:
        return asdict(self)
