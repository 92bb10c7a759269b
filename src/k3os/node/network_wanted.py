"""What k3os.network asks for, and where each part of it is written.

Root sees the configuration itself, with file and line. Others see the plan that a phase made from
it (k3os.phases.network_plan), which has the same without them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from k3os.node.network_report import CONFIGURED, Missing, Origin
from k3os.phases.network import KEY
from k3os.phases.network_plan import PLAN, entries_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    from k3os.config.load import Config
    from k3os.config.network import Interface
    from k3os.config.value import Place, Problem, Value
    from k3os.phases.node import Node

    Json: TypeAlias = "dict[str, Any]"

SERVERS = "k3os.dns_nameservers"
WIFI = "k3os.wifi"
# prefix of k3os.config.cmdline's sources
CMDLINE = "cmdline"


@dataclass(frozen=True)
class Wanted:
    """An entry of PLAN. key: of the configuration; place: where it is written; places: those of
    its parts, by `part`. owner: the bond or bridge that it is a member of; is_listed: it has no
    entry of its own, or only root may see it."""

    entry: Json
    key: str
    place: str = ""
    places: Mapping[str, str] = field(default_factory=dict)
    owner: str = ""
    is_listed: bool = False

    @property
    def device(self) -> str:
        """The name or MAC of the interface that gets the addresses."""
        return str(self.entry["device"])

    @property
    def below(self) -> str:
        """The name or MAC of the card."""
        return str(self.entry["below"] or self.entry["device"])

    @property
    def made(self) -> str:
        """The name of the interface that k3OS creates for it; "" for none."""
        return str(self.entry["made"]["name"]) if self.entry["made"] else ""

    def origin(self, name: str = "", item: str = "") -> Origin:
        """Of the entry, or of an item of one of its fields."""
        place = self.places.get(part(name, item), self.place)
        return Origin(CONFIGURED, "", f"{self.key}.{name}" if name else self.key, place)

    def missing(self, what: str, hint: str = "", name: str = "", item: str = "") -> Missing:
        at = self.origin(name, item)
        return Missing(what, at.key, at.place, hint)


def part(name: str, item: str = "") -> str:
    return f"{name} {item}"


@dataclass(frozen=True)
class Configuration:
    """problems: entries that are left out because they are wrong. servers: those of
    k3os.dns_nameservers, with their places. off: interfaces without addresses because they carry a
    VLAN."""

    wanted: tuple[Wanted, ...] = ()
    problems: tuple[Missing, ...] = ()
    servers: Mapping[str, str] = field(default_factory=dict)
    off: Mapping[str, Origin] = field(default_factory=dict)
    wifi: str = ""
    notes: tuple[str, ...] = ()


NOT_ROOT = "only root sees in which file and line something is asked for: `sudo k3os network show`"
NOT_APPLIED = "k3os.network has changed since it was applied: `sudo k3os config`"


def planned(data: bytes) -> Configuration:
    """What every user may see. data: of PLAN."""
    entries = entries_in(data)
    owners = {name: each["made"]["name"] for each in entries for name in _members(each)}
    wanted = []
    for entry in entries:
        name = entry["name"] or entry["device"]
        owner = owners.get(entry["device"], "")
        key = f"{KEY}.{owner or name}"
        wanted.append(Wanted(entry, key, owner=owner, is_listed=bool(owner)))
    return Configuration(tuple(wanted), notes=(NOT_ROOT,))


def _members(entry: Json) -> list[str]:
    return list(entry["made"]["members"]) if entry["made"] else []


def configured(config: Config, problems: list[Problem], node: Node) -> Configuration:
    """What root sees."""
    from k3os.phases.actions import Refused
    from k3os.phases.network import asked_for, routing

    refused, right, _ = asked_for(config, node)
    wrong = [_problem(each) for each in problems if each.is_error and _is_ours(each.key)]
    wrong += [
        Missing(f"is left out: {each.message}", each.key, str(each.place), each.hint)
        for each in refused
        if isinstance(each, Refused)
    ]
    entries = config.entries(KEY)
    asked = routing(right)
    found = [_wanted(*pair, entries) for pair in zip(right, asked, strict=True)]
    applied = entries_in(node.read(PLAN).encode(errors="surrogateescape"))
    devices = {each.device for each in right}
    below = [each for each in right if each.vlan and not each.made and each.name not in devices]
    wifi = config.get(WIFI)
    return Configuration(
        tuple(found),
        tuple(wrong),
        {str(each.data): _said(each.place) for each in config.items(SERVERS)},
        {each.name: _below(each, entries) for each in below},
        _said(wifi.place) if wifi is not None else "",
        (NOT_APPLIED,) if applied != asked else (),
    )


def _is_ours(key: str) -> bool:
    return any(key == each or key.startswith((f"{each}.", f"{each}[")) for each in (KEY, SERVERS))


def _problem(problem: Problem) -> Missing:
    what = f"is left out: {problem.message}"
    return Missing(what, problem.key, _said(problem.place), problem.hint)


def _below(interface: Interface, entries: Mapping[str, Value]) -> Origin:
    place = _said(entries[interface.key].place)
    words = f"no addresses, the VLAN {interface.device} has them"
    return Origin(CONFIGURED, words, f"{KEY}.{interface.key}", place)


def _wanted(interface: Interface, entry: Json, entries: Mapping[str, Value]) -> Wanted:
    value = entries.get(interface.key)
    if value is None:
        owner = interface.owner
        assert owner is not None  # only members have no entry
        places = _places(entries[owner.name])
        place = places.get(part("interfaces", interface.name), _said(entries[owner.name].place))
        key = f"{KEY}.{owner.name}"
        return Wanted(entry, key, place, owner=owner.name, is_listed=True)
    master = interface.owner.name if interface.owner else ""
    key = f"{KEY}.{interface.key}"
    return Wanted(entry, key, _said(value.place), _places(value), master)


def _places(value: Value) -> dict[str, str]:
    """The place of each field of an entry, and of each item of lists."""
    found: dict[str, str] = {}
    fields = dict(value.data) if isinstance(value.data, dict) else {}
    for made in ("bond", "bridge"):
        inner = fields[made].data if made in fields else ""
        fields |= inner if isinstance(inner, dict) else {}
    for name, each in fields.items():
        found[part(name)] = _said(each.place)
        items = each.data if isinstance(each.data, list) else [each]
        for number, item in enumerate(items):
            text = str(number) if isinstance(item.data, dict) else str(item.data)
            found[part(name, text)] = _said(item.place)
    return found


def _said(place: Place) -> str:
    return "the kernel's command line" if place.source.startswith(CMDLINE) else str(place)
