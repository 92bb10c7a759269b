"""What `k3os network show` says, as one value: interfaces, routes, rules, name servers, each with
where it comes from, and what the configuration asks for and is missing.

It reads nothing; k3os.node.network_facts does, and network_origin, network_names and
network_missing decide. `as_dict` is the format of --json.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# who brings something. OTHER: somebody by hand, or a program that is not known here
CONFIGURED, DHCP, ADVERTISED, LINK_LOCAL = "k3os", "dhcp", "router-advertisement", "link-local"
KERNEL, CONNMAN, PLUGIN, OTHER = "kernel", "connman", "network-plugin", "other"


@dataclass(frozen=True)
class Origin:
    """Where something comes from. key and place (file:line) where the configuration asks for it;
    place is "" where only root may look."""

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
    text: str  # with the length of its network
    origin: Origin
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Hop:
    gateway: str
    device: str


@dataclass(frozen=True)
class Route:
    """kind: "" for one that leads somewhere, else `blackhole` and the like. metric, table: numbers;
    protocol: that of ip-route(8) in numbers, "" for boot."""

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
    """source, to: a network, `all` for any. others: what else it asks for, as ip-rule(8) has it."""

    version: int
    priority: str
    source: str
    to: str
    table: str
    others: str = ""
    origin: Origin = BY_HAND


@dataclass(frozen=True)
class Device:
    """An interface. kind: "card", "bond", "vlan" …; detail: words about it; state: the kernel's
    operational state; connman: that of its service, "" where it has none. own_mac: that of the
    card where the interface has another one, as members of bonds have. is_plugins: k3s' or a
    network plugin's. driver, path: of a card, what `match` in k3os.network compares."""

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
    """What pods ask: the file, and its servers. unreachable: those of the node that mean nothing in
    a pod; unknown: only root may see which file it is."""

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
