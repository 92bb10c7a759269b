"""k3s, when its node no longer has the address that it registered with."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from k3os.cluster.node_status import K3sUnit, NodeStatus
from k3os.node import k3s_address, k3s_follow
from k3os.node.k3s_address import (
    APART,
    NOTHING,
    RESTART,
    SAY,
    Decision,
    Seen,
    addresses_of,
    decide,
    remember,
)
from k3os.node.k3s_follow import follow, leading
from k3os.node.status_text import failures, lines
from k3os.system.run import CommandError

WAS, NOW = "10.0.2.15", "10.1.0.7"


def seen(**changes: Any) -> Seen:
    """A node that was moved to another subnet."""
    known = {"registered": (WAS,), "present": (NOW, "fd00::7"), "leading": NOW, "name": "node-1"}
    return Seen(**{**known, **changes})


# situation, action, part of the message
TABLE = {
    "an agent, or a server with sqlite": ({}, RESTART, "was 10.0.2.15 and is 10.1.0.7 now"),
    "the address is there": ({"present": (WAS, NOW)}, NOTHING, "registered"),
    "it has not registered": ({"registered": ()}, NOTHING, "registered"),
    "no other address": ({"present": (), "leading": ""}, NOTHING, "no default route"),
    "an address, and no way out: k3s would not start": ({"leading": ""}, NOTHING, "no default"),
    "etcd": ({"has_etcd": True}, SAY, "--cluster-reset"),
    "etcd, of which k3s has ended already": ({"has_etcd": True, "k3s": "activating"}, SAY, "etcd"),
    "told its address": ({"given": {"node-ip": WAS}}, SAY, "--node-ip=10.0.2.15"),
    "told two, of which one is gone": ({"given": {"node-ip": f"{NOW},{WAS}"}}, SAY, "--node-ip"),
    "told the one that it has now": ({"given": {"node-ip": NOW}}, RESTART, ""),
    "told to listen everywhere": ({"given": {"bind-address": "0.0.0.0"}}, RESTART, ""),
    "told what others are to call": ({"given": {"advertise-address": WAS}}, SAY, "--advertise"),
    "a VPN gives it its address": ({"given": {"vpn-auth": "secret-key"}}, SAY, "--vpn-auth,"),
    "k3s is stopped": ({"k3s": "inactive"}, NOTHING, "when it starts"),
    "k3s is starting": ({"k3s": "activating"}, NOTHING, "when it starts"),
    "k3s has started since": ({"is_younger": True}, NOTHING, "chosen by itself"),
    "the machine goes down": ({"is_stopping": True}, NOTHING, "going down"),
    "the machine goes down, with etcd": (
        {"is_stopping": True, "has_etcd": True},
        NOTHING,
        "going down",
    ),
    "k3s was just started for it": ({"taken": (NOW, 20.0)}, NOTHING, "just"),
    "it was started for it, and that was no help": ({"taken": (NOW, 400.0)}, SAY, "still"),
    "it was started for another one": ({"taken": ("10.9.0.1", APART)}, RESTART, ""),
    "it was started for another one just now": ({"taken": ("10.9.0.1", 20.0)}, NOTHING, "later"),
    "a cluster of IPv6": (
        {"registered": ("fd00:1::5",), "present": ("fd00:2::5",), "leading": "fd00:2::5"},
        RESTART,
        "fd00:2::5",
    ),
}


@pytest.mark.parametrize("case", TABLE)
def test_the_table(case: str) -> None:
    changes, what, words = TABLE[case]
    found = decide(seen(**changes))
    assert found.what == what and words in found.words
    assert "secret" not in found.words
    assert found.address == (changes.get("leading", NOW) if what == RESTART else "")


def test_what_etcd_takes_is_in_one_message_with_the_nodes_name() -> None:
    words = decide(seen(has_etcd=True)).words
    for each in (WAS, NOW, "k3os.network", "--cluster-reset", "kubectl delete node node-1"):
        assert each in words
    assert "\n" not in words
    page, _, anchor = words.rpartition(": ")[2].partition("#")
    root = Path(__file__).parents[3]
    title = next(each for each in (root / page).read_text().splitlines() if "s address cha" in each)
    assert title.lower().removeprefix("## ").replace("'", "").replace(" ", "-") == anchor


def node(*addresses: str) -> dict[str, Any]:
    listed = [{"type": "InternalIP", "address": each} for each in addresses]
    return {"status": {"addresses": [{"type": "Hostname", "address": "node-1"}, *listed]}}


def test_a_node_is_known_by_its_ipv4_addresses_where_it_has_any() -> None:
    assert addresses_of(node("fd00::5", WAS)) == [WAS]
    assert addresses_of(node("fd00::5")) == ["fd00::5"]
    assert addresses_of({**node(WAS), "spec": {"providerID": "k3s://node-1"}}) == [WAS]
    for odd in (
        {},
        {"status": None},
        {"status": {"addresses": "x"}},
        {"status": {"addresses": [1]}},
    ):
        assert addresses_of(odd) == []


def test_what_k3s_has_chosen_counts_and_not_what_a_clouds_controller_says() -> None:
    """That may be an address that no interface has, and k3s would be restarted again and again."""
    others = {**node("203.0.113.9"), "spec": {"providerID": "aws:///eu-1/i-1"}}
    assert addresses_of(others) == []
    chosen = {"metadata": {"annotations": {"k3s.io/internal-ip": f"{WAS},fd00::5"}}}
    assert addresses_of({**others, **chosen}) == [WAS]


def test_a_report_keeps_what_the_cluster_knows_and_says_when_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(k3s_address, "REGISTERED", str(tmp_path / "k3os/node-addresses"))
    monkeypatch.setattr(k3s_address, "MESSAGE", str(tmp_path / "message"))
    file = tmp_path / "k3os/node-addresses"
    here = [f"eth0 {WAS}/24", "eth0 fd00::7/64"]
    assert not remember({}, here) and not file.exists()
    assert not remember(node(WAS, "fd00::9"), here)
    assert file.read_text() == f"{WAS}\n"
    before = file.stat().st_ino
    (tmp_path / "message").write_text("do something\n")
    assert not remember(node(WAS), here)
    assert file.stat().st_ino == before, "a disk is not written for what it has"
    assert not (tmp_path / "message").exists()
    assert remember(node(WAS), [f"eth0 {NOW}/24"])
    assert remember(node(WAS), [])


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A machine with a given decision; returns what was said and run."""
    done: list[str] = []
    for name in ("MESSAGE", "TAKEN"):
        monkeypatch.setattr(k3s_follow, name, str(tmp_path / name))
    monkeypatch.setattr(k3s_follow, "ON_TRIAL", str(tmp_path / "trial"))
    monkeypatch.setattr(k3s_follow, "look", lambda _: seen())
    monkeypatch.setattr("k3os.config.load.load_config", lambda **_: (None, []))
    monkeypatch.setattr("k3os.system.console.say", lambda text: done.append(f"say {text}"))

    def run(words: list[str], **_: object) -> bytes:
        done.append(" ".join(words))
        return b""

    monkeypatch.setattr("k3os.system.run.run", run)
    return done


def test_k3s_is_started_anew_and_everybody_hears_why(machine: list[str]) -> None:
    assert follow().what == RESTART
    assert [each.partition(" ")[0] for each in machine] == ["say", "systemctl"]
    assert machine[1] == "systemctl restart --no-block k3s.service"
    assert Path(k3s_follow.TAKEN).read_text().strip() == NOW
    assert not os.path.exists(k3s_follow.MESSAGE), "there is nothing to do for anybody"


def test_what_somebody_has_to_do_is_said_once_and_stays_in_the_status(
    machine: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(k3s_follow, "decide", lambda _: Decision(SAY, "give it back"))
    follow()
    follow()
    assert machine == ["say give it back"]
    assert Path(k3s_follow.MESSAGE).read_text() == "give it back\n"


def test_a_trial_ends_first(machine: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    trial = Path(k3s_follow.ON_TRIAL)
    trial.write_text("600")
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        assert not machine
        waits.append(seconds)
        if len(waits) == 3:
            trial.unlink()

    monkeypatch.setattr(k3s_follow.time, "sleep", sleep)
    follow()
    assert len(waits) == 3 and machine


ROUTES = [
    {"dst": "default", "gateway": "10.1.0.1", "dev": "eth1", "metric": 600},
    {"dst": "default", "gateway": "10.0.2.2", "dev": "eth0"},
]


def links(**addresses: str) -> list[dict[str, Any]]:
    return [
        {
            "ifname": name,
            "addr_info": [{"family": "inet", "local": each, "prefixlen": 24, "scope": "global"}],
        }
        for name, each in addresses.items()
    ]


@pytest.mark.parametrize(
    ("routes", "present", "found"),
    [
        (ROUTES, {"eth0": WAS, "eth1": NOW}, WAS),
        (ROUTES[:1], {"eth0": WAS, "eth1": NOW}, NOW),
        (ROUTES, {"eth0": "169.254.7.7", "eth1": NOW}, NOW),
        ([], {"eth0": WAS}, ""),
        (ROUTES, {}, ""),
    ],
)
def test_k3s_takes_the_address_that_the_default_route_leaves_by(
    routes: list[dict], present: dict[str, str], found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(words: list[str], **_: object) -> bytes:
        if "-6" in words:
            raise CommandError(words, 2, b"no IPv6 here")
        return json.dumps(routes if "route" in words else links(**present)).encode()

    monkeypatch.setattr("k3os.system.run.run", run)
    assert leading(4) == found


def test_the_status_says_what_came_of_it() -> None:
    k3s = K3sUnit(True, "k3s", "loaded", "active", "running", "0", "")
    moved = NodeStatus(k3s=k3s, k3s_moved_to=NOW)
    assert f"           it restarted for this node's new address {NOW}" in lines(moved)
    assert failures(moved) == []
    stays = NodeStatus(k3s=k3s, k3s_address="give it 10.0.2.15 back")
    assert [str(each) for each in failures(stays)] == ["k3s: give it 10.0.2.15 back"]
    assert stays.as_dict()["k3s_address"] == "give it 10.0.2.15 back"
