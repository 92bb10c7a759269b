"""Find the interfaces of this machine that an entry of k3os.network with `match` applies to.

An entry that fits several becomes one entry for each. If none fits yet, it waits under a name that
no interface can have; udev starts k3os-links.service when one appears (interface_rules.py).
"""

from __future__ import annotations

from copy import copy

from k3os.config.addresses import LONGEST_NAME
from k3os.config.match import of_one
from k3os.phases.network_plan import AWAITED, is_awaited

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from k3os.config.network import Interface
    from k3os.phases.cards import Card


def resolved(
    right: list[Interface], cards: Iterable[Card]
) -> tuple[list[Interface], dict[str, tuple[str, str]]]:
    """The entries with names of interfaces, and for each wrong entry a message and a hint. Cards
    that an entry names, or that an earlier one fits, are not considered."""
    named = _named(right)
    spare = [each for each in cards if named.isdisjoint((each.name, each.mac))]
    names: dict[str, list[str]] = {}
    wrong: dict[str, tuple[str, str]] = {}
    for each in right:
        if each.match:
            fitting = [card for card in spare if each.match.fits(card)]
            spare = [card for card in spare if card not in fitting]
            names[each.key] = [card.name for card in fitting] or [AWAITED + each.key]
            if len(fitting) > 1 and (why := of_one(each)):
                shown = " and ".join(names[each.key])
                wrong[each.key] = (
                    f"fits {shown}, and one alone can have {why}",
                    "say more in `match`, e.g. `path`: `k3os network show` has it",
                )
    found: list[Interface] = []
    for each in right:
        if each.key not in wrong:
            found += _renamed(each, names, wrong)
    for each in found:
        if len(each.device) > LONGEST_NAME and not (each.is_mac or is_awaited(each.device)):
            message = f"{each.device} is too long for an interface's name"
            wrong[each.key] = message, "give the VLAN a smaller number, or make it in boot_cmd"
    return [each for each in found if each.key not in wrong], wrong


def _named(right: list[Interface]) -> set[str]:
    """The names and MACs that entries have or list."""
    named = {each.name for each in right if not each.match}
    return named | {name for each in right if each.made for name in each.made.members}


def _renamed(
    each: Interface, names: dict[str, list[str]], wrong: dict[str, tuple[str, str]]
) -> list[Interface]:
    """An entry with names of interfaces; also a VLAN or bond on top of an entry with `match`."""
    if each.match:
        return [_called(each, name) for name in names[each.key]]
    parent, _, digits = each.name.rpartition(".")
    if parent in names:
        if len(names[parent]) > 1:
            shown = " and ".join(names[parent])
            wrong[each.key] = (f"is on {parent}, which fits {shown}", "name one of them")
            return []
        return [_called(each, f"{names[parent][0]}.{digits}")]
    if each.made and not names.keys().isdisjoint(each.made.members):
        each = copy(each)
        each.made = copy(each.made)
        assert each.made
        each.made.members = [
            name for member in each.made.members for name in names.get(member, [member])
        ]
        each.made.primary = names.get(each.made.primary, [each.made.primary])[0]
    return [each]


def _called(each: Interface, name: str) -> Interface:
    each = copy(each)
    each.name = name
    return each
