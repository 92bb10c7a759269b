"""Bonds, bridges and dummies in k3os.network: what one entry asks k3OS to create. How entries fit
together is in members.py; k3os.phases.links creates the devices.

The names are netplan's (netplan-yaml(5)); which mode has which option: the kernel's
Documentation/networking/bonding.rst.
"""

from __future__ import annotations

from k3os.config.addresses import LONGEST_NAME, all_of, interface_name
from k3os.config.value import Node, Value, Wrong, field_text
from k3os.system.interfaces import DUMMY, KINDS, NOT_OURS, TO, WIRELESS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.key import Key
    from k3os.config.kinds import Check
    from k3os.config.network import Interface
    from k3os.config.value import Place

# our name of a bond's option -> that of ip-link(8)
BOND = {
    "mode": "mode",
    "mii_monitor_interval": "miimon",
    "up_delay": "updelay",
    "down_delay": "downdelay",
    "lacp_rate": "lacp_rate",
    "ad_select": "ad_select",
    "min_links": "min_links",
    "transmit_hash_policy": "xmit_hash_policy",
    "primary_reselect_policy": "primary_reselect",
    "fail_over_mac_policy": "fail_over_mac",
    "gratuitous_arp": "num_grat_arp",
    "arp_interval": "arp_interval",
    "arp_ip_targets": "arp_ip_target",
    "arp_validate": "arp_validate",
    "arp_all_targets": "arp_all_targets",
    "all_members_active": "all_slaves_active",
    "packets_per_member": "packets_per_slave",
    "learn_packet_interval": "lp_interval",
    "resend_igmp": "resend_igmp",
}
_BACKUP, _LACP, _XOR, _BALANCED = "active-backup", "802.3ad", "balance-xor", "balance-tlb"
_PRIMARY = (_BACKUP, _BALANCED, "balance-alb")
_ARP = ("balance-rr", _BACKUP, _XOR, "broadcast")
# option -> the modes that have it; the others are for all modes
MODES = {
    "lacp_rate": (_LACP,),
    "ad_select": (_LACP,),
    "min_links": (_LACP,),
    "transmit_hash_policy": (_XOR, _LACP, _BALANCED),
    "primary": _PRIMARY,
    "primary_reselect_policy": _PRIMARY,
    "fail_over_mac_policy": (_BACKUP,),
    "gratuitous_arp": (_BACKUP,),
    "arp_interval": _ARP,
    "arp_ip_targets": _ARP,
    "arp_validate": _ARP,
    "arp_all_targets": _ARP,
    "packets_per_member": ("balance-rr",),
    "learn_packet_interval": ("balance-tlb", "balance-alb"),
}
# option -> another one that it requires
NEEDS = {
    "arp_interval": "arp_ip_targets",
    "arp_ip_targets": "arp_interval",
    "arp_validate": "arp_interval",
    "arp_all_targets": "arp_interval",
    "primary_reselect_policy": "primary",
}
# the kernel's default, 0, never checks the link: a dead one would be used forever
USUAL_MONITOR = "100"
MOST_TARGETS = 16
# seconds here, hundredths of a second in ip-link(8)
BRIDGE_TIMES = ("forward_delay", "hello_time", "max_age", "ageing_time")
OF_STP = ("priority", "forward_delay", "hello_time", "max_age")


class Made:
    """A device for k3OS to create. kind: of KINDS; members: names and MACs, in the order of the
    text; words: for ip-link(8) after `type KIND`; primary: a member, "" for none."""

    __slots__ = ("kind", "members", "primary", "words")

    def __init__(self, kind: str, fields: dict[str, Value]) -> None:
        self.kind = kind
        self.members = texts_in(fields, "interfaces")
        self.primary = field_text(fields, "primary")
        self.words = {"bond": _bond_words, "bridge": _bridge_words}.get(kind, _no_words)(fields)


def of_entry(entry: dict[str, Value]) -> Made | None:
    """The device that a checked entry asks for."""
    for kind in KINDS:
        data = entry[kind].data if kind in entry else False
        if isinstance(data, dict) or data is True:
            return Made(kind, data if isinstance(data, dict) else {})
    return None


def _no_words(_fields: dict[str, Value]) -> list[str]:
    return []


def _bond_words(fields: dict[str, Value]) -> list[str]:
    words = []
    if "arp_interval" not in fields and "mii_monitor_interval" not in fields:
        words = ["miimon", USUAL_MONITOR]
    given: list[str] = []
    for name, word in BOND.items():
        if name in fields:
            given += [word, ",".join(texts_in(fields, name))]
    return [*given[:2], *words, *given[2:]]


def _bridge_words(fields: dict[str, Value]) -> list[str]:
    words = ["stp_state", ",".join(texts_in(fields, "stp")) or "0"]
    if "priority" in fields:
        words += ["priority", field_text(fields, "priority")]
    for name in BRIDGE_TIMES:
        if name in fields:
            words += [name, field_text(fields, name) + "00"]
    return words


def texts_in(fields: dict[str, Value], name: str) -> list[str]:
    if name not in fields:
        return []
    data = fields[name].data
    if isinstance(data, bool):
        return [str(int(data))]
    return [str(item.data) for item in data] if isinstance(data, list) else [str(data)]


def interfaces(check: Check, key: Key, node: Node, path: str) -> Value:
    """Members of a bond or bridge; a wrong one makes the whole list wrong."""
    value = all_of(node, interface_name)
    seen: set[str] = set()
    for item in value.data if isinstance(value.data, list) else []:
        check_member(str(item.data), item.place, seen)
    return value


def check_member(name: str, place: Place, seen: set[str]) -> None:
    """seen: the members before this one, which is added. Raises Wrong."""
    if name in seen:
        raise Wrong(place, f"{name} is given twice", "remove one")
    seen.add(name)
    if name.startswith(WIRELESS):
        raise Wrong(place, f"{name} is wireless, and cannot be a member", "take wired interfaces")
    if name == "lo" or name.startswith(tuple(each for each in NOT_OURS if each != DUMMY)):
        raise Wrong(place, f"{name} belongs to somebody else", "take an interface of the machine")


def check_bond(value: Value) -> None:
    """Check the options against the mode and each other. Raises Wrong."""
    fields = value.data
    assert isinstance(fields, dict)
    mode, members = field_text(fields, "mode"), texts_in(fields, "interfaces")
    if not members:
        raise Wrong(value.place, "has no members", "write `interfaces: [eth0, eth1]`")
    for name, item in fields.items():
        if mode not in MODES.get(name, (mode,)):
            hint = f"remove it, or write `mode: {' or '.join(MODES[name])}`"
            raise Wrong(item.place, f"mode {mode} knows no {name}", hint)
        if name in NEEDS and NEEDS[name] not in fields:
            other = NEEDS[name]
            raise Wrong(item.place, f"{name} needs {other}", f"write `{other}: …`")
    if "primary" in fields and field_text(fields, "primary") not in members:
        message = f"{field_text(fields, 'primary')} is not a member"
        raise Wrong(fields["primary"].place, message, "write one of its interfaces")
    targets = texts_in(fields, "arp_ip_targets")
    if any(":" in each for each in targets) or len(targets) > MOST_TARGETS:
        hint = f"write 1 to {MOST_TARGETS} IPv4 addresses"
        raise Wrong(fields["arp_ip_targets"].place, "the kernel can ask only IPv4 addresses", hint)
    _check_times(fields)


def _check_times(fields: dict[str, Value]) -> None:
    if "arp_interval" in fields and "mii_monitor_interval" in fields:
        message = "a bond monitors its links or asks ARP targets, not both"
        raise Wrong(fields["mii_monitor_interval"].place, message, "remove one of the two")
    interval = int(field_text(fields, "mii_monitor_interval") or USUAL_MONITOR)
    for name in ("up_delay", "down_delay"):
        if name not in fields:
            continue
        if "arp_interval" in fields:
            message = f"{name} works only without arp_interval"
            raise Wrong(fields[name].place, message, "remove one of the two")
        if int(field_text(fields, name)) % interval:
            message = f"{field_text(fields, name)} is not a multiple of {interval}"
            hint = "the links are looked at every `mii_monitor_interval`: write a multiple of it"
            raise Wrong(fields[name].place, message, hint)


def check_bridge(value: Value) -> None:
    """Raises Wrong."""
    fields = value.data
    assert isinstance(fields, dict)
    if "stp" not in fields or fields["stp"].data is not True:
        for name in OF_STP:
            if name in fields:
                message = f"{name} has no effect without STP"
                raise Wrong(fields[name].place, message, "remove it, or write `stp: true`")


def check_name(interface: Interface, place: Place) -> None:
    """Whether the device may have this name. Raises Wrong."""
    made, name = interface.made, interface.name
    assert made
    if interface.is_mac or "." in name:
        example = {"bond": "bond0", "bridge": "br0", "dummy": "dummy0"}[made.kind]
        raise Wrong(place, f"a {made.kind} cannot be called that", f"write e.g. `{example}`")
    if made.kind == "dummy":
        if not name.startswith(DUMMY):
            hint = f"write e.g. `{DUMMY}-{name}`"[: LONGEST_NAME + 14]
            raise Wrong(
                place, f"a dummy's name begins with {DUMMY}, which connman leaves alone", hint
            )
    elif name.startswith(NOT_OURS) and not (made.kind == "bridge" and name.startswith("br-")):
        message = "is a name that network plugins, containers and tunnels use"
        raise Wrong(place, message, "take another one, e.g. `bond0` or `br0`")
    if interface.port and len(peer(name)) > LONGEST_NAME:
        most = LONGEST_NAME - len(peer(""))
        raise Wrong(place, f"{peer(name)} is too long for an interface's name", _at_most(most))


def _at_most(number: int) -> str:
    return f"the node's port needs a name, too: take one of at most {number} characters"


def port(name: str) -> str:
    """The name of the node's own port of a bridge: connman, which ignores bridges, gives the
    addresses to it."""
    return f"{TO}{name}"


def peer(name: str) -> str:
    """The name of the port's other end, which is in the bridge. connman ignores it."""
    return f"veth-{name}"


# the fields of a dummy: there is nothing behind it
OF_DUMMY = ("address", "dummy", "mtu")


def check_entry(interface: Interface, value: Value, entry: dict[str, Value]) -> None:
    """Check an entry that asks for a device. Raises Wrong."""
    kinds = [kind for kind in KINDS if kind in entry]
    if len(kinds) > 1:
        raise Wrong(entry[kinds[1]].place, f"is a {kinds[0]} already", "keep one of the two")
    check_name(interface, value.place)
    if "dummy" not in entry:
        return
    for name, item in entry.items():
        if name not in OF_DUMMY:
            raise Wrong(item.place, f"a dummy leads nowhere, so it has no {name}", "remove it")
    if interface.dhcp:
        place = entry["address"].place if "address" in entry else value.place
        hint = "write `address: 192.0.2.1/32`, or `off`"
        raise Wrong(place, "a dummy cannot use DHCP", hint)
