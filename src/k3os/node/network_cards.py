"""Facts about network cards that ip(8) does not show: driver, bus path, what wakes the machine.

ethtool(8) shows the last one only to root, and is only asked if the configuration mentions it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from k3os.phases.cards import Card, cards

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from k3os.node.network_wanted import Wanted

WAKE = "Wake-on:"


@dataclass(frozen=True)
class Hardware:
    """cards: by name. wake: by name, ethtool's letters, if known."""

    cards: Mapping[str, Card] = field(default_factory=dict)
    wake: Mapping[str, str] = field(default_factory=dict)


def look(wanted: Iterable[Wanted], root: str = "") -> Hardware:
    from k3os.phases.node import Node

    found = {each.name: each for each in cards(Node(root or "/"))}
    asked = {each.below for each in wanted if each.entry["wake"]}
    names = [card.name for card in found.values() if asked & {card.name, card.mac}]
    if os.geteuid() != 0:
        return Hardware(found)
    return Hardware(found, {name: wake_in(_ethtool(name)) for name in names})


def _ethtool(name: str) -> str:
    from k3os.system.run import CommandError, run

    try:
        return run(["ethtool", name], timeout=10, errors_apart=True).decode(errors="replace")
    except CommandError as error:  # it prints what it knows, and fails for the rest
        return error.output.decode(errors="replace")


def wake_in(output: str) -> str:
    """ethtool's letters, "" if the card has no such thing."""
    lines = (line.strip() for line in output.split("\n"))
    found = [line.removeprefix(WAKE).strip() for line in lines if line.startswith(WAKE)]
    return found[-1] if found else ""
