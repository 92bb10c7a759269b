"""use_routes and route_metric of k3os.network: which default routes exist, and which one is
used."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from k3os.phases.default_routes import decide_routes, ways
from k3os.phases.ip_output import addresses, routes_of
from k3os.phases.network_plan import entries_in
from k3os.phases.replug import to_learn_anew, undo
from k3os.phases.routes import TRIES, decide, order
from k3os.system.run import CommandError, run

from .conftest import Machine
from .test_network import LOW, PLAN, UDEV, default, entry, link, network, replugged, words

LINKS = [
    link("eth0", "10.0.2.15/24", "fd00:2::15/64", mac="52:54:00:00:00:01"),
    link("eth1", "10.1.0.2/24", "fd00:1::2/64", mac="52:54:00:00:00:02"),
]
BY_DHCP: tuple = ()


def asked(device: str, *gateways: str, metric: int = 0, use_routes: bool = True) -> dict:
    static = (4,) if gateways else BY_DHCP
    return entry(device, *gateways, static=static, metric=metric, use_routes=use_routes)


# entries, routes of IPv4, commands
TABLE = {
    "none at all where it is refused, whatever it is": (
        [asked("eth1", use_routes=False)],
        [default("eth1", "10.1.0.1"), default("eth1"), default("eth0", "10.0.2.2", LOW)],
        ["delete default dev eth1", "delete default via 10.1.0.1 dev eth1"],
    ),
    "refused, and the last one: the node has none": (
        [asked("eth1", use_routes=False)],
        [default("eth1", "10.1.0.1", LOW)],
        [f"delete default via 10.1.0.1 dev eth1 metric {LOW}"],
    ),
    "what DHCP says is refused, what the entry says is not": (
        [asked("eth1", "10.1.0.254", use_routes=False)],
        [default("eth1", "10.1.0.1")],
        [
            "replace default via 10.1.0.254 dev eth1",
            "delete default via 10.1.0.1 dev eth1",
        ],
    ),
    "one from DHCP gets its metric and stays beside others": (
        [asked("eth1", metric=200)],
        [default("eth0", "10.0.2.2"), default("eth1", "10.1.0.1", LOW)],
        [
            "replace default via 10.1.0.1 dev eth1 metric 200",
            f"delete default via 10.1.0.1 dev eth1 metric {LOW}",
        ],
    ),
    "when the server names another router, the new one counts": (
        [asked("eth1", metric=200)],
        [default("eth1", "10.1.0.9"), default("eth1", "10.1.0.1", 200)],
        [
            "replace default via 10.1.0.9 dev eth1 metric 200",
            "delete default via 10.1.0.9 dev eth1",
            "delete default via 10.1.0.1 dev eth1 metric 200",
        ],
    ),
    "another metric": (
        [asked("eth1", metric=300)],
        [default("eth1", "10.1.0.1", 200)],
        [
            "replace default via 10.1.0.1 dev eth1 metric 300",
            "delete default via 10.1.0.1 dev eth1 metric 200",
        ],
    ),
    "as it should be": ([asked("eth1", metric=200)], [default("eth1", "10.1.0.1", 200)], []),
    "beside the one gateway only those with a metric stay": (
        [asked("eth1", "10.1.0.1"), asked("eth0", metric=9)],
        [default("eth1", "10.1.0.1"), default("eth0", "10.0.2.2", 9), default("eth0", "10.0.2.9")],
        [
            "replace default via 10.0.2.9 dev eth0 metric 9",
            "delete default via 10.0.2.2 dev eth0 metric 9",
            "delete default via 10.0.2.9 dev eth0",
        ],
    ),
    "two gateways, of which one counts as long as it is there": (
        [asked("eth1", "10.1.0.1", metric=20), asked("eth0", "10.0.2.2", metric=10)],
        [],
        [
            "replace default via 10.1.0.1 dev eth1 metric 20",
            "replace default via 10.0.2.2 dev eth0 metric 10",
        ],
    ),
    "two of one metric have two": (
        [asked("eth0", metric=10), asked("eth1", metric=10)],
        [default("eth0", "10.0.2.2"), default("eth1", "10.1.0.1", LOW)],
        [
            "replace default via 10.0.2.2 dev eth0 metric 10",
            "replace default via 10.1.0.1 dev eth1 metric 11",
            "delete default via 10.0.2.2 dev eth0",
            f"delete default via 10.1.0.1 dev eth1 metric {LOW}",
        ],
    ),
    "a way to nowhere goes before the one that is asked for comes, which has all of its words": (
        [asked("eth1", "10.1.0.1")],
        [default("eth1")],
        ["delete default dev eth1", "replace default via 10.1.0.1 dev eth1"],
    ),
    "an isolated network's way to nowhere stays": (
        [asked("eth1", metric=200)],
        [default("eth1")],
        [],
    ),
}


@pytest.mark.parametrize("case", TABLE)
def test_the_table(case: str) -> None:
    entries, routes, commands = TABLE[case]
    texts = [{name: str(value) for name, value in each.items()} for each in routes]
    expected = [f"ip -4 route {each}" for each in commands]
    assert words(decide_routes(entries, LINKS, texts, 4)) == expected


def test_a_metric_without_an_address_leaves_no_route_to_a_router_out_of_reach() -> None:
    entries = [asked("eth1", metric=200)]
    routes = [{**default("eth1", "10.1.0.1"), "metric": "200"}]
    assert words(decide_routes(entries, [link("eth1")], routes, 4)) == [
        "ip -4 route delete default via 10.1.0.1 dev eth1 metric 200"
    ]
    advertised = [{**default("eth1", "fe80::1"), "metric": "1024", "protocol": "ra"}]
    assert decide_routes(entries, [link("eth1")], advertised, 6) == [], "its address may come yet"


def test_several_routers_may_advertise_themselves() -> None:
    routes = [
        {**default("eth1", f"fe80::{each}"), "metric": "200", "protocol": "ra"} for each in "12"
    ]
    assert decide_routes([asked("eth1", metric=200)], LINKS, routes, 6) == []
    routes[1]["metric"] = "1024"
    assert words(decide_routes([asked("eth1", metric=200)], LINKS, routes, 6))[-1] == (
        "ip -6 route delete default via fe80::2 dev eth1 metric 1024"
    )


def test_the_kernel_takes_no_default_route_from_a_router_or_takes_it_with_a_metric(
    machine: Machine,
) -> None:
    machine.apply(
        "boot", network("eth0: {use_routes: no}, eth1.5: {route_metric: 7}, eth2: {use_dns: no}")
    )
    rules = [each for each in machine.text(UDEV).splitlines() if "SYSCTL" in each]
    add = 'ACTION=="add", SUBSYSTEM=="net", KERNEL=='
    conf = "SYSCTL{net/ipv6/conf/$name"
    assert rules == [
        f'{add}"eth0", {conf}/accept_ra_defrtr}}="0"',
        f'{add}"eth1.5", {conf}/ra_defrtr_metric}}="7"',
    ]


@pytest.mark.parametrize(
    ("before", "after", "down"),
    [
        ("eth0: {use_routes: no}", "eth0: dhcp", ["eth0"]),
        ("eth0: dhcp", "eth0: {use_routes: no}", []),
        ("eth0: {use_dns: no}", "eth0: dhcp", ["eth0"]),
        ("eth0: {use_dns: no}", "", ["eth0"]),
        ("eth0: dhcp", "eth0: {use_dns: no}", []),
        ("eth0: dhcp", "eth0: {route_metric: 7}", ["eth0"]),
        ("", "eth0: {route_metric: 7}", ["eth0"]),
        ("eth0: {route_metric: 7}", "eth0: {route_metric: 8}", []),
        ("eth0: {route_metric: 7}", "", ["eth0"]),
        (
            "eth0: {fallback_address: 10.0.0.2/24, fallback_gateway: 10.0.0.1}",
            "eth0: {fallback_address: 10.0.0.2/24}",
            ["eth0"],
        ),
        ("eth0: {fallback_address: 10.0.0.2/24}", "eth0: dhcp", []),
    ],
)
def test_connman_asks_anew_where_something_comes_back_that_only_it_knows(
    machine: Machine, before: str, after: str, down: list[str]
) -> None:
    texts = [network(each) if each else "hostname: a\n" for each in (before, after)]
    plans = []
    for text in texts:
        machine.apply("boot", text)
        plans.append(entries_in(machine.text(PLAN).encode()) if each_is_there(machine) else [])
    assert to_learn_anew(*plans) == down
    machine.apply("boot", texts[0])
    assert replugged(machine.apply("runtime", texts[1])) == down


def each_is_there(machine: Machine) -> bool:
    return (machine.root / PLAN).exists()


def test_the_kernels_own_settings_come_back(machine: Machine) -> None:
    machine.apply("boot", network("eth0: {use_routes: no}, eth1: {route_metric: 7}"))
    former = entries_in(machine.text(PLAN).encode())
    conf = "sysctl -e -q -w net/ipv6/conf"
    assert words(undo(former, [], LINKS)) == [
        f"{conf}/eth0/accept_ra_defrtr=1",
        f"{conf}/eth1/ra_defrtr_metric=1024",
    ]
    assert undo(former, former, LINKS) == []


@pytest.mark.parametrize(
    ("entries", "names", "moved"),
    [
        ([asked("eth0", metric=5)], ["eth0", "eth1"], "eth1"),
        ([asked("eth0", use_routes=False)], ["eth0", "eth1"], "eth1"),
        ([asked("eth0", metric=5)], ["eth1", "eth0"], ""),
        ([asked("eth0", metric=5), asked("eth1", metric=6)], ["eth1", "eth0"], "eth0"),
        ([asked("eth0", use_routes=False), asked("eth1", metric=6)], ["eth0", "eth1"], "eth1"),
        ([asked("eth0", use_routes=False), asked("eth1", use_routes=False)], ["eth0"], ""),
        ([asked("eth0")], ["eth0", "eth1"], ""),
        ([asked("eth0", metric=5)], [], ""),
    ],
)
def test_connman_prefers_what_no_entry_puts_behind_the_others(
    entries: list[dict], names: list[str], moved: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """connman's default route has no metric, and would take precedence over the wanted one."""
    services = {"eth0": "ethernet_525400000001_cable", "eth1": "ethernet_525400000002_cable"}
    done: list[list[str]] = []

    def answer(command: list[str], **_: object) -> bytes:
        done.append(command)
        return "".join(f"*AR Wired {services[each]}\n" for each in names).encode()

    monkeypatch.setattr("k3os.system.run.run", answer)
    assert order(entries, LINKS) is bool(moved)
    expected = [services[moved]] if moved else []
    assert [each[2] for each in done if "move-before" in each] == expected


def test_a_wireless_card_can_be_the_way_out_when_the_cable_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wifi = "wifi_525400000009_686f6d65_managed_psk"
    listed = f"*AR home {wifi}\n*AR Wired ethernet_525400000001_cable\n"
    done: list[list[str]] = []

    def answer(command: list[str], **_: object) -> bytes:
        done.append(command)
        return listed.encode()

    monkeypatch.setattr("k3os.system.run.run", answer)
    links = [link("wlan0", "10.9.0.2/24", mac="52:54:00:00:00:09"), LINKS[0]]
    assert order([asked("wlan0", metric=600)], links)
    assert done[-1] == ["connmanctl", "move-before", "ethernet_525400000001_cable", wifi]


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """ip(8) works on a network namespace with eth0 and eth1."""
    if os.geteuid() != 0:
        pytest.skip("makes a network namespace")
    name = f"k3os-ways-{os.getpid()}"
    program = tmp_path / "bin/ip"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec /usr/sbin/ip -n {name} "$@"\n')
    sysctl = program.with_name("sysctl")
    sysctl.write_text(f'#!/bin/sh\nexec /usr/sbin/ip netns exec {name} /usr/sbin/sysctl "$@"\n')
    for each in (program, sysctl):
        each.chmod(0o755)
    run(["ip", "netns", "add", name])
    run(["ip", "netns", "exec", name, "sysctl", "net.ipv4.conf.all.promote_secondaries=0"])
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/sbin:/usr/bin:/sbin:/bin")
    try:
        for number, device in enumerate(("eth0", "eth1")):
            run(["ip", "link", "add", device, "type", "veth", "peer", "name", f"{device}-end"])
            for end in (device, f"{device}-end"):
                run(["ip", "link", "set", end, "addrgenmode", "none", "up"])
            run(["ip", "address", "add", f"10.{number}.0.2/24", "dev", device])
        yield
    finally:
        monkeypatch.undo()
        run(["ip", "netns", "delete", name])


def looks(entries: list[dict], links: list[dict]) -> None:
    """Apply changes like set_routes: a route that was replaced is gone, so deleting it fails."""
    for _ in range(TRIES):
        try:
            for command in decide(entries, links, {4: routes_of(4), 6: []}):
                run(command)
        except CommandError:
            continue
        return
    raise AssertionError(json.dumps([entries, routes_of(4)]))


def test_whatever_there_was_the_kernel_has_what_is_asked_for_after_it(kernel: None) -> None:
    """A property test with random entries and routes (the same in each run): a second pass finds
    nothing to do, and the best route is the one that is used."""
    numbers = random.Random(17)
    for _ in range(40):
        run(["ip", "route", "flush", "exact", "default"], check=False)
        entries = []
        for number in range(2):
            gateways = [f"10.{number}.0.1"] if numbers.random() < 0.4 else []
            metric = numbers.choice([0, 0, 50, 100 + number])
            if any(each["gateways"] and each["metric"] == metric for each in entries):
                gateways = []
            refuses = not metric and numbers.random() < 0.3
            entries.append(
                {
                    **asked(f"eth{number}", *gateways, metric=metric, use_routes=not refuses),
                    "fixed": [],
                }
            )
            for metric_there in numbers.sample([0, LOW, 50, 7], k=numbers.randrange(3)):
                words = ["via", f"10.{number}.0.{numbers.choice([1, 9])}", "dev", f"eth{number}"]
                added = ["ip", "route", "append", "default", *words, "metric", str(metric_there)]
                run(added, check=False)
        links = addresses()
        wanted = ways(entries, links, routes_of(4), 4)
        looks(entries, links)
        routes = routes_of(4)
        assert decide(entries, links, {4: routes, 6: []}) == [], json.dumps([entries, routes])
        if any(each["gateways"] for each in entries):
            best = min(wanted, key=lambda way: way[2])
            shown = run(["ip", "route", "get", "192.0.2.1"]).decode()
            assert f"via {best[1]} dev {best[0]}" in shown, json.dumps([entries, routes])
        for each in entries:
            leading = [r for r in routes if r["dst"] == "default" and r["dev"] == each["device"]]
            if not each["use_routes"]:
                assert [r.get("gateway") for r in leading] == each["gateways"]
            if each["metric"]:
                assert len(leading) <= 1
