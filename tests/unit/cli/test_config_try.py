"""`k3os config try`: how it handles the file that it puts in place. The timer and a boot are tested
in a virtual machine."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from k3os.cli import config as command
from k3os.cluster.node_status import Failure
from k3os.config import tried
from k3os.errors import UserError
from k3os.node import config_try

SOURCES = ("/", "/k3os/system", None)
PROGRAM = """#!/bin/sh
echo "$(basename "$0") $*" >> "{log}"
[ ! -e "{root}/fails-$(basename "$0")" ]
"""


class Machine:
    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.log = root, root / "log"
        self.place = root / "config.yaml"
        self.place.write_text("hostname: before\n")
        self.new = root / "new.yaml"
        self.new.write_text("hostname: after\n")
        self.failures: list[Failure] = []
        self.addresses = {"10.0.0.5"}
        self.said: list[str] = []
        (root / "bin").mkdir()
        for name in ("systemd-run", "systemctl", "k3os"):
            program = root / "bin" / name
            program.write_text(PROGRAM.format(log=self.log, root=root))
            program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{root}/bin:/usr/bin:/bin")
        monkeypatch.setattr(tried, "TRIED", str(root / "tried.json"))
        monkeypatch.setattr("k3os.node.status.collect", lambda: None)
        monkeypatch.setattr("k3os.node.status_text.failures", lambda _: self.failures)
        monkeypatch.setattr("k3os.system.console.say", self.said.append)
        monkeypatch.setattr("k3os.node.configure.tell_k3s", self.tell_k3s)
        monkeypatch.setattr(config_try, "session_address", lambda: "10.0.0.5")
        monkeypatch.setattr(config_try, "local_addresses", lambda: self.addresses)
        monkeypatch.setattr(config_try, "NETWORK_SECONDS", 0.0)
        monkeypatch.setattr(config_try, "POLL", 0.0)

    def tell_k3s(self, _: object, *, restart: bool) -> None:
        assert restart
        with self.log.open("a") as file:
            file.write("restart\n")

    def begin(self, *, restart: bool = False) -> int:
        return config_try.begin(str(self.new), str(self.place), 300, SOURCES, restart=restart)

    def called(self) -> list[str]:
        """The commands since the last call, except those that stop a timer."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.write_text("")
        return [line for line in lines if not line.startswith("systemctl")]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_the_timer_runs_before_anything_is_changed(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert machine.begin() == 0
    timer, applied = machine.called()
    assert timer.startswith("systemd-run ")
    assert "--on-active=300 " in timer
    assert timer.endswith(" k3os config back --expired=yes")
    assert applied == "k3os config"
    assert machine.place.read_text() == "hostname: after\n"
    assert "k3os config keep" in capsys.readouterr().out


def test_without_a_timer_nothing_is_tried(machine: Machine) -> None:
    (machine.root / "fails-systemd-run").touch()
    with pytest.raises(UserError, match="timer"):
        machine.begin()
    assert machine.place.read_text() == "hostname: before\n"
    assert not tried.known()


def test_a_file_with_errors_is_refused_and_nothing_is_changed(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.new.write_text("hostname: [a]\n")
    with pytest.raises(UserError, match="nothing was changed"):
        machine.begin()
    assert "new.yaml:1:" in capsys.readouterr().out
    assert machine.called() == []
    assert machine.place.read_text() == "hostname: before\n"


def test_what_fails_of_it_takes_it_back_and_what_others_ask_for_does_not(machine: Machine) -> None:
    machine.failures = [Failure("runtime", "x: y", "/another.yaml")]
    assert machine.begin() == 0
    assert config_try.keep() == 0
    machine.new.write_text("hostname: third\n")
    machine.failures = [Failure("runtime", "it cannot", str(machine.place))]
    assert machine.begin() == 1
    assert machine.place.read_text() == "hostname: after\n"
    assert "it cannot" in machine.said[0]
    assert not tried.known()


def test_the_network_of_the_session_that_goes_takes_it_back(machine: Machine) -> None:
    machine.addresses = {"10.9.9.9"}
    assert machine.begin() == 1
    assert machine.place.read_text() == "hostname: before\n"
    assert "the address 10.0.0.5, which you are logged in to, is gone" in machine.said[0]
    assert machine.called()[1:] == ["k3os config", "k3os config"]


def test_k3s_is_restarted_both_ways_when_asked(machine: Machine) -> None:
    assert machine.begin(restart=True) == 0
    assert machine.called()[1:] == ["k3os config", "restart"]
    assert config_try.back(SOURCES) == 0
    assert machine.called() == ["k3os config", "restart"]


def test_one_at_a_time(machine: Machine) -> None:
    machine.begin()
    with pytest.raises(UserError, match="another configuration is being tried"):
        machine.begin()
    config_try.keep()
    assert machine.begin() == 0


@pytest.mark.parametrize("word", ["keep", "back"])
def test_nothing_that_is_tried_is_said(
    machine: Machine, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    call = config_try.keep if word == "keep" else lambda: config_try.back(SOURCES)
    assert call() == 1
    assert capsys.readouterr().out == "no configuration is being tried\n"


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["try"], "a word is missing"),
        (["try", "a", "b"], "unexpected word"),
        (["try", "a", "--for", "5"], "--for takes"),
        (["try", "a", "--for", "25h"], "--for takes"),
        (["try", "a", "--for", "soon"], "--for takes"),
        (["try", "a", "--as", "/etc/x.yaml"], "nothing can be tried there"),
        (["try", "a", "--as", "/k3os/system/config.yaml"], "nothing can be tried there"),
        (["try", "a", "--as", "/var/lib/rancher/k3os/config.d/80-nodepool.yaml"], "nothing can"),
        (["keep", "a"], "unexpected word"),
    ],
)
def test_wrong_words(words: list[str], wanted: str) -> None:
    with pytest.raises(UserError, match=wanted):
        command.main(words)


def test_the_session_is_found_above_sudo(tmp_path: Path) -> None:
    own = os.getpid()

    def process(pid: int, parent: int, environ: bytes) -> None:
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "environ").write_bytes(environ)
        (tmp_path / str(pid) / "stat").write_text(f"{pid} (a) name) S {parent} 1 1")

    process(own, 900, b"A=b\0")
    process(900, 800, b"")
    process(800, 1, b"A=b\0SSH_CONNECTION=10.0.0.9 5000 fe80::1%eth0 22\0")
    assert config_try.session_address(str(tmp_path)) == "fe80::1%eth0"
    assert config_try.session_address(str(tmp_path / "none")) == ""
    (tmp_path / "800/environ").write_bytes(b"SSH_CONNECTION=nonsense\0")
    assert config_try.session_address(str(tmp_path)) == ""


def test_local_addresses_are_those_of_ip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "ip"
    listed = [
        {"ifname": "lo", "addr_info": [{"local": "127.0.0.1", "prefixlen": 8}]},
        {"ifname": "x"},
    ]
    program.write_text(f"#!/bin/sh\necho '{json.dumps(listed)}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert config_try.local_addresses() == {"127.0.0.1", "::ffff:127.0.0.1"}
