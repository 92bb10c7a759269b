"""fallback_address of k3os.network: the address of an interface while no DHCP server answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from k3os.phases import routes as settling
from k3os.phases.fallback import decide_fallback
from k3os.phases.ip_output import addresses, routes_of
from k3os.phases.replug import undo
from k3os.phases.routes import set_routes
from k3os.system.run import run

from .test_default_routes import kernel  # noqa: F401
from .test_network import entry, link, words

BENCH = "192.168.1.10/24"
MADE_UP = "169.254.7.7/16"


def falling_back(gateway: str = "", **others: object) -> dict:
    found = entry("eth0", static=(), fallback=BENCH, fallback_gateway=gateway, **others)
    return {**found, "fixed": []}


TABLE = {
    "connman still asks": ((), []),
    "connman has given up": ((MADE_UP,), [f"add {BENCH} brd + dev eth0"]),
    "it is there": ((MADE_UP, BENCH), []),
    "connman asks once more": ((BENCH,), []),
    "an answer": ((BENCH, "10.0.2.15/24"), [f"delete {BENCH} dev eth0"]),
    "an answer while the made up one is there yet": (
        (MADE_UP, BENCH, "10.0.2.15/24"),
        [f"delete {BENCH} dev eth0"],
    ),
    "a server from the start": (("10.0.2.15/24",), []),
    "the server gives that address": ((BENCH,), []),
    "the server gives it with another length": (
        ("192.168.1.10/16", BENCH),
        [f"delete {BENCH} dev eth0"],
    ),
}


@pytest.mark.parametrize("case", TABLE)
def test_the_table(case: str) -> None:
    present, commands = TABLE[case]
    found = decide_fallback(falling_back(), link("eth0", *present))
    assert words(found) == [f"ip address {each}" for each in commands]


def test_fixed_addresses_beside_dhcp_are_no_answer() -> None:
    asked = {**falling_back(), "fixed": ["10.5.0.2/24"]}
    found = decide_fallback(asked, link("eth0", MADE_UP, "10.5.0.2/24"))
    assert words(found) == [f"ip address add {BENCH} brd + dev eth0"]


def test_one_that_leaves_the_configuration_leaves_the_interface() -> None:
    former = {**falling_back(), "below": "", "mtu": 0, "made": {}, "routes": [], "rules": []}
    there = [link("eth0", MADE_UP, BENCH)]
    assert words(undo([former], [], there)) == [f"ip address delete {BENCH} dev eth0"]
    assert undo([former], [former], there) == []


def settle(entries: list[dict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    plan = tmp_path / "network.json"
    plan.write_text(json.dumps(entries))
    monkeypatch.setattr(settling, "PLAN", str(plan))
    monkeypatch.setattr(settling, "order", lambda *_: False)
    done, _ = set_routes()
    assert set_routes()[0] == []
    return done


def test_the_node_is_reachable_and_has_a_way_out_until_a_server_answers(
    kernel: None,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In a network namespace, with connman's part done by hand. The DHCP server's network is that
    of the fallback, so its address is secondary, and the kernel would remove it with the first."""
    entries = [falling_back("192.168.1.1")]
    run(["ip", "address", "flush", "dev", "eth0"])
    assert settle(entries, tmp_path, monkeypatch) == []
    run(["ip", "address", "add", MADE_UP, "dev", "eth0"])
    run(["ip", "route", "add", "default", "dev", "eth0"])  # as connman adds it
    settle(entries, tmp_path, monkeypatch)
    shown = run(["ip", "route", "get", "192.0.2.1"]).decode()
    assert "via 192.168.1.1 dev eth0 src 192.168.1.10" in shown
    run(["ip", "address", "delete", MADE_UP, "dev", "eth0"])
    run(["ip", "address", "add", "192.168.1.77/24", "dev", "eth0"])
    run(["ip", "route", "add", "default", "via", "192.168.1.254", "dev", "eth0", "metric", "9"])
    run(["ip", "route", "delete", "default", "via", "192.168.1.1", "dev", "eth0"])
    settle(entries, tmp_path, monkeypatch)
    (there,) = [each for each in addresses() if each["ifname"] == "eth0"]
    assert [each["local"] for each in there["addr_info"]] == ["192.168.1.77"]
    shown = run(["ip", "route", "get", "192.0.2.1"]).decode()
    assert "via 192.168.1.254 dev eth0 src 192.168.1.77" in shown


def test_the_way_out_of_the_bench_goes_with_its_address(
    kernel: None,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entries = [falling_back("192.168.1.1")]
    run(["ip", "address", "flush", "dev", "eth0"])
    run(["ip", "address", "add", MADE_UP, "dev", "eth0"])
    settle(entries, tmp_path, monkeypatch)
    run(["ip", "address", "add", "10.0.0.77/24", "dev", "eth0"])
    run(["ip", "route", "prepend", "default", "via", "10.0.0.1", "dev", "eth0"])
    settle(entries, tmp_path, monkeypatch)
    left = [each["gateway"] for each in routes_of(4) if each["dst"] == "default"]
    assert left == ["10.0.0.1"]
