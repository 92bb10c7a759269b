"""`match` in an entry of k3os.network: the interfaces it applies to, instead of a name or MAC.

The names are netplan's (netplan-yaml(5), "match"), `path` is from systemd.link(5). Patterns are
those of glob(7). Matching happens on the node: k3os.phases.matching.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

from k3os.config.made import texts_in
from k3os.config.value import Value, Wrong, field_text
from k3os.system.interfaces import KINDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.kinds import Check
    from k3os.config.network import Interface

NAME, MAC, DRIVER, PATH = FIELDS = ("name", "mac", "driver", "path")


class Match:
    """The properties that an interface must all have; of several patterns, one must match."""

    __slots__ = FIELDS

    def __init__(self, fields: dict[str, Value]) -> None:
        self.name = texts_in(fields, NAME)
        self.mac = texts_in(fields, MAC)
        self.driver = texts_in(fields, DRIVER)
        self.path = texts_in(fields, PATH)

    def fits(self, card: object) -> bool:
        """card: an object with these attributes."""
        return all(
            any(fnmatchcase(getattr(card, name), each) for each in getattr(self, name))
            for name in FIELDS
            if getattr(self, name)
        )

    def __str__(self) -> str:
        return ", ".join(
            f"{name} {' or '.join(getattr(self, name))}" for name in FIELDS if getattr(self, name)
        )


def of_entry(entry: dict[str, Value]) -> Match | None:
    value = entry.get("match")
    return Match(value.data) if value is not None and isinstance(value.data, dict) else None


def checked(check: Check, value: Value, path: str) -> Value:
    """Raises Wrong."""
    fields = value.data
    assert isinstance(fields, dict)
    if not fields:
        hint = "write e.g. `match: {driver: e1000e}`"
        raise Wrong(value.place, "does not say which interface", hint)
    if MAC in fields and ":" not in field_text(fields, MAC):
        hint = "write e.g. `52:54:00:12:34:56`"
        raise Wrong(fields[MAC].place, f"`{field_text(fields, MAC)}` is not a MAC", hint)
    return value


def check_entry(interface: Interface, value: Value, entry: dict[str, Value]) -> None:
    """An entry with `match`, whose name exists only in the configuration. Raises Wrong."""
    if "." in interface.name or interface.is_mac:
        message = f"{interface.name} is the name of an interface itself"
        raise Wrong(value.place, message, "call the entry e.g. `lan`, or leave out `match`")
    for name in KINDS:
        if name in entry:
            message = f"k3OS makes the {name}, so there is nothing to match"
            raise Wrong(entry[name].place, message, "remove one of the two")


def of_one(interface: Interface) -> str:
    """A field of an entry that only one interface can have, "" for none."""
    if interface.addresses:
        return f"the address {interface.addresses[0]}"
    if interface.gateways:
        return f"the gateway {interface.gateways[0]}"
    if interface.learned.fallback:
        return f"the address {interface.learned.fallback}"
    return "routes" if interface.routes else ""
