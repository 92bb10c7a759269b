"""Bonds, bridges and dummies: what their options become, and which mode supports which."""

import pytest

from k3os.config.check import check_cmdline, check_text
from k3os.config.fields import BOND_FIELDS, BRIDGE_FIELDS
from k3os.config.made import BOND, BRIDGE_TIMES, MODES, NEEDS, OF_STP, of_entry
from k3os.config.members import with_members
from k3os.config.network import Interface, interfaces
from k3os.config.value import Value, plain

ALL_MODES = next(field for field in BOND_FIELDS if field.name == "mode").values


def entries_of(text: str) -> dict[str, Value]:
    values, problems = check_text(f"k3os: {{network: {{{text}}}}}".encode(), "c")
    assert [str(each) for each in problems] == []
    data = values["k3os.network"].data
    assert isinstance(data, dict)
    return data


def refused(text: str) -> str:
    _, problems = check_text(f"k3os: {{network: {{{text}}}}}".encode(), "c")
    return "\n".join(str(each) for each in problems)


def words(text: str, kind: str = "bond") -> str:
    (value,) = entries_of(f"x0: {{{kind}: {{{text}}}}}").values()
    assert isinstance(value.data, dict)
    made = of_entry(value.data)
    assert made
    return " ".join(made.words)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("mode: active-backup", "mode active-backup miimon 100"),
        ("mode: active-backup, primary: eth1", "mode active-backup miimon 100"),
        ("mode: 802.3ad, lacp-rate: fast", "mode 802.3ad miimon 100 lacp_rate fast"),
        ("mode: 802.3ad, LACP_Rate: fast, miimon: 50", "mode 802.3ad miimon 50 lacp_rate fast"),
        (
            "mode: balance-xor, xmit_hash_policy: layer3+4, all_members_active: yes",
            "mode balance-xor miimon 100 xmit_hash_policy layer3+4 all_slaves_active 1",
        ),
        (
            "mode: balance-rr, arp_interval: 200, arp_ip_targets: [10.0.0.1, 10.0.0.2]",
            "mode balance-rr arp_interval 200 arp_ip_target 10.0.0.1,10.0.0.2",
        ),
        (
            "mode: 802.3ad, mii_monitor_interval: 50, up_delay: 100, down_delay: 0, min_links: 1",
            "mode 802.3ad miimon 50 updelay 100 downdelay 0 min_links 1",
        ),
    ],
)
def test_the_options_of_a_bond_are_those_of_ip_link(fields: str, expected: str) -> None:
    assert words(f"interfaces: [eth0, eth1], {fields}") == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("", "stp_state 0"),
        ("stp: false, ageing_time: 10", "stp_state 0 ageing_time 1000"),
        (
            "stp: true, priority: 4096, forward_delay: 4, hello_time: 1, max_age: 6",
            "stp_state 1 priority 4096 forward_delay 400 hello_time 100 max_age 600",
        ),
    ],
)
def test_the_times_of_a_bridge_are_seconds_to_the_user(fields: str, expected: str) -> None:
    assert words(f"interfaces: [eth0]{', ' if fields else ''}{fields}", "bridge") == expected


def test_every_option_of_the_schema_has_its_word() -> None:
    assert {field.name for field in BOND_FIELDS} == {*BOND, "interfaces", "primary"}
    assert {field.name for field in BRIDGE_FIELDS} == {"interfaces", "stp", *OF_STP, *BRIDGE_TIMES}
    assert {mode for modes in MODES.values() for mode in modes} <= set(ALL_MODES)
    assert MODES.keys() | NEEDS.keys() <= {field.name for field in BOND_FIELDS}


# a value for each option that not all modes support, and the options it needs
VALUES = {
    "lacp_rate": "fast",
    "ad_select": "count",
    "min_links": "1",
    "transmit_hash_policy": "layer2+3",
    "primary": "eth0",
    "primary_reselect_policy": "better, primary: eth0",
    "fail_over_mac_policy": "active",
    "gratuitous_arp": "2",
    "arp_interval": "100, arp_ip_targets: 10.0.0.1",
    "arp_ip_targets": "10.0.0.1, arp_interval: 100",
    "arp_validate": "all, arp_interval: 100, arp_ip_targets: 10.0.0.1",
    "arp_all_targets": "all, arp_interval: 100, arp_ip_targets: 10.0.0.1",
    "packets_per_member": "2",
    "learn_packet_interval": "2",
}


@pytest.mark.parametrize("option", MODES)
def test_an_option_is_refused_where_the_mode_does_not_know_it(option: str) -> None:
    for mode in ALL_MODES:
        text = f"b: {{bond: {{interfaces: eth0, mode: {mode}, {option}: {VALUES[option]}}}}}"
        said = refused(text)
        assert (f"mode {mode} knows no " in said) == (mode not in MODES[option]), (mode, said)
        assert bool(said) == (mode not in MODES[option]), said


BOTH = "bond0: {bond: {mode: active-backup, interfaces: [eth0, eth1]}}"


def test_members_have_no_addresses_and_an_entry_of_their_own_or_none() -> None:
    right, wrong = interfaces(entries_of(f"{BOTH}, eth1: {{mtu: 9000}}"))
    assert wrong == []
    found = {each.name: each for each in with_members(right)}
    assert list(found) == ["bond0", "eth1", "eth0"]
    for name in ("eth0", "eth1"):
        owner = found[name].owner
        assert owner is not None
        assert (owner.name, found[name].dhcp, found[name].addresses) == ("bond0", False, [])
    assert found["bond0"].dhcp


def test_the_ports_of_a_bridge_take_what_the_bridge_takes() -> None:
    entries = entries_of(
        "br0: {bridge: {interfaces: [eth0, eth1, eth2.5]}, mtu: 9000}, eth1: {mtu: 9216}"
    )
    right, _ = interfaces(entries)
    sizes = {each.name: each.mtu for each in with_members(right)}
    assert sizes == {"br0": "9000", "eth0": "9000", "eth1": "9216", "eth2.5": "9000"}


@pytest.mark.parametrize(
    ("entry", "device"),
    [
        ("br0: {bridge: {interfaces: eth0}}", "to-br0"),
        ("br-lan: {bridge: {interfaces: eth0}, address: 10.0.0.2/24}", "to-br-lan"),
        ("br0: {bridge: {interfaces: eth0}, address: off}", "br0"),
        ("br0: {bridge: {interfaces: eth0}, vlan: 5}", "br0.5"),
        ("bond0: {bond: {mode: broadcast, interfaces: eth0}}", "bond0"),
        ("bond0: {bond: {mode: broadcast, interfaces: eth0}, vlan: 5}", "bond0.5"),
        ("dummy0: {dummy: true, address: 192.0.2.1/32}", "dummy0"),
    ],
)
def test_the_addresses_go_to_what_connman_can_look_after(entry: str, device: str) -> None:
    ((name, value),) = entries_of(entry).items()
    assert isinstance(value.data, dict)
    assert Interface(name, value.data).device == device


def test_what_is_made_of_wrong_things_leaves_their_interfaces_to_dhcp() -> None:
    """A half-configured network would lock people out."""
    text = f"{BOTH}, bond1: {{bond: {{mode: broadcast, interfaces: [eth2, eth1]}}}}, eth2: dhcp"
    assert "eth1 is in bond0 already" in refused(text)
    values, _ = check_text(f"k3os: {{network: {{{text}}}}}".encode(), "c")
    data = values["k3os.network"].data
    assert isinstance(data, dict)
    right, _ = interfaces(data)
    assert {each.name: (each.owner is None, each.dhcp) for each in right} == {
        "bond0": (True, True),
        "eth2": (True, True),
    }


def test_many_bridges_in_a_row_are_no_circle_and_one_that_closes_is() -> None:
    number = 300
    rows = [
        f"br{n}: {{bridge: {{interfaces: [br{n + 1}.5]}}, address: off}}" for n in range(number)
    ]
    last = f"br{number}: {{bridge: {{interfaces: eth0}}, address: off}}"
    assert refused(", ".join([*rows, last])) == ""
    back = f"br{number}: {{bridge: {{interfaces: br0.5}}, address: off}}"
    assert refused(", ".join([*rows, back])).count("a member of itself") == number + 1


def test_members_can_be_named_on_the_command_line() -> None:
    name = "k3os.network[bond0].bond"
    line = f"{name}.mode=802.3ad {name}.interfaces=eth0 {name}.interfaces=eth1"
    values, problems = check_cmdline(line)
    assert problems == []
    data = plain(values["k3os.network"])
    assert data == {"bond0": {"bond": {"mode": "802.3ad", "interfaces": ["eth0", "eth1"]}}}
