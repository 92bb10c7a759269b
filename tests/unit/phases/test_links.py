"""Bonds, bridges and dummies on a fake kernel, and bridges on the real one."""

import json
import os
from collections.abc import Callable, Iterator, Sequence

import pytest

from k3os.config.value import Place
from k3os.errors import UserError
from k3os.phases import links as made_links
from k3os.phases.ip_output import link_of, links_in
from k3os.phases.links import Make, Unmake, make_links, own_address
from k3os.phases.network_plan import PLAN, entries_in, file_of
from k3os.phases.node import Node
from k3os.system.run import CommandError, run

from .conftest import Machine

SHOW = "ip -json -details address show"
CARDS = {f"eth{number}": f"52:54:00:00:00:0{number}" for number in range(4)}


class Kernel:
    """Interfaces, and what ip(8) does with them. refuses: prefixes of commands that fail."""

    def __init__(self) -> None:
        self.links = {name: {"ifname": name, "address": mac} for name, mac in CARDS.items()}
        self.up: set[str] = set()
        self.done: list[str] = []
        self.refuses: tuple[str, ...] = ()
        self.ups = ""  # the interface that somebody else always brings up again

    def run(self, words: Sequence[str], *, timeout: float = 0, check: bool = True) -> bytes:
        command = " ".join(words)
        if command == SHOW:
            shown = [
                {**each, "flags": ["UP"] if name in self.up else []}
                for name, each in self.links.items()
            ]
            return json.dumps(shown).encode()
        self.done.append(command)
        try:
            if self.refuses and command.startswith(self.refuses):
                raise ValueError("Error: refused.")
            if words[0] == "ip":
                getattr(self, f"{words[1]}_{words[2]}")(*words[3:])
        except ValueError as error:
            if check:
                raise CommandError(list(words), 2, str(error).encode()) from None
        return b""

    def link_add(self, *words: str) -> None:
        given = dict(zip(words[::2], words[1::2], strict=False))
        names = [given["name"]]
        kind = words[words.index("type") + 1]
        if kind == "veth":
            names = [words[1], words[words.index("peer") + 2]]
        if names[0] in self.links:
            raise ValueError("RTNETLINK answers: File exists")
        for name in names:
            mac = given.get("address", "02:00:00:00:00:99")
            self.links[name] = {"ifname": name, "address": mac, "linkinfo": {"info_kind": kind}}

    def link_delete(self, _dev: str, name: str) -> None:
        if name not in self.links:
            raise ValueError(f"Cannot find device {name}")
        kind = self.links.pop(name)["linkinfo"]["info_kind"]
        if kind == "veth":
            self.links.pop(name.replace("to-", "veth-"), None)
        for member in [each for each in self.links.values() if each.get("master") == name]:
            del member["master"]
            if kind == "bond":
                self.up.discard(member["ifname"])
                member["address"] = member.pop("permaddr", member["address"])

    def link_set(self, _dev: str, name: str, *words: str) -> None:
        if words[0] in ("up", "down"):
            (self.up.add if words[0] == "up" or name == self.ups else self.up.discard)(name)
        elif words[0] == "master":
            master = self.links[words[1]]
            if master["linkinfo"]["info_kind"] == "bond":
                if name in self.up:
                    raise ValueError("Error: Device can not be enslaved while up.")
                if self.links[name]["address"] != master["address"]:
                    self.links[name]["permaddr"] = self.links[name]["address"]
                self.links[name]["address"] = master["address"]
                self.up.add(name)
            self.links[name]["master"] = words[1]

    def address_add(self, *_words: str) -> None:
        return

    def address_flush(self, *_words: str) -> None:
        return

    def masters(self) -> dict[str, str]:
        return {name: each["master"] for name, each in self.links.items() if "master" in each}


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    found = Kernel()
    monkeypatch.setattr("k3os.system.run.run", found.run)
    return found


@pytest.fixture
def plan(machine: Machine) -> Callable[[str], list[dict]]:
    """The entries of PLAN for a text of k3os.network."""

    def entries(text: str) -> list[dict]:
        report = machine.apply("boot", f"k3os: {{network: {{{text}}}}}\n")
        assert report.is_fine, report.lines()
        return entries_in(machine.text(PLAN[1:]).encode())

    return entries


Plan = Callable[[str], list[dict]]
BOND = "bond0: {bond: {mode: active-backup, interfaces: [eth1, eth0], primary: eth0}, mtu: 9000}"
BRIDGE = "br0: {bridge: {interfaces: [eth2]}, address: 10.0.0.2/24}"


def test_a_bond_gets_its_first_members_mac_then_its_members_then_its_primary(
    kernel: Kernel, plan: Plan
) -> None:
    kernel.up |= {"eth0", "eth1"}
    assert make_links(plan(BOND)).failed == []
    assert kernel.done == [
        "ip link add name bond0 mtu 9000 address 52:54:00:00:00:01 "
        "type bond mode active-backup miimon 100",
        *("ip link set dev eth1 down", "ip link set dev eth1 master bond0"),
        *("ip link set dev eth0 down", "ip link set dev eth0 master bond0"),
        "ip link set dev bond0 type bond primary eth0",
    ]


def test_a_bond_whose_mac_is_its_members_affair_gets_none(kernel: Kernel, plan: Plan) -> None:
    policy = "fail_over_mac_policy: active"
    make_links(plan(f"b: {{bond: {{mode: active-backup, interfaces: eth0, {policy}}}}}"))
    assert kernel.done[0].startswith("ip link add name b type bond")


def test_a_bridge_has_a_port_of_the_nodes_own_where_it_has_addresses(
    kernel: Kernel, plan: Plan
) -> None:
    make_links(plan(BRIDGE))
    mac = own_address(CARDS["eth2"], "br0")
    assert kernel.done == [
        "ip link add name br0 type bridge stp_state 0",
        "sysctl -e -q -w net/ipv6/conf/br0/disable_ipv6=1",
        "ip link set dev br0 up",
        f"ip link add name to-br0 address {mac} type veth peer name veth-br0",
        "sysctl -e -q -w net/ipv6/conf/veth-br0/disable_ipv6=1",
        "ip link set dev veth-br0 master br0",
        "ip link set dev veth-br0 up",
        "ip link set dev eth2 master br0",
    ]
    kernel.links.pop("br0"), kernel.done.clear()
    make_links(plan(BRIDGE.replace("10.0.0.2/24", "off")))
    assert [each for each in kernel.done if "veth" in each or "to-br0" in each] == []


def test_the_nodes_ports_mac_is_one_hosts_and_stays() -> None:
    found = {own_address(mac, name) for mac in CARDS.values() for name in ("br0", "br1")}
    assert len(found) == 8
    assert {int(each[:2], 16) & 3 for each in found} == {2}, "local, and no group's"
    assert own_address("52:54:00:00:00:01", "br0") == own_address("52:54:00:00:00:01", "br0")


def test_a_dummy_has_its_addresses_from_the_start(kernel: Kernel, plan: Plan) -> None:
    make_links(plan("dummy0: {dummy: true, address: [192.0.2.1/32, 'fd00::1/128']}"))
    assert kernel.done == [
        *("ip link add name dummy0 type dummy", "ip link set dev dummy0 up"),
        *(f"ip address add {each} dev dummy0" for each in ("192.0.2.1/32", "fd00::1/128")),
    ]


ALL = [
    BOND,
    BRIDGE,
    f"{BOND}, {BRIDGE.replace('eth2', 'bond0')}",
    "dummy0: {dummy: true, address: off}, br0: {bridge: {interfaces: [dummy0, eth3]}}",
    "bond0: {bond: {mode: 802.3ad, interfaces: ['52:54:00:00:00:02', '52:54:00:00:00:01']}}",
]


@pytest.mark.parametrize("text", ALL)
def test_all_is_made_once_and_gone_when_nothing_asks_for_it(
    kernel: Kernel, plan: Plan, text: str
) -> None:
    before = {name: dict(each) for name, each in kernel.links.items()}
    entries = plan(text)
    for _ in range(2):
        report = make_links(entries)
        assert (report.failed, report.missing, report.alone) == ([], [], [])
        members = {
            link_of(name, list(kernel.links.values()))["ifname"]: each["made"]["name"]
            for each in entries
            if each["made"]
            for name in each["made"]["members"]
        }
        assert members.items() <= kernel.masters().items()
        kernel.done, first = [], kernel.done
    assert first == [], "nothing is done twice"
    assert Unmake(Place("default"), entries, []).perform(Node("")) == "done"
    assert kernel.links == before
    assert Make(Place("default"), entries, []).perform(Node("")) == "done"
    freed = [each.split()[4] for each in kernel.done if each.startswith("ip link set")]
    assert set(freed) <= kernel.up


def test_a_changed_bond_is_made_anew_and_another_one_is_not_touched(
    kernel: Kernel, plan: Plan
) -> None:
    other = "b: {bond: {mode: broadcast, interfaces: eth3}}"
    before, after = plan(f"{BOND}, {other}"), plan(f"{BOND}, {other}".replace("9000", "1400"))
    make_links(before)
    kernel.done.clear()
    assert Unmake(Place("default"), before, after).perform(Node("")) == "done"
    assert kernel.done == ["ip link delete dev bond0"]
    assert Make(Place("default"), before, after).perform(Node("")) == "done"
    assert kernel.masters() == {"eth0": "bond0", "eth1": "bond0", "eth3": "b"}
    again = [each for each in kernel.done if each.startswith(("systemctl", "ip address"))]
    assert again == [
        "systemctl stop connman.service",
        "ip address flush dev eth1",
        "ip address flush dev eth0",
        "systemctl start connman.service",
    ], "connman knew them while they were free"
    kernel.done.clear()
    assert Unmake(Place("default"), after, after).perform(Node("")) == "unchanged"
    assert kernel.done == []


def test_a_member_that_somebody_brings_up_in_between_is_tried_again(
    kernel: Kernel, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel.up.add("eth1")
    kernel.ups = "eth1"
    report = make_links(plan(BOND))
    assert report.failed == [
        "eth1 cannot be a member of bond0: Error: Device can not be enslaved while up."
    ]
    assert kernel.done.count("ip link set dev eth1 master bond0") == made_links.TRIES
    assert kernel.masters() == {"eth0": "bond0"}, "the other one is one all the same"
    kernel.ups = ""
    assert make_links(plan(BOND)).failed == []
    assert kernel.masters() == {"eth0": "bond0", "eth1": "bond0"}


def test_members_are_waited_for_with_an_end_and_join_when_they_come(
    kernel: Kernel, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(made_links.time, "monotonic", lambda: now[0])
    card = kernel.links.pop("eth1")

    def sleep(seconds: float) -> None:
        now[0] += seconds
        if now[0] > 2:
            kernel.links["eth0"] = first

    first = kernel.links.pop("eth0")
    monkeypatch.setattr(made_links.time, "sleep", sleep)
    report = make_links(plan(BOND), 10)
    assert report.missing == ["eth1 of bond0 is not there"]
    assert 10 <= now[0] < 11
    assert "address 52:54:00:00:00:00" in kernel.done[0], "of the first one that is there"
    kernel.links["eth1"] = card
    now[0] = 0
    assert make_links(plan(BOND), 10).missing == []
    assert now[0] == 0, "what is made waits for nobody"
    assert kernel.masters() == {"eth0": "bond0", "eth1": "bond0"}


def test_a_vlan_on_what_is_made_is_not_waited_for(
    kernel: Kernel, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(made_links.time, "sleep", lambda _: pytest.fail("waits"))
    report = make_links(plan(f"{BOND}, br0: {{bridge: {{interfaces: bond0.5}}}}"), 10)
    assert report.missing == ["bond0.5 of br0 is not there"]


@pytest.fixture
def connmans(tmp_path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """The paths of connman's files, in place of the host's."""

    def path(name: str) -> str:
        return str(tmp_path / file_of(name).rpartition("/")[2])

    monkeypatch.setattr(made_links, "file_of", path)
    yield path


@pytest.mark.parametrize("refused", ["ip link add name br0", "ip link add name to-br0"])
def test_members_of_what_cannot_be_made_use_dhcp(
    kernel: Kernel,
    plan: Plan,
    connmans: Callable[[str], str],
    tmp_path,
    monkeypatch: pytest.MonkeyPatch,
    refused: str,
) -> None:
    kernel.refuses = (refused,)
    entries = plan(BRIDGE)
    (tmp_path / "plan").write_text(json.dumps(entries))
    monkeypatch.setattr(made_links, "PLAN", str(tmp_path / "plan"))
    open(connmans("eth2"), "w").close()
    report = made_links.main()
    assert report.failed == ["br0 cannot be made: Error: refused."]
    assert not os.path.exists(connmans("eth2"))
    assert "br0" not in kernel.links, "half of it would be taken for all of it"


def test_on_a_running_node_it_is_said_and_they_come_up(
    kernel: Kernel, plan: Plan, connmans: Callable[[str], str]
) -> None:
    kernel.refuses = ("ip link add name bond0",)
    with pytest.raises(UserError, match="bond0 cannot be made: Error: refused"):
        Make(Place("default"), [], plan(BOND)).perform(Node(""))
    assert kernel.up == {"eth0", "eth1"}


def test_without_a_plan_nothing_is_made(kernel: Kernel, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(made_links, "PLAN", str(tmp_path / "none"))
    assert made_links.main().done == []
    assert kernel.done == []


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a network namespace")
@pytest.mark.parametrize("text", ALL[:4])
def test_the_kernel_takes_it(plan: Plan, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    entries = plan(text)
    inside = ["ip", "netns", "exec", name := f"k3os-links-{os.getpid()}"]
    run(["ip", "netns", "add", name])
    try:
        for number in range(4):
            pair = [f"eth{number}", "type", "veth", "peer", "name", f"far{number}"]
            run([*inside, "ip", "link", "add", *pair])
        for kind in {each["made"]["kind"] for each in entries if each["made"]}:
            try:
                run([*inside, "ip", "link", "add", "probe", "type", kind])
                run([*inside, "ip", "link", "delete", "probe"])
            except CommandError:
                pytest.skip(f"this kernel has no {kind}")
        monkeypatch.setattr(
            "k3os.system.run.run", lambda words, **more: run([*inside, *words], **more)
        )
        report = make_links(entries)
        assert report.failed == []
        assert make_links(entries).done == []
        shown = links_in(run([*inside, *SHOW.split()]))
        masters = {each["ifname"]: each["master"] for each in shown if "master" in each}
        for each in entries:
            if each["made"]:
                wanted = dict.fromkeys(each["made"]["members"], each["made"]["name"])
                assert wanted.items() <= masters.items()
        assert Unmake(Place("default"), entries, []).perform(Node("")) == "done"
        left = {each["ifname"] for each in links_in(run([*inside, *SHOW.split()]))}
        assert left == {"lo", *(f"{kind}{n}" for kind in ("eth", "far") for n in range(4))}
    finally:
        run(["ip", "netns", "delete", name])


def test_connman_starts_anew_for_what_became_a_member_of_a_bond_and_for_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """connman keeps the service of a card it knows, under a name that the bond has now."""
    entries = [
        {"made": {"kind": "bond", "name": "bond0"}},
        {"made": {"kind": "bridge", "name": "br0"}},
        {"made": {}},
    ]
    report = made_links.Report()
    report.done = ["ip link add name bond0 type bond mode 802.3ad", "eth4 up"]
    report.done += ["ip link set dev eth5 master br0"]
    assert made_links.joined(entries, report) == []
    report.done += ["ip link set dev eth2 down", "ip link set dev eth2 master bond0"]
    assert made_links.joined(entries, report) == ["eth2"]
    ran: list[str] = []

    def run(words: list[str], **_: object) -> bytes:
        ran.append(" ".join(words))
        if "flush" in words:
            raise CommandError(words, 1)
        return b""

    monkeypatch.setattr("k3os.system.run.run", run)
    with pytest.raises(CommandError):
        made_links.forget(["eth2"])
    assert ran[0] == "systemctl stop connman.service"
    assert ran[-1] == "systemctl start connman.service", "whatever else fails"
