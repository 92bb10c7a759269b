"""Missing settings come first, with their place, the reason, and what to do."""

from __future__ import annotations

import json

import pytest

from k3os.cli.network import main

from .conftest import CONFIG, MISSING, SPARE, Recorded, missing


def test_what_is_missing_comes_first_and_is_the_exit_code(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = recorded.show()
    assert missing(report) == MISSING
    monkeypatch.setattr("k3os.node.network_facts.collect", lambda: report)
    for words in ([], ["--all"]):
        assert main(["show", *words]) == 1
        printed = capsys.readouterr().out.splitlines()
        assert printed[:3] == [f"MISSING  {each}" for each in MISSING]
    assert main(["show", "--json"]) == 1
    shown = json.loads(capsys.readouterr().out)
    assert [each["place"] for each in shown["missing"]] == [
        f"{CONFIG}:{each}" for each in ("15:35", "17:21", "18:11")
    ]
    assert shown["interfaces"][0]["addresses"][0]["origin"]["by"] == "dhcp"


def test_where_nothing_is_missing_the_exit_code_is_zero(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = recorded.read("k3os/system/config.yaml").replace(", eth8", "")
    kept = [line for line in text.split("\n") if "eth3:" not in line and "eth9:" not in line]
    recorded.put("k3os/system/config.yaml", "\n".join(kept))
    report = recorded.show()
    assert missing(report) == []
    monkeypatch.setattr("k3os.node.network_facts.collect", lambda: report)
    assert main(["show"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("note: k3os.network has changed since it was applied: `sudo k3os config")


def without(name: str, text: str):
    """Remove an address from an interface."""

    def change(link: dict) -> None:
        link["addr_info"] = [each for each in link["addr_info"] if each["local"] != text]

    return lambda recorded: recorded.link(name, change)


def no_route(to: str, gateway: str):
    def change(found: list[dict]) -> None:
        found[:] = [e for e in found if (e["dst"], e.get("gateway")) != (to, gateway)]

    return lambda recorded: recorded.edit("ip -json -N -4 route", change)


def taken_down(recorded: Recorded) -> None:
    recorded.link("eth1", lambda link: link.update(flags=[], addr_info=[]))


def no_rule(recorded: Recorded) -> None:
    recorded.edit("ip -json -N -4 rule", lambda found: found.pop(1))


def no_member(recorded: Recorded) -> None:
    recorded.link("eth2", lambda link: link.pop("master"))


def no_bridge(recorded: Recorded) -> None:
    def change(links: list[dict]) -> None:
        links[:] = [each for each in links if each["ifname"] not in ("br0", "to-br0", "veth-br0")]

    recorded.edit("ip -json -details", change)


def other_size(recorded: Recorded) -> None:
    recorded.configure("gateway:", "mtu: 9000\n      gateway:")


def no_dhcp(recorded: Recorded) -> None:
    recorded.configure("    eth9:", "    eth0: dhcp\n    eth9:")
    recorded.link("eth0", lambda link: link.update(addr_info=[]))


def wrong_entry(recorded: Recorded) -> None:
    recorded.configure("10.99.0.2/24", "10.99.0.2")


def vlan(recorded: Recorded) -> None:
    recorded.configure("eth9:", "eth1.9:")


def vlan_on_nothing(recorded: Recorded) -> None:
    recorded.configure("eth9:", "eth7.9:")


def mac(recorded: Recorded) -> None:
    recorded.configure("eth9:", "'52:54:00:00:00:09':")


def taken(recorded: Recorded) -> None:
    """Duplicate address detection: RFC 4862, 5.4."""

    def change(link: dict) -> None:
        for each in link["addr_info"]:
            if each["local"] == "fd00:77::50":
                each.update(tentative=True, dadfailed=True)

    recorded.link("eth1", change)


LOST = {
    "an address that another machine has": (
        taken,
        ":5:53: k3os.network.eth1.address: eth1 may not use fd00:77::50/64: another machine on its "
        "network has it; give one of the two another address",
    ),
    "an address": (
        without("eth1", "192.168.77.51"),
        ":5:35: k3os.network.eth1.address: eth1 has no address 192.168.77.51/24; `journalctl",
    ),
    "the gateway": (
        no_route("default", "192.168.77.2"),
        ":6:16: k3os.network.eth1.gateway: there is no default route via 192.168.77.2 on eth1; ",
    ),
    "a static route": (
        no_route("10.20.0.0/16", "192.168.77.3"),
        ":10:9: k3os.network.eth1.routes: eth1 has no route to 10.20.0.0/16 via 192.168.77.3; ",
    ),
    "a route of another table": (
        no_route("default", "192.168.77.4"),
        ":11:9: k3os.network.eth1.routes: eth1 has no route to default via 192.168.77.4 in table "
        "100; ",
    ),
    "a rule": (
        no_rule,
        ":13:9: k3os.network.eth1.rules: there is no rule from 192.168.77.51 table 100; ",
    ),
    "an interface that somebody took down": (
        taken_down,
        ":5:17: k3os.network.eth1.address: eth1 has no address 192.168.77.50/24: it is down; "
        "somebody took it down; `sudo ip link set eth1 up`",
    ),
    "a member that is not in": (
        no_member,
        ":15:29: k3os.network.br0.interfaces: eth2 is not a member of br0; ",
    ),
    "a bridge that was not made": (
        no_bridge,
        ":15:7: k3os.network.br0: to-br0 has not been made; `journalctl -b -u k3os-links.service`",
    ),
    "an MTU": (
        other_size,
        ":6:12: k3os.network.eth1.mtu: eth1 has the MTU 1500, not 9000; ",
    ),
    "an address of DHCP": (
        no_dhcp,
        ":18:11: k3os.network.eth0.address: eth0 is to use DHCP, and has no IPv4 address from it: "
        "no DHCP server has answered; ",
    ),
    "an entry that is wrong": (
        wrong_entry,
        ":18:21: k3os.network.eth9.address: is left out: `10.99.0.2` has no prefix length; ",
    ),
    "a VLAN": (
        vlan,
        ":18:13: k3os.network.eth1.9: the VLAN eth1.9 is not there; ",
    ),
    "a VLAN on what is not there": (
        vlan_on_nothing,
        ":18:13: k3os.network.eth7.9: eth7.9 is not there, for eth7 below it is not",
    ),
    "a card by its MAC": (
        mac,
        f":18:26: k3os.network.52:54:00:00:00:09: no interface has the MAC 52:54:00:00:00:09; "
        f"{SPARE}",
    ),
}


@pytest.mark.parametrize("change,said", LOST.values(), ids=LOST)
def test_what_is_lost_is_named_with_its_place_and_why(recorded: Recorded, change, said) -> None:
    change(recorded)
    found = [each.removeprefix(CONFIG) for each in missing(recorded.show())]
    assert [each for each in found if each.startswith(said)], found


def test_dhcp_beside_a_fixed_address_is_missed(recorded: Recorded) -> None:
    text = recorded.read("k3os/system/config.yaml")
    text = text.replace("'fd00:77::50/64'", "'fd00:77::50/64', dhcp")
    recorded.put("k3os/system/config.yaml", text)
    said = "k3os.network.eth1.address: eth1 is to use DHCP, and has no IPv4 address from it"
    assert any(said in each for each in missing(recorded.show()))
    new = {"family": "inet", "local": "10.5.0.2", "prefixlen": 24, "scope": "global"}
    recorded.link("eth1", lambda link: link["addr_info"].append(new))
    assert not any(said in each for each in missing(recorded.show()))


def test_a_card_without_an_entry_that_no_dhcp_server_answers_is_noted(recorded: Recorded) -> None:
    """It was not explicitly configured, so the exit code does not change."""

    def waits(value: dict) -> None:
        for _, service in value["data"][0]:
            if service["Ethernet"]["data"]["Interface"]["data"] == "eth0":
                service["State"]["data"] = "configuration"

    assert recorded.show().notes == ()
    before = missing(recorded.show())
    recorded.edit("busctl", waits)
    recorded.link("eth0", lambda link: link.update(addr_info=[]))
    report = recorded.show()
    assert [each.partition(":")[0] for each in report.notes] == [
        "eth0 has no entry and uses DHCP, and no server has answered"
    ]
    assert missing(report) == before
    for name in ("eth1", "to-br0"):
        recorded.link(name, lambda link: link.update(addr_info=[]))
    assert recorded.show().notes[0] == "no interface has an address that others could reach"
