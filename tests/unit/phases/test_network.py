"""k3os.network: the files for connman and udev, and which routes are corrected afterwards."""

import json
import os
from pathlib import Path

import pytest

from k3os.phases import routes as settling
from k3os.phases.ip_output import link_of
from k3os.phases.network_plan import LEARNED
from k3os.phases.phase_report import PhaseReport
from k3os.phases.replug import undo
from k3os.phases.routes import coming, decide, set_routes
from k3os.system.run import run

from .conftest import Machine

CONNMAN = "var/lib/connman"
UDEV = "etc/udev/rules.d/70-k3os-network.rules"
PLAN = "run/k3os/network.json"


def network(entries: str) -> str:
    return f"k3os: {{network: {{{entries}}}}}\n"


def connman(machine: Machine) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted((machine.root / CONNMAN).iterdir())}


def test_a_static_address_is_provisioned_for_its_interface_only(machine: Machine) -> None:
    machine.apply(
        "boot",
        network(
            "eth0: {address: [192.168.1.10/24, 'fd00::10/64'], gateway: 192.168.1.1, "
            "nameserver: [192.168.1.1, 9.9.9.9], domain: a.example}, eth1: dhcp"
        ),
    )
    assert connman(machine) == {
        "k3os-network-eth0.config": (
            "[service_k3os_eth0]\nType=ethernet\nDeviceName=eth0\n"
            "IPv4=192.168.1.10/24/192.168.1.1\nIPv6=fd00::10/64\n"
            "Nameservers=192.168.1.1,9.9.9.9\nSearchDomains=a.example\n"
        ),
    }, "eth1 does what it does anyway"
    assert machine.mode(f"{CONNMAN}/k3os-network-eth0.config") == 0o600
    assert machine.text(UDEV) == ""


def test_an_interface_can_be_named_by_its_mac_in_any_notation(machine: Machine) -> None:
    machine.apply("boot", network("52-54-00-AA-bb-01: 10.0.0.2/8"))
    assert connman(machine) == {
        "k3os-network-52:54:00:aa:bb:01.config": (
            "[service_k3os_52_54_00_aa_bb_01]\nType=ethernet\nMAC=52:54:00:aa:bb:01\n"
            "IPv4=10.0.0.2/8\nIPv6=auto\n"
        )
    }


def test_only_ipv6_means_no_ipv4_and_off_means_nothing(machine: Machine) -> None:
    machine.apply("boot", network("eth0: 'fd00::1/64', eth1: off"))
    text = "".join(connman(machine).values())
    assert "DeviceName=eth0\nIPv4=off\nIPv6=fd00::1/64\n" in text
    assert "DeviceName=eth1\nIPv4=off\nIPv6=off\n" in text


def test_a_vlan_is_made_when_its_interface_appears(machine: Machine) -> None:
    machine.apply(
        "boot",
        network(
            "eth0: {vlan: 9, address: 10.9.0.2/24, mtu: 9000}, eth1.7: dhcp, eth2: {mtu: 1400}"
        ),
    )
    add = 'ACTION=="add", SUBSYSTEM=="net", KERNEL=='
    run = 'RUN+="/usr/sbin/ip link add link $name name'
    assert machine.text(UDEV).splitlines() == [
        f'{add}"eth0", {run} eth0.9 type vlan id 9"',
        f'{add}"eth0", ATTR{{mtu}}="9000"',
        f'{add}"eth0.9", ATTR{{mtu}}="9000"',
        f'{add}"eth1", {run} eth1.7 type vlan id 7"',
        f'{add}"eth2", ATTR{{mtu}}="1400"',
    ]
    text = "".join(connman(machine).values())
    assert "DeviceName=eth0.9\nIPv4=10.9.0.2/24" in text
    assert "DeviceName=eth0\nIPv4=off\nIPv6=off" in text
    assert "DeviceName=eth1\n" not in text


def test_the_interface_below_takes_the_largest_frames_of_the_vlans_on_it(machine: Machine) -> None:
    """The kernel refuses an MTU of a VLAN that is larger than that of its parent."""
    jumbo = "eth0.5: {mtu: 9000}, eth0.6: {mtu: 4000}, eth1.5: {mtu: 1400}"
    machine.apply("boot", network(f"{jumbo}, eth2.5: {{mtu: 3000}}, eth2: {{mtu: 9000}}"))
    rules = [line.partition('SUBSYSTEM=="net", ')[2] for line in machine.text(UDEV).splitlines()]
    assert [line for line in rules if "mtu" in line and ".5" not in line and ".6" not in line] == [
        'KERNEL=="eth0", ATTR{mtu}="9000"',
        'KERNEL=="eth2", ATTR{mtu}="9000"',
    ]


def test_a_mac_and_a_name_of_one_interface_are_not_both_followed(machine: Machine) -> None:
    for name, mac in (("eth0", "52:54:00:00:00:01"), ("eth1", "52:54:00:00:00:02")):
        machine.put(f"sys/class/net/{name}/address", f"{mac}\n")
    report = machine.apply("boot", network("eth0: dhcp, 52:54:00:00:00:01: 10.0.0.2/24"))
    (line,) = [each for each in report.lines() if "52:54:00:00:00:01" in each]
    assert "is eth0, which another entry describes; keep one of the two" in line
    assert not list(machine.root.glob(f"{CONNMAN}/*"))
    vlan = "{vlan: 9, address: 10.9.0.2/24}"
    report = machine.apply("boot", network(f"eth1: dhcp, 52:54:00:00:00:02: {vlan}"))
    assert report.is_fine


def test_with_vlans_a_mac_is_the_hardware_and_not_the_vlan_on_it(machine: Machine) -> None:
    machine.put("sys/class/net/eth1/address", "52:54:00:00:00:02\n")
    machine.put("sys/class/net/eth1/uevent", "INTERFACE=eth1\n")
    machine.put("sys/class/net/eth1.9/address", "52:54:00:00:00:02\n")
    machine.put("sys/class/net/eth1.9/uevent", "DEVTYPE=vlan\nINTERFACE=eth1.9\n")
    machine.apply("boot", network("52:54:00:00:00:02: 10.0.0.2/24, eth1.9: 10.9.0.2/24"))
    text = "".join(connman(machine).values())
    assert "DeviceName=eth1\nIPv4=10.0.0.2/24" in text
    assert "DeviceName=eth1.9\nIPv4=10.9.0.2/24" in text
    assert "MAC=" not in text


def test_what_two_sources_say_together_is_checked_again(machine: Machine) -> None:
    machine.put("var/lib/rancher/k3os/config.yaml", network("eth0: {gateway: 10.1.0.1}, eth1: off"))
    report = machine.apply("boot", network("eth0: {address: 10.0.0.2/24}"))
    (failed,) = report.failed
    assert failed.key == "k3os.network.eth0"
    assert failed.reason.splitlines()[0].startswith("10.1.0.1 is not in the network")
    assert "10.0.0.0/24" in failed.reason
    names = ["k3os-network-eth1.config"]
    assert list(connman(machine)) == names, "half a network is worse than none"


def test_interfaces_that_leave_the_configuration_are_forgotten(machine: Machine) -> None:
    machine.put(f"{CONNMAN}/k3os-network.config", "[service_k3os_eth7]\n")  # an old version's
    machine.put(f"{CONNMAN}/mine.config", "[service_mine]\n")
    machine.apply("boot", network("eth0: 10.0.0.2/24"))
    assert list(connman(machine)) == ["k3os-network-eth0.config", "mine.config"]
    machine.apply("boot", "hostname: a\n")
    assert list(connman(machine)) == ["mine.config"]
    assert json.loads(machine.text(PLAN)) == []


def replugged(report: PhaseReport) -> list[str]:
    """The interfaces that go down for a change, according to the report."""
    words = [each.what.rpartition("; take ")[2] for each in report.results]
    return [each.removesuffix(" down for it") for each in words if each.endswith("for it")]


def test_on_a_running_node_only_interfaces_that_change_go_down(machine: Machine) -> None:
    fixed = "eth1: 10.0.0.2/24, eth2: 10.2.0.2/24"
    machine.apply("boot", network(fixed))
    assert replugged(machine.apply("runtime")) == []
    assert replugged(machine.apply("runtime", network(f"eth0: dhcp, {fixed}"))) == []
    more = network("eth0: dhcp, eth1: [10.0.0.2/24, 10.0.0.3/24], eth2: {nameserver: 10.2.0.1}")
    assert replugged(machine.apply("runtime", more)) == ["eth2"]
    assert "Nameservers=10.2.0.1\n" in machine.text(f"{CONNMAN}/k3os-network-eth2.config")
    assert replugged(machine.apply("runtime", more)) == []
    assert replugged(machine.apply("runtime", "hostname: a\n")) == ["eth1, eth2"]
    assert connman(machine) == {}


def link(name: str, *addresses: str, mac: str = "", kind: str = "") -> dict:
    info = []
    for address in addresses:
        local, _, length = address.partition("/")
        family = "inet6" if ":" in local else "inet"
        info.append({"family": family, "local": local, "prefixlen": int(length), "scope": "global"})
    found = {"ifname": name, "address": mac, "addr_info": info}
    return {**found, "linkinfo": {"info_kind": kind}} if kind else found


def entry(
    device: str,
    *gateways: str,
    static: tuple = (4,),
    more: tuple = (),
    first: tuple = ("10.1.0.2/24",),
    **others: object,
) -> dict:
    return {
        **LEARNED,
        **others,
        "fixed": [*(first if static else ()), *more],
        "device": device,
        "gateways": list(gateways),
        "static": list(static),
        "dhcp": not static,
        "more": list(more),
    }


def default(device: str, gateway: str = "", metric: int = 0) -> dict:
    route = {"dst": "default", "dev": device}
    route |= {"gateway": gateway} if gateway else {}
    return route | ({"metric": metric} if metric else {})


def words(commands: list) -> list[str]:
    return [" ".join(each) for each in commands]


LINKS = [link("eth0", "10.0.2.15/24"), link("eth1", "10.1.0.2/24", mac="52:54:00:00:00:02")]
LOW = 4294964223


def test_the_default_route_is_the_one_asked_for_and_the_others_go() -> None:
    routes = [default("eth0", "10.0.2.2"), default("eth1", "10.1.0.1", LOW)]
    commands = decide([entry("52:54:00:00:00:02", "10.1.0.1")], LINKS, {4: routes, 6: []})
    assert words(commands) == [
        "ip -4 route replace default via 10.1.0.1 dev eth1",
        "ip -4 route delete default via 10.0.2.2 dev eth0",
        f"ip -4 route delete default via 10.1.0.1 dev eth1 metric {LOW}",
    ]


def test_nothing_is_done_when_all_is_right() -> None:
    routes = [default("eth1", "10.1.0.1"), {"dst": "10.1.0.0/24", "dev": "eth1"}]
    assert decide([entry("eth1", "10.1.0.1")], LINKS, {4: routes, 6: []}) == []


def test_without_an_address_on_the_chosen_interface_any_way_out_stays() -> None:
    links = [link("eth0", "10.0.2.15/24"), link("eth1")]
    routes = [default("eth0", "10.0.2.2")]
    assert decide([entry("eth1", "10.1.0.1")], links, {4: routes, 6: []}) == []


def test_a_static_interface_without_a_gateway_has_no_default_route() -> None:
    routes = [
        {"dst": "0.0.0.0", "dev": "eth1"},
        default("eth1"),
        default("eth0", "10.0.2.2", LOW),
    ]
    assert words(decide([entry("eth1")], LINKS, {4: routes, 6: []})) == [
        "ip route delete 0.0.0.0/32 dev eth1",
        "ip -4 route delete default dev eth1",
    ]


def test_routes_of_network_plugins_and_router_advertisements_are_left_alone() -> None:
    links = [*LINKS, link("cilium_host", "10.9.0.1/32", kind="veth")]
    routes = [default("eth1", "10.1.0.1"), default("cilium_host")]
    advertised = [{**default("eth0", "fe80::1", 1024), "protocol": "ra"}]
    entries = [entry("eth1", "10.1.0.1")]
    assert decide(entries, links, {4: routes, 6: advertised}) == []


def test_further_addresses_are_added_once() -> None:
    entries = [entry("eth1", more=("10.1.0.3/24", "10.1.0.4/24"))]
    links = [link("eth1", "10.1.0.2/24", "10.1.0.4/24")]
    assert words(decide(entries, links, {4: [], 6: []})) == ["ip address add 10.1.0.3/24 dev eth1"]


def test_the_address_that_connman_brings_is_the_first() -> None:
    entries = [entry("eth1", more=("10.1.0.3/24",))]
    assert decide(entries, [link("eth1")], {4: [], 6: []}) == []
    beside_dhcp = [entry("eth1", static=(), more=("10.1.0.3/24",))]
    assert words(decide(beside_dhcp, [link("eth1")], {4: [], 6: []})) == [
        "ip address add 10.1.0.3/24 dev eth1"
    ]


def test_an_address_that_took_the_first_ones_place_goes_behind_it_again() -> None:
    entries = [entry("eth1", more=("10.1.0.3/24", "10.1.0.4/24", "10.2.0.3/24"))]
    there = link("eth1", "10.1.0.3/24", "10.1.0.2/24", "10.1.0.4/24", "10.2.0.3/24")
    for number in (1, 2):  # ip(8) marks all but the first of a network
        there["addr_info"][number]["secondary"] = True
    assert words(decide(entries, [there], {4: [], 6: []})) == [
        "ip address delete 10.1.0.3/24 dev eth1",
        "ip address replace 10.1.0.2/24 brd + dev eth1",
        "ip address add 10.1.0.3/24 dev eth1",
    ]
    there["addr_info"][0]["secondary"], there["addr_info"][1]["secondary"] = True, False
    assert decide(entries, [there], {4: [], 6: []}) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a network namespace")
@pytest.mark.parametrize("promote", [0, 1])
def test_the_kernel_keeps_every_address_when_their_order_is_put_right(promote: int) -> None:
    inside = ["ip", "netns", "exec", name := f"k3os-test-{os.getpid()}"]
    run(["ip", "netns", "add", name])
    try:
        run([*inside, "sysctl", f"net.ipv4.conf.all.promote_secondaries={promote}"])
        run([*inside, *"ip link add eth1 type veth peer name eth2".split()])
        for device in ("eth2", "eth1"):
            run([*inside, "ip", "link", "set", device, "up"])
        for address in ("10.1.0.3/24", "10.1.0.2/24", "10.2.0.3/24"):  # connman's came second
            run([*inside, "ip", "address", "add", address, "dev", "eth1"])
        show = [*inside, *"ip -json -4 address show".split()]
        entries = [entry("eth1", more=("10.1.0.3/24", "10.2.0.3/24"))]
        for command in decide(entries, json.loads(run(show)), {4: [], 6: []}):
            run([*inside, *command])
        links = json.loads(run(show))
        assert decide(entries, links, {4: [], 6: []}) == []
        run([*inside, "ip", "route", "add", "default", "via", "10.1.0.1"])
        there = [each["local"] for each in link_of("eth1", links)["addr_info"]]
        assert sorted(there) == ["10.1.0.2", "10.1.0.3", "10.2.0.3"]
        assert b"src 10.1.0.2" in run([*inside, "ip", "route", "get", "192.0.2.1"])
    finally:
        run(["ip", "netns", "delete", name])


def test_an_interface_that_is_not_there_changes_nothing() -> None:
    entries = [entry("eth7", "10.7.0.1", more=("10.7.0.3/24",))]
    assert decide(entries, LINKS, {4: [default("eth0", "10.0.2.2")], 6: []}) == []


def planned(entries: str, machine: Machine) -> list[dict]:
    machine.apply("boot", network(entries) if entries else "hostname: a\n")
    found: list[dict] = json.loads(machine.text(PLAN))
    return found


@pytest.mark.parametrize(
    ("before", "after", "commands"),
    [
        ("eth1: [10.1.0.2/24, 10.1.0.3/24]", "eth1: [10.1.0.2/24, 10.1.0.3/24]", []),
        # the first one is connman's
        ("eth1: [10.1.0.2/24, 10.1.0.3/24]", "eth1: 10.1.0.3/24", []),
        (
            "eth1: [10.1.0.2/24, 10.1.0.3/24]",
            "eth1: 10.1.0.2/24",
            ["ip address delete 10.1.0.3/24 dev eth1"],
        ),
        ("eth1: [10.1.0.2/24, 10.1.0.3/24]", "", ["ip address delete 10.1.0.3/24 dev eth1"]),
        ("eth1: [10.1.0.2/24, 10.1.0.9/24]", "", []),
        ("eth1.7: dhcp", "", ["ip link delete dev eth1.7"]),
        ("eth1: {vlan: 7}", "eth1.7: dhcp", []),
        ("eth1.8: dhcp", "", []),
        ("eth1: {mtu: 1400}", "eth1: dhcp", ["ip link set dev eth1 mtu 1500"]),
        ("eth1: {mtu: 1400}", "eth1: {mtu: 1300}", []),
        (
            "eth1: {vlan: 7, mtu: 1400}",
            "eth1: {vlan: 7}",
            ["ip link set dev eth1 mtu 1500", "ip link set dev eth1.7 mtu 1500"],
        ),
    ],
)
def test_what_nothing_asks_for_any_more_is_undone(
    machine: Machine, before: str, after: str, commands: list[str]
) -> None:
    links = [
        link("eth1", "10.1.0.2/24", "10.1.0.3/24", "192.168.7.7/32"),
        link("eth1.7", "10.7.0.2/24", kind="vlan"),
    ]
    former, now = planned(before, machine), planned(after, machine)
    assert sorted(words(undo(former, now, links))) == commands


def plugged(name: str, *addresses: str, kind: str = "", cable: bool = True) -> dict:
    flags = ["BROADCAST", "UP", *(["LOWER_UP"] if cable else [])]
    return {**link(name, *addresses, kind=kind), "link_type": "ether", "flags": flags}


STORAGE = plugged("eth1", "10.1.0.2/24")
NO_ROUTES: dict = {4: [default("eth1")], 6: []}


def test_beside_a_fixed_address_without_a_gateway_dhcp_may_still_bring_one() -> None:
    links = [plugged("eth0"), STORAGE, plugged("eth2")]
    assert coming([entry("eth1")], links, NO_ROUTES) == ["eth0", "eth2"]


def test_nothing_is_waited_for_where_there_is_a_way_out_or_none_can_come() -> None:
    links = [plugged("eth0"), STORAGE]
    assert coming([entry("eth1", "10.1.0.1")], links, NO_ROUTES) == []
    assert coming([], links, NO_ROUTES) == []
    assert coming([entry("eth1")], links, {4: [default("eth0", "10.0.2.2")], 6: []}) == []
    assert coming([entry("eth1")], links, {4: [], 6: [default("eth0", "fe80::1")]}) == []
    others = [
        plugged("eth0", cable=False),
        plugged("eth0", "10.0.2.15/24"),
        plugged("veth1", kind="veth"),
        {**plugged("eth0"), "master": "br0"},
        {**plugged("lo"), "link_type": "loopback"},
    ]
    for each in others:
        assert coming([entry("eth1")], [each, STORAGE], NO_ROUTES) == []
    assert coming([entry("eth1"), entry("eth0", static=())], links, NO_ROUTES) == []


@pytest.mark.parametrize(("arrives_after", "seconds"), [(3, 3), (99, 10)])
def test_the_way_out_is_waited_for_with_an_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arrives_after: int, seconds: int
) -> None:
    now = [0.0]
    plan = tmp_path / "network.json"
    plan.write_text(json.dumps([entry("eth1")]))

    def there(what: object, instead: object) -> object:
        return what if now[0] >= arrives_after else instead

    monkeypatch.setattr(settling, "PLAN", str(plan))
    monkeypatch.setattr(settling.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(settling.time, "sleep", lambda s: now.__setitem__(0, now[0] + s))
    addressed = plugged("eth0", "10.0.2.15/24")
    monkeypatch.setattr(
        settling, "_look", lambda _: ([there(addressed, plugged("eth0")), STORAGE], [])
    )
    route = default("eth0", "10.0.2.2")
    monkeypatch.setattr(settling, "_routes", lambda: {4: [there(route, {"dst": "x"})], 6: []})
    assert set_routes(wait=10) == ([], [])
    assert now[0] == seconds
