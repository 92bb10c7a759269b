"""`routes` and `rules` of k3os.network: what is checked, and what a kernel does with them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from k3os.phases.ip_output import addresses
from k3os.phases.network_plan import entries_in
from k3os.phases.static_routes import Present, decide_static, undo_static
from k3os.system.run import run

from .conftest import Machine
from .test_network import network

PLAN = "run/k3os/network.json"
BASE = "address: [10.1.0.2/24, 'fd00:1::2/64']"


def planned(entries: str, machine: Machine) -> list[dict]:
    machine.apply("boot", network(entries))
    return entries_in(machine.text(PLAN).encode())


def words(commands: list[list[str]]) -> list[str]:
    return [" ".join(each[1:]) for each in commands]


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """ip(8) works on a network namespace with eth1, which has an address of each kind."""
    if os.geteuid() != 0:
        pytest.skip("makes a network namespace")
    name = f"k3os-static-{os.getpid()}"
    program = tmp_path / "bin/ip"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec /usr/sbin/ip -n {name} "$@"\n')
    program.chmod(0o755)
    run(["ip", "netns", "add", name])
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/sbin:/usr/bin:/sbin:/bin")
    try:
        for device in ("eth1", "eth2"):
            run(["ip", "link", "add", device, "type", "veth", "peer", "name", f"{device}-end"])
            for end in (device, f"{device}-end"):
                run(["ip", "link", "set", end, "addrgenmode", "none", "up"])
        run(["ip", "address", "add", "10.1.0.2/24", "dev", "eth1"])
        run(["ip", "address", "add", "fd00:1::2/64", "dev", "eth1", "nodad"])
        yield
    finally:
        monkeypatch.undo()
        run(["ip", "netns", "delete", name])


def settle(entries: list[dict]) -> tuple[list[str], list[str]]:
    """What is done, and what is missing; a second pass does nothing."""
    commands, missing = decide_static(entries, addresses(), Present.look(entries))
    for command in commands:
        run(command)
    assert decide_static(entries, addresses(), Present.look(entries)) == ([], missing)
    return words(commands), missing


def everything() -> list[bytes]:
    """All routes and rules, sorted."""
    shown = ("-4 route show table all", "-6 route show table all", "-4 rule", "-6 rule")
    return sorted(line for each in shown for line in run(["ip", *each.split()]).splitlines())


CASES = {
    "a network behind a router": (
        "routes: [{to: 10.20.0.0/16, via: 10.1.0.1}]",
        ["-4 route replace 10.20.0.0/16 via 10.1.0.1 dev eth1 metric 0 table 254 proto static"],
        ("-4 route get 10.20.3.4", "via 10.1.0.1 dev eth1"),
    ),
    "a host on the link, in words of a list of one": (
        "routes: {to: 10.21.0.5/32}",
        ["-4 route replace 10.21.0.5 dev eth1 metric 0 table 254 proto static"],
        ("-4 route get 10.21.0.5", "10.21.0.5 dev eth1"),
    ),
    "IPv6, with a metric": (
        "routes: [{to: 'fd00:20::/32', via: 'fd00:1::1', metric: 7}]",
        ["-6 route replace fd00:20::/32 via fd00:1::1 dev eth1 metric 7 table 254 proto static"],
        ("-6 route get fd00:20::9", "via fd00:1::1 dev eth1"),
    ),
    "IPv6 without one has the kernel's": (
        "routes: [{to: 'fd00:20::/32', via: 'fd00:1::1'}]",
        ["-6 route replace fd00:20::/32 via fd00:1::1 dev eth1 metric 1024 table 254 proto static"],
        ("-6 route get fd00:20::9", "via fd00:1::1 dev eth1"),
    ),
    "answers leave where the questions came in": (
        "routes: [{to: default, via: 10.1.0.1, table: 100}], rules: [{from: 10.1.0.2, table: 100}]",
        [
            "-4 rule add from 10.1.0.2 to all table 100 priority 1000",
            "-4 route replace default via 10.1.0.1 dev eth1 metric 0 table 100 proto static",
        ],
        ("-4 route get 192.0.2.1 from 10.1.0.2", "via 10.1.0.1 dev eth1 table 100"),
    ),
    "a rule of networks": (
        "routes: [{to: default, via: 'fd00:1::1', table: 7}], "
        "rules: [{from: 'fd00:1::/64', to: 'fd00:9::/32', table: 7, priority: 50}]",
        [
            "-6 rule add from fd00:1::/64 to fd00:9::/32 table 7 priority 50",
            "-6 route replace default via fd00:1::1 dev eth1 metric 1024 table 7 proto static",
        ],
        ("-6 route get fd00:9::1 from fd00:1::2", "via fd00:1::1 dev eth1 table 7"),
    ),
    "two ways with metrics of their own": (
        "routes: [{to: 10.20.0.0/16, via: 10.1.0.1, metric: 20}, "
        "{to: 10.20.0.0/16, via: 10.1.0.3, metric: 10}]",
        [
            "-4 route replace 10.20.0.0/16 via 10.1.0.1 dev eth1 metric 20 table 254 proto static",
            "-4 route replace 10.20.0.0/16 via 10.1.0.3 dev eth1 metric 10 table 254 proto static",
        ],
        ("-4 route get 10.20.3.4", "via 10.1.0.3 dev eth1"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_kernel_has_them_once_again_after_a_pulled_cable_and_not_when_they_left(
    machine: Machine, kernel: None, case: str
) -> None:
    text, commands, (question, answer) = CASES[case]
    before = everything()
    entries = planned(f"eth1: {{{BASE}, {text}}}", machine)
    assert settle(entries) == (commands, [])
    assert answer in run(["ip", *question.split()]).decode()
    run(["ip", "link", "set", "eth1", "down"])
    run(["ip", "link", "set", "eth1", "up"])
    run(["ip", "address", "replace", "fd00:1::2/64", "dev", "eth1", "nodad"])
    settle(entries)
    assert answer in run(["ip", *question.split()]).decode()
    now = planned(f"eth1: {{{BASE}}}", machine)
    gone = undo_static(entries, now, addresses(), Present.look(entries))
    assert len(gone) == len(commands)
    for command in gone:
        run(command)
    assert everything() == before


def test_what_stays_is_not_touched_and_what_is_gone_is_not_looked_for(
    machine: Machine, kernel: None
) -> None:
    route, rule = "{to: 10.20.0.0/16, via: 10.1.0.1}", "{from: 10.1.0.2, table: 100}"
    more = "{to: 10.30.0.0/16, via: 10.1.0.1}"
    former = planned(f"eth1: {{{BASE}, routes: [{route}, {more}], rules: [{rule}]}}", machine)
    settle(former)
    now = planned(f"eth1: {{{BASE}, routes: [{route}], rules: [{rule}]}}", machine)
    commands = undo_static(former, now, addresses(), Present.look(former))
    assert words(commands) == ["-4 route delete 10.30.0.0/16 dev eth1 metric 0 table 254"]
    run(["ip", "link", "set", "eth1", "down"])  # which removes its routes
    assert undo_static(former, now, addresses(), Present.look(former)) == []


def test_a_rule_of_two_entries_is_made_and_undone_once(machine: Machine, kernel: None) -> None:
    rule = "rules: [{from: 10.1.0.0/24, table: 100}]"
    former = planned(f"eth1: {{{BASE}, {rule}}}, eth2: {{{rule}}}", machine)
    assert len(settle(former)[0]) == 1
    now = planned(f"eth1: {{{BASE}, {rule}}}", machine)
    assert undo_static(former, now, addresses(), Present.look(former)) == []
    now = planned(f"eth1: {{{BASE}}}", machine)
    commands = undo_static(former, now, addresses(), Present.look(former))
    assert words(commands) == ["-4 rule delete from 10.1.0.0/24 to all table 100 priority 1000"]


def test_a_route_that_cannot_be_yet_waits_and_says_for_what(machine: Machine, kernel: None) -> None:
    entries = planned(
        "eth1: {routes: [{to: 10.20.0.0/16, via: 10.9.0.1}]}, "
        "eth2: {routes: [{to: 10.30.0.0/16}]}, eth3: {routes: [{to: 10.40.0.0/16}]}",
        machine,
    )
    assert settle(entries) == (
        [],
        [
            "the route to 10.20.0.0/16 waits: 10.9.0.1 is in no network of eth1",
            "the route to 10.30.0.0/16 waits: eth2 has no IPv4 address yet",
        ],
    )
    run(["ip", "address", "add", "10.9.0.2/24", "dev", "eth1"])
    assert len(settle(entries)[0]) == 1


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("routes: [{to: 10.20.0.1/16, via: 10.1.0.1}]", "an address within 10.20.0.0/16"),
        ("routes: [{via: 10.1.0.1}]", "has no to"),
        ("routes: [{to: 10.20.0.0/16, via: 10.2.0.1}]", "10.2.0.1 is not in the network"),
        ("routes: [{to: 10.20.0.0/16, via: 10.1.0.2}]", "this node's own address"),
        ("routes: [{to: 10.20.0.0/16, via: 'fd00:1::1'}]", "is not an IPv4 address"),
        ("routes: [{to: default, via: 10.1.0.1}]", "is the default route of the node"),
        ("routes: [{to: 0.0.0.0/0, via: 10.1.0.1}]", "means every address"),
        ("routes: [{to: default, table: 7}]", "has no via"),
        ("routes: [{to: 10.20.0.0/16, table: 255}]", "the kernel's own table"),
        ("routes: [{to: 10.20.0.0/16, table: 0}]", "0"),
        ("routes: [{to: 10.20.0.0/16, metrik: 7}]", "unknown key metrik"),
        ("routes: [{to: 10.20.0.0/16}, {to: 10.20.0.0/16}]", "has a route to 10.20.0.0/16 already"),
        ("routes: [{to: 10.40.0.0/16}]", "eth0 has a route to 10.40.0.0/16 already"),
        ("routes: [10.20.0.0/16]", "must be a map"),
        ("routes: [{to: lan}]", "`lan` is not a network"),
        ("rules: [{table: 7}]", "neither from nor to"),
        ("rules: [{from: 10.1.0.2}]", "has no table"),
        ("rules: [{from: 10.1.0.2, to: 'fd00::/8', table: 7}]", "an IPv4 and an IPv6 network"),
        ("rules: [{to: default, table: 7}]", "means every address"),
        ("rules: [{from: 0.0.0.0/0, table: 7}]", "means every address"),
        ("rules: [{from: 10.1.0.2, table: 7, priority: 32766}]", "out of range"),
    ],
)
def test_an_entry_with_a_route_that_cannot_be_is_left_out_whole(
    tmp_path: Path, entry: str, message: str
) -> None:
    from k3os.config.load import load_config

    file = tmp_path / "k3os/system/config.yaml"
    file.parent.mkdir(parents=True)
    first = "eth0: {address: 10.4.0.2/24, routes: [{to: 10.40.0.0/16, via: 10.4.0.1}]}"
    file.write_text(network(f"{first}, eth1: {{{BASE}, {entry}}}, eth2: dhcp"))
    config, problems = load_config(str(tmp_path), "/k3os/system", "")
    assert list(config.entries("k3os.network")) == ["eth0", "eth2"]
    assert message in " ".join(each.message for each in problems)
    assert all(each.place.line for each in problems)


@pytest.mark.parametrize(
    "broken",
    [
        {"routes": [{"version": 4, "to": "10.0.0.0/8"}]},
        {"routes": ["10.0.0.0/8"]},
        {"routes": "10.0.0.0/8"},
        {"rules": [{"version": 5, "from": "all", "to": "all", "priority": "1", "table": "1"}]},
        {"rules": [{"version": 4, "from": "all", "to": "all", "priority": 1, "table": "1"}]},
    ],
)
def test_a_plan_that_somebody_changed_is_none(machine: Machine, broken: dict) -> None:
    text = "routes: [{to: 10.20.0.0/16}], rules: [{from: 10.1.0.2, table: 7}]"
    (entry,) = planned(f"eth1: {{{BASE}, {text}}}", machine)
    assert entries_in(json.dumps([entry]).encode()) == [entry]
    assert entries_in(json.dumps([entry | broken]).encode()) == []
