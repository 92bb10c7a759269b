"""The kernel is locked down as far as configured, and never less than it already is."""

import pytest

from .conftest import Machine

FILE = "sys/kernel/security/lockdown"
DISABLED = "proc/sys/kernel/modules_disabled"


@pytest.mark.parametrize(
    ("before", "wanted", "after", "result"),
    [
        ("[none] integrity confidentiality", "integrity", "integrity", "done"),
        ("[none] integrity confidentiality", "confidentiality", "confidentiality", "done"),
        ("none [integrity] confidentiality", "confidentiality", "confidentiality", "done"),
        ("none [integrity] confidentiality", "integrity", None, "unchanged"),
        ("none integrity [confidentiality]", "integrity", None, "unchanged"),
    ],
)
def test_the_level_only_rises(
    machine: Machine, before: str, wanted: str, after: str | None, result: str
) -> None:
    machine.put(FILE, before)
    report = machine.apply("boot", f"k3os: {{lockdown: {wanted}}}\n")
    (own,) = [each for each in report.results if each.key == "k3os.lockdown"]
    assert own.result == result
    assert machine.text(FILE) == (after or before)


def test_a_kernel_without_it_is_a_failure_that_costs_itself_only(machine: Machine) -> None:
    report = machine.apply("boot", "hostname: a\nk3os: {lockdown: integrity}\n")
    assert [each.key for each in report.failed] == ["k3os.lockdown"]
    assert "has no lockdown" in report.failed[0].reason
    assert machine.text("etc/hostname") == "a\n"


def test_modules_are_locked_when_k3s_is_ready_and_not_before(machine: Machine) -> None:
    machine.put(DISABLED, "0\n")
    text = "k3os: {lock_modules: true}\n"
    machine.apply("boot", text)
    report = machine.apply("runtime")
    started = [each.what for each in report.results if each.key == "k3os.lock_modules"]
    assert started == ["start k3os-ready.service"]
    assert machine.text(DISABLED) == "0\n"
    machine.apply("ready")
    assert machine.text(DISABLED) == "1"
    (again,) = machine.apply("ready").results
    assert again.result == "unchanged"


def test_without_it_modules_can_be_loaded(machine: Machine) -> None:
    machine.put(DISABLED, "0\n")
    for text in ("hostname: a\n", "k3os: {lock_modules: false}\n"):
        machine.apply("runtime", text)
        machine.apply("ready")
    assert machine.text(DISABLED) == "0\n"
