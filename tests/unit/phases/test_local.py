"""rc.local and local.d: which scripts run, in which order, and what is said about the others."""

import json
from pathlib import Path

import pytest

from k3os.cli import local as command
from k3os.cli.options import Usage
from k3os.node import status, status_text
from k3os.phases import local
from k3os.phases.node import Node
from k3os.phases.run_command import RunCommand

from .conftest import Machine

SCRIPT = "#!/bin/sh\necho hello\n"


def put(machine: Machine, name: str, text: str = SCRIPT, mode: int = 0o755) -> None:
    machine.put(name, text)
    (machine.root / name).chmod(mode)


def argvs(machine: Machine, verb: str) -> list[str | list[str]]:
    actions = local.plan(verb, Node(str(machine.root)))
    return [action.command for action in actions if isinstance(action, RunCommand)]


def test_rc_local_comes_first_then_the_start_scripts_by_name(machine: Machine) -> None:
    for name in ("10-b.start", "2-c.start", "10-a.start", "x.stop", "README", ".10-a.start.swp"):
        put(machine, f"etc/local.d/{name}")
    put(machine, "etc/rc.local")
    assert argvs(machine, "start") == [
        ["/etc/rc.local", "start"],
        ["/etc/local.d/10-a.start"],
        ["/etc/local.d/10-b.start"],
        ["/etc/local.d/2-c.start"],
    ]
    assert argvs(machine, "stop") == [["/etc/local.d/x.stop"]]


def test_without_scripts_there_is_nothing_to_do(machine: Machine) -> None:
    assert local.plan("start", Node(str(machine.root))) == []
    assert local.plan("stop", Node(str(machine.root))) == []


def test_a_script_without_an_interpreter_line_is_the_shells(machine: Machine) -> None:
    put(machine, "etc/rc.local", "echo hello\n")
    put(machine, "etc/local.d/program.start", "\x7fELF…")
    assert argvs(machine, "start") == [
        ["/bin/sh", "/etc/rc.local", "start"],
        ["/etc/local.d/program.start"],
    ]


def test_one_that_is_not_executable_is_reported_with_the_remedy(machine: Machine) -> None:
    put(machine, "etc/local.d/a.start", mode=0o644)
    put(machine, "etc/local.d/b.start")
    (machine.root / "etc/local.d/c.start").mkdir()
    said: list[str] = []
    report = local.run_scripts("start", mode="live", say=said.append, root=str(machine.root))
    assert said == [
        "/etc/local.d/a.start: local: run a.start: is not executable; "
        "write it with permissions: '0755'",
        "/etc/local.d/c.start: local: run c.start: is not a file",
    ]
    assert [result.result for result in report.results] == ["failed", "later", "failed"]
    phases = json.loads(machine.text("run/k3os/status.json"))["phases"]
    assert len(phases["local"]["actions"]) == 3


def test_status_shows_what_became_of_the_scripts(machine: Machine) -> None:
    put(machine, "etc/local.d/a.start", mode=0o644)
    local.run_scripts("start", mode="live", say=lambda line: None, root=str(machine.root))
    lines = status_text.lines(status.collect(str(machine.root)))
    assert any(line.startswith("\nlocal, ") for line in lines)
    assert any(line.startswith("FAILED local: /etc/local.d/a.start: ") for line in lines)


def test_a_stop_script_ends_before_systemds_patience_does() -> None:
    unit = Path(__file__).parents[3] / "overlay/rootfs/usr/lib/systemd/system/k3os-local.service"
    assert f"TimeoutStopSec={2 * local.LIMITS['stop']}s\n" in unit.read_text()


@pytest.mark.parametrize("arguments", [[], ["restart"], ["start", "stop"]])
def test_wrong_usage_is_answered_with_the_right_one(
    arguments: list[str],
) -> None:
    with pytest.raises(Usage, match="`k3os local --help` explains it"):
        command.main(arguments)
