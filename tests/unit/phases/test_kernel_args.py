"""k3os.kernel_args on a node: when it makes a new generation, and what it says otherwise."""

import json

import pytest

from k3os.phases import kernel_args as applier
from k3os.phases.node import Node
from k3os.phases.phase_report import ActionResult

from .conftest import Machine

WANTED = "k3os: {kernel_args: [nosmt, audit=1]}\n"
KEY = "k3os.kernel_args"


def generation(machine: Machine, number: int, *arguments: str, current: bool = True) -> None:
    record = {"k3os": "1", "kernel_args": list(arguments)}
    machine.put(f"k3os/system/generations/{number}/manifest.json", json.dumps(record))
    if current:
        link = machine.root / "k3os/system/current"
        link.unlink(missing_ok=True)
        link.symlink_to(f"generations/{number}")


def own(machine: Machine, config: str = WANTED, mode: str = "disk", **more: object) -> list:
    report = machine.apply("runtime", config, mode=mode, **more)  # type: ignore[arg-type]
    return [each for each in report.results if each.key == KEY]


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that would be started on a real node."""
    found: list[list[str]] = []

    def run_k3os(arguments: list[str], *_: object, **__: object) -> str:
        found.append(arguments)
        return ""

    monkeypatch.setattr("k3os.system.own_command.run_k3os", run_k3os)
    monkeypatch.setattr(Node, "is_real", property(lambda _: True))
    return found


def perform(machine: Machine, *wanted: str) -> applier.TellKernel:
    """Perform only this action: others must not touch the host."""
    from k3os.config.value import Place

    action = applier.TellKernel(KEY, Place("config.yaml", 1, 1), wanted)
    action.result = action.perform(Node(str(machine.root), mode="disk"))
    return action


def test_a_change_makes_a_generation_and_says_that_a_boot_is_needed(
    machine: Machine, commands: list
) -> None:
    generation(machine, 1)
    action = perform(machine, "nosmt")
    assert commands == [["upgrade", "--kernel-args"]]
    assert (action.result, action.note) == ("done", applier.REBOOT)
    assert action.describe() == "boot with nosmt"


def test_what_runs_already_is_left_alone(machine: Machine, commands: list) -> None:
    generation(machine, 1, "nosmt", "audit=1")
    machine.put("run/k3os/generation", "generations/1\n")
    action = perform(machine, "nosmt", "audit=1")
    assert (action.result, action.note, commands) == ("unchanged", "", [])


def test_what_waits_for_a_boot_is_said_until_then(machine: Machine, commands: list) -> None:
    generation(machine, 1)
    generation(machine, 2, "nosmt")
    machine.put("run/k3os/generation", "generations/1\n")
    action = perform(machine, "nosmt")
    assert (action.result, action.note, commands) == ("later", applier.REBOOT, [])


def test_without_the_key_they_are_taken_away(machine: Machine, commands: list) -> None:
    generation(machine, 1, "nosmt")
    action = perform(machine)
    assert commands == [["upgrade", "--kernel-args"]]
    assert (action.result, action.note) == ("done", applier.REBOOT)


@pytest.mark.parametrize(
    ("path", "words"),
    [("run/k3os/trial", "on trial"), ("var/lib/rancher/k3os/config-tried.json", "config keep")],
)
def test_what_is_tried_comes_to_its_end_first(
    machine: Machine, commands: list, path: str, words: str
) -> None:
    generation(machine, 1)
    machine.put(path, "600\n")
    action = perform(machine, "nosmt")
    assert (action.result, commands) == ("later", [])
    assert words in action.note


def refuse(machine: Machine, *arguments: str) -> None:
    record = {"kernel_args": list(arguments), "when": "2026-01-02T03:04:05Z", "reason": "it hung"}
    machine.put("k3os/system/kernel-args-refused.json", json.dumps(record))


def test_what_did_not_come_up_is_not_tried_again_and_stays_a_failure(machine: Machine) -> None:
    generation(machine, 1)
    refuse(machine, "nosmt", "audit=1")
    for _ in range(2):
        (result,) = own(machine)
        assert result.result == "failed"
        assert "it hung" in result.reason
        assert "`sudo k3os upgrade --kernel-args`" in result.reason


def test_other_arguments_are_tried(machine: Machine, commands: list) -> None:
    generation(machine, 1)
    refuse(machine, "nosmt")
    assert perform(machine, "audit=1").result == "done"
    assert commands == [["upgrade", "--kernel-args"]]


def test_without_the_key_what_failed_is_forgotten(machine: Machine, commands: list) -> None:
    generation(machine, 1)
    refuse(machine, "nosmt")
    assert perform(machine).result == "unchanged"
    assert commands == [["upgrade", "--kernel-args"]]


@pytest.mark.parametrize("mode", ["live", "overlay"])
def test_where_it_has_no_effect_a_person_is_told(machine: Machine, mode: str) -> None:
    said: list[str] = []
    (result,) = own(machine, mode=mode, say=said.append)
    assert result.result == "later"
    assert "no effect" in result.reason
    (line,) = [each for each in said if KEY in each]
    assert line.startswith("/k3os/system/config.yaml:1:")
    assert "warning" in line


def test_an_installation_carries_them_on_and_says_nothing(machine: Machine) -> None:
    assert own(machine, mode="install") == []


@pytest.mark.parametrize("mode", ["live", "disk", "overlay"])
def test_nobody_hears_of_a_key_that_nobody_wrote(machine: Machine, mode: str) -> None:
    generation(machine, 1)
    assert own(machine, "hostname: a\n", mode) == []


def test_it_is_said_once_although_a_boot_is_what_it_waits_for(machine: Machine) -> None:
    generation(machine, 1)
    own(machine, "hostname: a\n")
    results: list[ActionResult] = own(machine)
    assert [each.what for each in results] == ["boot with nosmt audit=1"]
