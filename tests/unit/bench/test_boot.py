"""What is read from a booted machine, and from QEMU's process."""

import argparse
import os
import time
from pathlib import Path

import pytest
import yaml

from bench import peer
from bench.__main__ import Boots, compare_boots, real_k3s
from bench.boot import Boot, check_settings, cpu_seconds, used_memory
from bench.scenario import (
    AUTOLOGIN,
    CONFIG_YAML,
    EXPECTED,
    READY_COMMAND,
    READY_CONFIG_YAML,
    READY_PROGRAM,
    READY_TEXT,
)
from k3os.errors import UserError
from k3os.image.settings import from_environment

MEMINFO = "MemTotal:        2020544 kB\nMemFree: 1 kB\nMemAvailable:    1800136 kB\n"


class Guest:
    """A machine that answers commands from a table."""

    def __init__(self, answers: dict[str, str]) -> None:
        self.answers = answers

    def command(self, command: str, timeout: float) -> tuple[int, str]:
        return (0, self.answers[command]) if command in self.answers else (127, "not found")


def test_used_memory_is_total_less_available() -> None:
    assert used_memory(MEMINFO) == (2020544 - 1800136) * 1024


def test_the_processor_time_of_a_process_grows_with_its_work() -> None:
    before = cpu_seconds(os.getpid())
    end = time.process_time() + 0.1
    while time.process_time() < end:
        pass
    assert 0.05 < cpu_seconds(os.getpid()) - before < 5


def test_settings_that_arrived_are_accepted() -> None:
    check_settings(Guest({command: f"{wanted}\n" for command, wanted in EXPECTED.items()}))  # type: ignore[arg-type]


@pytest.mark.parametrize("broken", list(EXPECTED))
def test_a_setting_that_did_not_arrive_stops_the_bench(broken: str) -> None:
    with pytest.raises(UserError, match="did not arrive"):
        check_settings(Guest({**EXPECTED, broken: "something else"}))  # type: ignore[arg-type]


def test_the_budgets_of_the_boot_are_the_projects() -> None:
    ours = Boot(login=4.0, k3s=6.0, cpu=5.0, memory=100.0, settled=100.0, offset=1.0)
    theirs = Boot(login=10.0, k3s=9.0, cpu=9.0, memory=99.0, settled=100.0, offset=1.0)
    rows = {row.name: row for row in compare_boots(Boots(live=[ours], peer=[theirs]))}
    assert rows["time to login:"].within is True
    assert rows["memory used at login"].within is False
    assert rows["time to k3s exec"].ratio == pytest.approx(2 / 3)


def test_with_a_real_k3s_time_and_memory_count_at_its_readyz_of_disks() -> None:
    live = Boot(4.0, k3s=80.0, cpu=5.0, memory=9.0, settled=9.0, offset=1.0, ready=200.0)
    disk = Boot(4.0, k3s=65.0, cpu=5.0, memory=9.0, settled=9.0, offset=1.0, ready=96.0)
    theirs = Boot(10.0, k3s=100.0, cpu=9.0, memory=9.0, settled=9.0, offset=1.0, ready=100.0)
    boots = Boots(live=[live], disk=[disk], peer=[theirs])
    rows = {row.name: row for row in compare_boots(boots, real=True)}
    assert rows["time to /readyz of k3s"].within is True
    assert rows["memory used at /readyz of k3s"].within is False
    assert rows["memory used at /readyz of k3s"].ratio == pytest.approx(0.96)
    assert rows["memory used at /readyz of k3s, our live ISO"].ratio == pytest.approx(2.0)
    assert rows["memory used at /readyz of k3s, our live ISO"].within is None
    assert "time to k3s exec" not in rows
    assert not any("readyz" in row.name for row in compare_boots(boots))


@pytest.mark.parametrize("text", ["v1.33.1+k3s1", "https://example.org/k3s", "/nowhere/k3s"])
def test_only_an_executable_here_is_compared(text: str, capsys) -> None:
    with pytest.raises(SystemExit):
        real_k3s(text, argparse.ArgumentParser())
    assert f"K3S={text}: the bench takes the path of an executable" in capsys.readouterr().err
    assert real_k3s("", argparse.ArgumentParser()) is None
    assert real_k3s("bench/k3s", argparse.ArgumentParser()) == Path("bench/k3s").absolute()


def test_the_program_that_waits_for_k3s_is_in_both_systems_the_same(tmp_path: Path) -> None:
    config = yaml.safe_load(READY_CONFIG_YAML)
    (file,) = (each for each in config["write_files"] if each["path"] == READY_PROGRAM)
    assert file["content"] == READY_TEXT == peer.REAL_FILES[READY_PROGRAM]
    assert {AUTOLOGIN, READY_PROGRAM} < {each["path"] for each in config["write_files"]}
    compile(READY_TEXT, READY_PROGRAM, "exec")
    assert READY_COMMAND in config["run_cmd"][0]
    assert READY_COMMAND in peer.REAL_FILES["/etc/systemd/system/bench-ready.service"]
    assert config["hostname"] == yaml.safe_load(CONFIG_YAML)["hostname"]


def test_the_peer_starts_what_its_files_say(tmp_path: Path) -> None:
    units = ["k3s.service", "bench-ready.service"]
    settings = from_environment({})
    command = peer.mmdebstrap_command(
        settings, tmp_path / "k3s", ["one", "two"], tmp_path, units, tmp_path
    )
    assert "--include=one,two" in command
    assert any(
        each.endswith("systemctl enable k3s.service bench-ready.service") for each in command
    )
