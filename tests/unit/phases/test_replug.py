"""Interfaces that go down while connman's files change, and come up again whatever happens."""

import json
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from k3os.config.value import Place
from k3os.phases.actions import WriteFile
from k3os.phases.node import Node
from k3os.phases.replug import Replug

LINKS = [
    {"ifname": "eth0", "address": "52:54:00:00:00:01"},
    {"ifname": "eth1", "address": "52:54:00:00:00:02"},
    {"ifname": "eth2", "address": "52:54:00:00:00:03"},
]
TERMINATION = {signal.SIGHUP, signal.SIGINT, signal.SIGTERM}


class Machine:
    """Fake ip(8) and connmanctl(1): connman forgets an interface a few queries after it went
    down."""

    def __init__(self, slow: int = 2) -> None:
        self.done: list[str] = []
        self.connected = {"52540000000" + digit for digit in "12"}
        self.slow = self.answers = slow

    def run(self, words: Sequence[str], *, timeout: float) -> bytes:
        command = " ".join(words)
        if command == "ip -json -details address show":
            return json.dumps(LINKS).encode()
        if command == "connmanctl services":
            gone = {each.split()[4][-1] for each in self.done if each.endswith("down")}
            self.answers -= bool(gone)
            if self.answers < 0:
                self.connected -= {f"52540000000{int(digit) + 1}" for digit in gone}
            names = sorted(f"ethernet_{each}_cable" for each in self.connected)
            return "".join(f"*AR Wired   {each}\n" for each in names).encode()
        held = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        assert held >= TERMINATION, "nobody ends this while the node has no network"
        self.done.append(command)
        return b""


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    found = Machine()
    monkeypatch.setattr("k3os.system.run.run", found.run)
    return found


class Write(WriteFile):
    """Records when it happened."""

    __slots__ = ("machine",)
    machine: Machine

    def perform(self, node: Node) -> str:
        self.machine.done.append("write")
        return super().perform(node)


def replug(machine: Machine, path: Path, *devices: str) -> Replug:
    change = Write("k3os.network", Place("default"), str(path), b"text")
    change.machine = machine
    return Replug(Place("default"), [change], list(devices))


def test_the_files_change_while_connman_does_not_know_the_interfaces(
    machine: Machine, tmp_path: Path
) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    action = replug(machine, tmp_path / "file", "eth0", "52:54:00:00:00:02", "eth7")
    assert action.perform(Node("")) == "done"
    assert machine.done == [
        *("ip link set dev eth0 down", "ip link set dev eth1 down"),
        "write",
        *("ip link set dev eth1 up", "ip link set dev eth0 up"),
    ]
    assert machine.answers < 0, "it was waited for connman"
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before


def test_an_interface_that_connman_does_not_use_is_left_alone(
    machine: Machine, tmp_path: Path
) -> None:
    assert replug(machine, tmp_path / "file", "eth2").perform(Node("")) == "done"
    assert machine.done == ["write"]


def test_the_interfaces_come_up_again_when_a_file_cannot_be_written(
    machine: Machine, tmp_path: Path
) -> None:
    (tmp_path / "file").mkdir()
    with pytest.raises(Exception, match="is a directory"):
        replug(machine, tmp_path / "file", "eth1").perform(Node(""))
    assert machine.done[-1] == "ip link set dev eth1 up"
    assert not TERMINATION & signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_connman_that_does_not_forget_is_waited_for_with_an_end(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("k3os.phases.replug.time.monotonic", lambda: now[0])
    monkeypatch.setattr(
        "k3os.phases.replug.time.sleep", lambda seconds: now.__setitem__(0, now[0] + seconds)
    )
    machine.answers = 10_000
    assert replug(machine, tmp_path / "file", "eth1").perform(Node("")) == "done"
    assert 4 < now[0] < 7
    assert machine.done[-1] == "ip link set dev eth1 up"
