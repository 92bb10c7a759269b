"""Members of bonds and bridges in k3os.network: each has one owner and no addresses, and no device
contains itself. Works on checked entries; single entries are checked in made.py.
"""

from __future__ import annotations

from k3os.config.addresses import OFF
from k3os.config.made import texts_in
from k3os.config.value import Place, Value, Wrong
from k3os.system.interfaces import DUMMY, KINDS
from k3os.system.numbers import are_digits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.network import Interface

# a kind of device -> the kinds that may be its members, in addition to hardware
INSIDE = {"bond": (), "bridge": ("bond", "dummy"), "dummy": ()}
# the fields of a member's entry; its addresses are on the device that contains it
OF_MEMBER = ("match", "mtu", "wake_on_lan", *KINDS)


def check_together(right: list[Interface], entries: dict[str, Value]) -> dict[str, Wrong]:
    """What is wrong with entries in combination; also sets the owners of the members."""
    by_name = {each.name: each for each in right}
    owners: dict[str, Interface] = {}
    found: dict[str, Wrong] = {}
    for each in [each for each in right if each.made]:
        try:
            for name, place in _members(each, entries):
                _check_inside(each, name, place, by_name, owners)
        except Wrong as wrong:
            found[each.name] = wrong
        else:
            assert each.made
            owners.update(dict.fromkeys(each.made.members, each))
    for name in _in_circles(by_name):
        place = entries[name].place
        found[name] = Wrong(place, "is, in the end, a member of itself", "remove that member")
    owners = {name: owner for name, owner in owners.items() if owner.name not in found}
    for each in right:
        if apart := _wrong_member(each, owners, entries[each.name]):
            found.setdefault(each.name, apart)
        elif each.name in owners:
            each.owner = owners[each.name]
            each.dhcp = False
    return found


def _members(each: Interface, entries: dict[str, Value]) -> list[tuple[str, Place]]:
    entry = entries[each.name].data
    assert isinstance(entry, dict) and each.made
    fields = entry[each.made.kind].data
    data = fields["interfaces"].data if isinstance(fields, dict) and "interfaces" in fields else []
    assert isinstance(data, list)
    return [(str(item.data), item.place) for item in data]


def _check_inside(
    each: Interface,
    name: str,
    place: Place,
    by_name: dict[str, Interface],
    owners: dict[str, Interface],
) -> None:
    """Raises Wrong."""
    assert each.made
    if name == each.name:
        raise Wrong(place, f"{name} cannot be its own member", "remove it")
    if name in owners:
        message = f"{name} is in {owners[name].name} already"
        raise Wrong(place, message, "keep it in one of the two")
    other = by_name.get(name)
    if other and other.made and other.made.kind not in INSIDE[each.made.kind]:
        hint = f"name the members of {name} here"
        raise Wrong(place, f"a {other.made.kind} cannot be in a {each.made.kind}", hint)
    parent, _, digits = name.rpartition(".")
    is_vlan = bool(parent) and are_digits(digits)
    if is_vlan and each.made.kind == "bond":
        hint = f"write the VLAN on the bond: `{each.name}.{digits}`"
        raise Wrong(place, f"{name} is a VLAN, which cannot be in a bond", hint)
    needed = parent if is_vlan else name
    if needed.rstrip("0123456789") in ("bond", DUMMY) and not (
        needed in by_name and by_name[needed].made
    ):
        hint = f"write `{needed}: {{{needed.rstrip('0123456789')}: …}}` in k3os.network"
        raise Wrong(place, f"nothing makes {needed}", hint)


def _wrong_member(each: Interface, owners: dict[str, Interface], value: Value) -> Wrong | None:
    """Why an entry cannot be a member, or be on top of one."""
    entry = value.data
    assert isinstance(entry, dict)
    owner = owners.get(each.name)
    if owner is not None:
        for name, item in entry.items():
            is_off = name == "address" and all(text == OFF for text in texts_in(entry, name))
            if name not in OF_MEMBER and not is_off:
                hint = f"remove it, or write it at {owner.name}"
                return Wrong(item.place, f"is in {owner.name}, and has no {name} itself", hint)
    below = owners.get(each.below) if each.vlan_number else None
    if below is not None and below.made and below.made.kind == "bond":
        hint = f"write `{below.name}.{each.vlan_number}`"
        return Wrong(value.place, f"{each.below} is in {below.name}, which takes its packets", hint)
    return None


def _in_circles(by_name: dict[str, Interface]) -> list[str]:
    """The names of devices that contain themselves, e.g. by way of a VLAN and its parent."""
    below: dict[str, list[str]] = {}
    waiting = [name for name, each in by_name.items() if each.made]
    while waiting:
        name = waiting.pop()
        if name not in below:
            below[name] = _stands_on(name, by_name)
            waiting += below[name]
    left = _without_ends(_turned(_without_ends(below)))
    return [name for name in left if name in by_name and by_name[name].made]


def _without_ends(graph: dict[str, list[str]]) -> dict[str, list[str]]:
    """The graph without nodes from which all paths end."""
    users, leads = _turned(graph), {name: len(others) for name, others in graph.items()}
    ends = [name for name, number in leads.items() if not number]
    while ends:
        name = ends.pop()
        del leads[name]
        for user in users.get(name, ()):
            leads[user] -= 1
            if not leads[user]:
                ends.append(user)
    return {name: [each for each in graph[name] if each in leads] for name in leads}


def _turned(graph: dict[str, list[str]]) -> dict[str, list[str]]:
    turned: dict[str, list[str]] = {name: [] for name in graph}
    for name, others in graph.items():
        for other in others:
            turned[other].append(name)
    return turned


def _stands_on(name: str, by_name: dict[str, Interface]) -> list[str]:
    each = by_name.get(name)
    if each is not None and each.made:
        return each.made.members
    parent, _, digits = name.rpartition(".")
    return [parent] if parent and are_digits(digits) else []


def with_members(right: list[Interface]) -> list[Interface]:
    """The entries, plus one without addresses for each member that has none. A bridge's ports get
    its MTU."""
    described = {each.name for each in right}
    found = list(right)
    for owner in right:
        for name in owner.made.members if owner.made else ():
            if name not in described:
                place = Place("default")
                each = type(owner)(name, {"address": Value([Value(OFF, place)], place)})
                each.owner = owner
                found.append(each)
    for each in found:
        if each.owner and each.owner.made and each.owner.made.kind == "bridge":
            each.mtu = each.mtu or each.owner.mtu
    return found
