"""`match` of k3os.network: which interfaces of a machine an entry applies to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from k3os.config.match import Match
from k3os.config.value import Place, Value
from k3os.node import network_matched
from k3os.phases.cards import Card, cards, path_of
from k3os.phases.network_plan import entries_in, is_awaited
from k3os.phases.node import Node
from k3os.phases.phase_report import PhaseReport

from .conftest import Machine
from .test_network import PLAN, UDEV, connman, network, replugged

FIRST, SECOND = "52:54:00:00:00:01", "52:54:00:00:00:02"
PCI = "pci0000:00/pci=0000:00:0"


def plug(
    machine: Machine, name: str, mac: str, where: str, driver: str = "igb", more: str = ""
) -> None:
    """where: below /sys/devices, each part with its bus: `pci=0000:00:03.0/virtio=virtio0`."""
    device = machine.root / "sys/devices"
    for part in where.split("/"):
        bus, _, own = part.rpartition("=")
        device /= own
        device.mkdir(parents=True, exist_ok=True)
        if bus and not (device / "subsystem").is_symlink():
            (device / "subsystem").symlink_to(f"/sys/bus/{bus}")
    if driver:
        (device / "driver").symlink_to(f"/sys/bus/any/drivers/{driver}")
    own_directory = device / "net" / name
    own_directory.mkdir(parents=True)
    (own_directory / "address").write_text(f"{mac}\n")
    (own_directory / "uevent").write_text(f"{more}INTERFACE={name}\n")
    (own_directory / "device").symlink_to("../..")
    links = machine.root / "sys/class/net"
    links.mkdir(parents=True, exist_ok=True)
    (links / name).symlink_to(os.path.relpath(own_directory, links))


# ID_PATH as shown by udevadm(8) on such machines
PATHS = {
    "pci0000:00/pci=0000:00:1f.6": "pci-0000:00:1f.6",
    "pci0000:00/pci=0000:00:03.0/virtio=virtio2": "pci-0000:00:03.0",
    # behind a bridge, which is not part of the name
    "pci0000:00/pci=0000:00:1c.0/pci=0000:02:00.0": "pci-0000:02:00.0",
    "pci0000:00/pci=0000:00:14.0/usb=usb1/usb=1-1/usb=1-1.2/usb=1-1.2:1.0": (
        "pci-0000:00:14.0-usb-0:1.2:1.0"
    ),
    "platform=scb/platform=fd580000.ethernet": "platform-fd580000.ethernet",
    "platform=fd500000.pcie/pci0000:00/pci=0000:00:00.0/pci=0000:01:00.0": (
        "platform-fd500000.pcie-pci-0000:01:00.0"
    ),
    "xen=vif-0": "xen-vif-0",
    "virtual": "",
}


@pytest.mark.parametrize("where", PATHS)
def test_a_cards_place_is_called_as_udev_calls_it(machine: Machine, where: str) -> None:
    plug(machine, "eth0", FIRST, where)
    assert cards(Node(str(machine.root))) == [Card("eth0", FIRST, "igb", PATHS[where])]


def test_what_is_no_card_is_not_looked_at(machine: Machine) -> None:
    plug(machine, "eth0", FIRST, f"{PCI}3.0")
    for name, more in (
        ("lo", ""),
        ("eth0.5", "DEVTYPE=vlan\n"),
        ("bond0", "DEVTYPE=bond\n"),
        ("wlan0", "DEVTYPE=wlan\n"),
        ("wlp2s0", ""),
        ("veth1234", ""),
        ("cni0", "DEVTYPE=bridge\n"),
    ):
        plug(machine, name, SECOND, f"virtual/{name}", "", more)
    assert [each.name for each in cards(Node(str(machine.root)))] == ["eth0"]
    assert cards(Node(str(machine.root / "nowhere"))) == []


def test_a_place_outside_of_the_devices_has_no_name(tmp_path: Path) -> None:
    assert path_of(str(tmp_path), str(tmp_path / "elsewhere")) == ""


CARD = Card("enp2s0", FIRST, "e1000e", "pci-0000:02:00.0")
FITS = {
    "name: enp2s0": True,
    "name: enp*": True,
    "name: [eth*, en?2s0]": True,
    "name: eth*": False,
    "driver: e1000e": True,
    "driver: e1000": False,
    "driver: [igb, e1000*]": True,
    "path: pci-0000:02:00.0": True,
    "path: 'pci-0000:0[12]:*'": True,
    "path: 'pci-0000:03:*'": False,
    "name: enp*, driver: igb": False,
    "name: enp*, driver: e1000e, path: '*'": True,
}


@pytest.mark.parametrize("text", FITS)
def test_all_that_is_said_must_fit(text: str) -> None:
    from k3os.config.check import check_text

    values, problems = check_text(network(f"lan: {{match: {{{text}}}}}").encode(), "c")
    assert not problems
    entries = values["k3os.network"].data
    assert isinstance(entries, dict)
    entry = entries["lan"].data
    assert isinstance(entry, dict)
    fields = entry["match"].data
    assert isinstance(fields, dict)
    assert Match(fields).fits(CARD) is FITS[text]


def test_nothing_fits_a_card_without_what_is_asked_for() -> None:
    place = Place("c")
    match = Match({"driver": Value([Value("igb", place)], place)})
    assert not match.fits(Card("eth0", FIRST))
    assert str(match) == "driver igb"


def two_cards(machine: Machine) -> None:
    plug(machine, "eth0", FIRST, f"{PCI}3.0", "igb")
    plug(machine, "eth1", SECOND, f"{PCI}4.0", "e1000e")


def reasons(report: PhaseReport) -> list[str]:
    return [f"{each.key}: {each.reason.splitlines()[0]}" for each in report.failed]


def plan(machine: Machine) -> list[dict]:
    return entries_in(machine.text(PLAN).encode())


def test_an_entry_goes_to_the_card_that_it_fits(machine: Machine) -> None:
    two_cards(machine)
    lan = "lan: {match: {driver: e1000e}, address: 10.0.0.2/24, mtu: 1400, wake_on_lan: yes}"
    assert machine.apply("boot", network(lan)).is_fine
    assert connman(machine) == {
        "k3os-network-eth1.config": (
            "[service_k3os_eth1]\nType=ethernet\nDeviceName=eth1\nIPv4=10.0.0.2/24\nIPv6=auto\n"
        )
    }
    add = 'ACTION=="add", SUBSYSTEM=="net", KERNEL=="eth1", '
    assert machine.text(UDEV).splitlines() == [
        f'{add}ATTR{{mtu}}="1400"',
        f'{add}RUN+="/usr/sbin/ethtool -s $name wol g"',
    ]
    assert [(each["device"], each["name"]) for each in plan(machine)] == [("eth1", "lan")]
    assert not (machine.root / "run/k3os/network-links").exists()


def test_an_entry_may_fit_several_and_a_more_exact_one_comes_first(machine: Machine) -> None:
    two_cards(machine)
    plug(machine, "eth2", "52:54:00:00:00:03", f"{PCI}5.0")
    every = "every: {match: {name: 'eth*'}, mtu: 9000, use_dns: no, wake_on_lan: no}"
    report = machine.apply("boot", network(f"{every}, '{FIRST}': 10.0.0.2/24"))
    assert report.is_fine
    named = {each["device"]: each["name"] for each in plan(machine)}
    assert named == {FIRST: FIRST, "eth1": "every", "eth2": "every"}
    assert machine.text(UDEV).count("wol d") == 2


@pytest.mark.parametrize(
    "said, what",
    [
        ("address: 10.0.0.2/24", "the address 10.0.0.2/24"),
        ("address: dhcp, gateway: 10.0.0.1", "the gateway 10.0.0.1"),
        ("fallback_address: 10.0.0.2/24", "the address 10.0.0.2/24"),
    ],
)
def test_two_cards_do_not_both_get_what_one_alone_can_have(
    machine: Machine, said: str, what: str
) -> None:
    """Both use DHCP instead, so the node is reachable."""
    two_cards(machine)
    report = machine.apply("boot", network(f"lan: {{match: {{name: 'eth*'}}, {said}}}"))
    assert reasons(report) == [
        f"k3os.network.lan: fits eth0 and eth1, and one alone can have {what}; say more in "
        "`match`, e.g. `path`: `k3os network show` has it"
    ]
    assert connman(machine) == {} if (machine.root / "var/lib/connman").exists() else True
    assert plan(machine) == []


def test_members_and_vlans_may_be_called_by_an_entry(machine: Machine) -> None:
    two_cards(machine)
    ports = "ports: {match: {name: 'eth*'}}, bond0: {bond: {mode: 802.3ad, interfaces: ports}}"
    assert machine.apply("boot", network(ports)).is_fine
    made = next(each["made"] for each in plan(machine) if each["made"])
    assert made["members"] == ["eth0", "eth1"]
    lan = "lan: {match: {driver: igb}}, lan.7: 10.7.0.2/24"
    assert machine.apply("boot", network(lan)).is_fine
    assert "name eth0.7 type vlan id 7" in machine.text(UDEV)
    report = machine.apply("boot", network("lan: {match: {name: 'eth*'}}, lan.7: 10.7.0.2/24"))
    assert reasons(report) == [
        "k3os.network.lan.7: is on lan, which fits eth0 and eth1; name one of them"
    ]


def test_where_nothing_fits_yet_the_entry_waits_and_nobody_else_is_touched(
    machine: Machine,
) -> None:
    """Even if the entry is named like an existing interface."""
    two_cards(machine)
    lan = network("eth1: {match: {driver: r8169}, address: 10.0.0.2/24}")
    machine.put("var/lib/connman/mine.config", "[service_mine]\n")
    assert machine.apply("boot", lan).is_fine
    assert list(connman(machine)) == ["mine.config"]
    (entry,) = plan(machine)
    assert is_awaited(entry["device"]) and entry["match"] == "driver r8169"
    assert machine.text(UDEV) == (
        'ACTION=="add", SUBSYSTEM=="net", DRIVERS=="?*", ENV{SYSTEMD_WANTS}+="k3os-links.service"\n'
    )
    assert (machine.root / "run/k3os/network-links").exists()
    plug(machine, "eth2", "52:54:00:00:00:03", "usb=usb1/usb=1-1/usb=1-1:1.0", "r8169")
    report = machine.apply("runtime")
    assert replugged(report) == ["eth2"]
    assert "DeviceName=eth2\nIPv4=10.0.0.2/24" in "".join(connman(machine).values())
    assert not (machine.root / "run/k3os/network-links").exists()


def test_before_connman_starts_a_card_is_waited_for_with_an_end(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.apply("boot", network("lan: {match: {driver: igb}, address: 10.0.0.2/24}"))
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds
        if now[0] > 3 and not (machine.root / "sys/class/net/eth0").exists():
            plug(machine, "eth0", FIRST, f"{PCI}3.0")

    node = Node

    def here(root: str, phase: str) -> Node:
        return node(str(machine.root), phase)

    from k3os.config import load

    load_config = load.load_config
    monkeypatch.setattr(network_matched, "PLAN", str(machine.root / PLAN))
    monkeypatch.setattr(network_matched, "_is_running", lambda: False)
    monkeypatch.setattr(network_matched.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(network_matched.time, "sleep", sleep)
    monkeypatch.setattr("k3os.phases.node.Node", here)
    monkeypatch.setattr(
        load, "load_config", lambda *_, **__: load_config(str(machine.root), cmdline="")
    )
    done = network_matched.look_again()
    assert 3 < now[0] < 4
    assert any("k3os-network-eth0.config" in each for each in done)
    assert "DeviceName=eth0\n" in "".join(connman(machine).values())
    assert network_matched.look_again() == [], "each has one now"
