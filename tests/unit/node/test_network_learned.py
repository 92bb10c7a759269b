"""`k3os network show`: what an entry takes from DHCP and routers, `match`, and cards."""

from __future__ import annotations

import os
from typing import Any

import pytest

from k3os.node.network_cards import wake_in
from k3os.node.network_text import lines

from .conftest import CONFIG, Recorded, missing

FIRST = "    eth1:\n"
OF_ETH0 = "    eth0:"
ETHTOOL = "Settings for eth0:\n\tSupports Wake-on: pumbg\n\tWake-on: {}\n\tLink detected: yes\n"


def configured(recorded: Recorded, entry: str) -> None:
    recorded.configure(FIRST, f"{entry}\n{FIRST}")


def said(recorded: Recorded, key: str) -> list[str]:
    return [each for each in missing(recorded.show()) if f"k3os.network.{key}" in each]


def plug(recorded: Recorded, name: str, driver: str, where: str) -> None:
    device = recorded.root / "sys/devices/pci0000:00" / where
    (device / "net" / name).mkdir(parents=True)
    (device / "driver").symlink_to(f"/sys/bus/pci/drivers/{driver}")
    (device / "subsystem").symlink_to("/sys/bus/pci")
    recorded.put(f"sys/devices/pci0000:00/{where}/net/{name}/address", "de:83:ed:2a:c7:22\n")
    (device / "net" / name / "device").symlink_to("../..")
    links = recorded.root / "sys/class/net"
    links.mkdir(parents=True, exist_ok=True)
    (links / name).symlink_to(os.path.relpath(device / "net" / name, links))


def test_a_default_route_that_an_entry_refuses_is_told(recorded: Recorded) -> None:
    configured(recorded, f"{OF_ETH0} {{use_routes: false}}")
    (line,) = said(recorded, "eth0")
    assert line.startswith(f"{CONFIG}:4:24: k3os.network.eth0.use_routes: eth0 has a default route")
    assert "via 10.0.2.2" in line


def test_a_default_route_of_a_smaller_metric_is_told(recorded: Recorded) -> None:
    configured(recorded, f"{OF_ETH0} {{route_metric: 700}}")
    assert said(recorded, "eth0") == [], "what connman has by itself is behind it"

    def first(routes: list[dict[str, Any]]) -> None:
        next(each for each in routes if each["dev"] == "eth0")["metric"] = 5

    recorded.edit("ip -json -N -4 route", first)
    (line,) = said(recorded, "eth0")
    assert ":4:26: k3os.network.eth0.route_metric: eth0 has a default route of the metric 5" in line


def test_a_metric_is_told_with_the_line_that_asks_for_it(recorded: Recorded) -> None:
    configured(recorded, f"{OF_ETH0} {{route_metric: 700}}")

    def right(routes: list[dict[str, Any]]) -> None:
        next(each for each in routes if each["dev"] == "eth0")["metric"] = 700

    recorded.edit("ip -json -N -4 route", right)
    (route,) = [e for e in recorded.show().routes if e.to == "default" and e.devices == ("eth0",)]
    assert str(route.origin) == (f"k3os.network.eth0.route_metric, {CONFIG}:4:26; DHCP, by connman")


def test_a_fallback_is_no_answer_of_a_server_and_says_where_it_comes_from(
    recorded: Recorded,
) -> None:
    entry = "fallback_address: 10.7.0.2/24, fallback_gateway: 10.7.0.1"
    configured(recorded, f"{OF_ETH0} {{{entry}}}")
    assert said(recorded, "eth0") == []
    given = {"family": "inet", "local": "10.7.0.2", "prefixlen": 24, "scope": "global"}
    recorded.link("eth0", lambda link: link.update(addr_info=[given]))
    (line,) = said(recorded, "eth0")
    assert line.startswith(f"{CONFIG}:4:") and "no IPv4 address from it" in line
    assert "it has its fallback_address" in line
    (eth0,) = [each for each in recorded.show().interfaces if each.name == "eth0"]
    assert str(eth0.addresses[0].origin).startswith("k3os.network.eth0.fallback_address, ")


@pytest.mark.parametrize(
    ("address", "origin"),
    [("10.7.0.2", "k3os.network.eth0.fallback_gateway, "), ("10.0.2.36", "DHCP, by connman")],
)
def test_a_way_out_is_the_fallbacks_as_long_as_its_address_is_used(
    recorded: Recorded, address: str, origin: str
) -> None:
    """The DHCP server may name the same router."""
    entry = "fallback_address: 10.7.0.2/24, fallback_gateway: 10.7.0.99"
    configured(recorded, f"{OF_ETH0} {{{entry}}}")

    def leads(routes: list[dict[str, Any]]) -> None:
        next(each for each in routes if each["dev"] == "eth0")["gateway"] = "10.7.0.99"

    recorded.edit("ip -json -N -4 route", leads)

    def gateway(services: dict[str, Any]) -> None:
        for _, service in services["data"][0]:
            if service["Ethernet"]["data"]["Interface"]["data"] == "eth0":
                service["IPv4"]["data"]["Gateway"]["data"] = "10.7.0.99"

    recorded.edit("busctl", gateway)
    given = {"family": "inet", "local": address, "prefixlen": 24, "scope": "global"}
    recorded.link("eth0", lambda link: link.update(addr_info=[given]))
    (route,) = [e for e in recorded.show().routes if e.to == "default" and e.devices == ("eth0",)]
    assert str(route.origin).startswith(origin)


def test_an_address_that_connman_made_up_is_no_answer_of_a_server(recorded: Recorded) -> None:
    configured(recorded, f"{OF_ETH0} dhcp")
    made_up = {"family": "inet", "local": "169.254.7.7", "prefixlen": 16, "scope": "global"}
    recorded.link("eth0", lambda link: link.update(addr_info=[made_up]))
    (line,) = said(recorded, "eth0")
    assert "no DHCP server has answered" in line or "connman's state" in line


def test_a_card_has_its_driver_and_place(recorded: Recorded) -> None:
    plug(recorded, "eth0", "igb", "0000:02:00.0")
    report = recorded.show()
    (eth0,) = [each for each in report.interfaces if each.name == "eth0"]
    assert (eth0.driver, eth0.path) == ("igb", "pci-0000:02:00.0")
    assert "  driver   igb, pci-0000:02:00.0" in lines(report)


def test_what_fits_nothing_is_told_with_what_there_is(recorded: Recorded) -> None:
    plug(recorded, "eth0", "igb", "0000:02:00.0")
    configured(recorded, "    lan: {match: {driver: r8169}, address: 10.7.0.2/24}")
    assert said(recorded, "lan") == [
        f"{CONFIG}:4:18: k3os.network.lan.match: no interface fits driver r8169; without an entry "
        "are: eth0 (de:83:ed:2a:c7:22, igb, pci-0000:02:00.0)"
    ]


def test_an_entry_that_fits_is_the_cards(recorded: Recorded) -> None:
    plug(recorded, "eth0", "igb", "0000:02:00.0")
    configured(recorded, "    lan: {match: {driver: igb}, address: 10.7.0.2/24}")
    (line,) = said(recorded, "lan")
    assert "k3os.network.lan.address: eth0 has no address 10.7.0.2/24" in line
    (eth0,) = [each for each in recorded.show().interfaces if each.name == "eth0"]
    assert str(eth0.managed) == f"k3os.network.lan, {CONFIG}:4:10"


@pytest.mark.parametrize(
    ("wanted", "now", "told"),
    [
        ("true", ETHTOOL.format("g"), ""),
        ("true", ETHTOOL.format("pg"), ""),
        ("true", ETHTOOL.format("d"), "wakes the machine by `d`, not `g`"),
        ("false", ETHTOOL.format("d"), ""),
        ("false", ETHTOOL.format("g"), "wakes the machine by `g`, not `d`"),
        ("true", "Settings for eth0:\n\tLink detected: yes\n", "its driver, igb, knows no way"),
    ],
)
def test_a_card_that_does_not_wake_as_asked_is_told_to_root(
    recorded: Recorded, wanted: str, now: str, told: str
) -> None:
    plug(recorded, "eth0", "igb", "0000:02:00.0")
    configured(recorded, f"{OF_ETH0} {{wake_on_lan: {wanted}}}")
    recorded.answers["ethtool eth0"] = now.encode()
    found = said(recorded, "eth0")
    assert (told in found[0]) if told else not found
    recorded.become(1000)
    assert not said(recorded, "eth0"), "ethtool tells root alone"


def test_what_ethtool_supports_is_not_what_it_does() -> None:
    assert wake_in(ETHTOOL.format("d")) == "d"
    assert wake_in("") == ""
