"""The runner: idempotent, reports everything, survives everything."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from k3os.config.key import BOOT, INITRD, NEVER
from k3os.config.schema import BY_PATH, TABLE
from k3os.phases import hostname
from k3os.phases.table import APPLIERS, DATA_SOURCES

from .conftest import KEY, Machine

EVERYTHING = f"""
hostname: node1
ssh_authorized_keys: ["{KEY}"]
write_files:
- {{path: /etc/x, content: hello}}
k3os:
  password: clear text
  sysctls: {{kernel.printk: 4 4 1 7}}
  environment: {{http_proxy: "http://proxy:3128"}}
  token: cluster secret
  labels: {{region: west}}
  taints: "a=b:NoSchedule"
  k3s_args: [server, --disable=traefik]
"""


@pytest.mark.parametrize("phase", ["boot", "runtime"])
def test_applying_a_phase_twice_changes_nothing_the_second_time(
    machine: Machine, phase: str
) -> None:
    first = machine.apply(phase, EVERYTHING)
    assert not first.failed, first.lines()
    assert "done" in {result.result for result in first.results}
    second = machine.apply(phase)
    assert {result.result for result in second.results} == {"unchanged"}


def test_the_initrd_phase_writes_files_only_below_the_initrds_root(machine: Machine) -> None:
    report = machine.apply("initrd", EVERYTHING)
    keys = {result.key.partition(".kernel")[0] for result in report.results}
    assert keys == {"write_files", "k3os.sysctls", "k3os.password"}
    later = [result for result in report.results if result.result == "later"]
    assert [(result.key, "boot phase" in result.reason) for result in later] == [
        ("k3os.password", True)
    ]


def test_every_key_of_a_phase_has_an_applier() -> None:
    owned = [path for applier in APPLIERS.values() for path in applier.keys]
    assert len(set(owned)) == len(owned)
    assert set(owned) <= set(BY_PATH)
    without = {key.path for key in TABLE if key.phases != NEVER} - set(owned)
    assert without == {DATA_SOURCES}


def test_an_applier_that_breaks_is_reported_and_the_others_still_run(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(config: object, node: object) -> list[object]:
        raise RuntimeError("a bug")

    monkeypatch.setattr(hostname, "plan", broken)
    report = machine.apply("boot", EVERYTHING)
    (failed,) = report.failed
    assert (failed.what, failed.is_bug) == ("plan hostname", True)
    assert failed.reason.startswith("RuntimeError: a bug in k3os/phases/apply.py:")
    assert machine.text("etc/x") == "hello"


def test_an_error_in_one_value_leaves_the_others_applied_and_is_said(machine: Machine) -> None:
    said: list[str] = []
    text = "write_files:\n- {path: ~/relative}\n- {path: /etc/good, content: x}\nhostname: a_b\n"
    report = machine.apply("boot", text, said.append)
    assert machine.text("etc/good") == "x"
    assert not report.is_fine
    assert any("config.yaml:2:10: write_files[0].path" in line for line in said)
    assert any("config.yaml:4:11: hostname" in line for line in said)


def test_the_status_has_each_phase_and_no_secret_and_everybody_may_read_it(
    machine: Machine,
) -> None:
    machine.apply("boot", EVERYTHING)
    machine.apply("runtime")
    text = machine.text("run/k3os/status.json")
    status = json.loads(text)
    assert list(status["phases"]) == ["boot", "runtime"]
    assert status["mode"] == "live"
    assert machine.mode("run/k3os/status.json") == 0o644
    for secret in ("clear text", "cluster secret", "proxy:3128"):
        assert secret not in text
    action = status["phases"]["boot"]["actions"][0]
    assert sorted(action) == ["from", "key", "reason", "result", "what"]


def test_a_status_file_that_is_broken_is_replaced(machine: Machine) -> None:
    machine.put("run/k3os/status.json", "{half")
    machine.apply("boot", EVERYTHING)
    assert list(json.loads(machine.text("run/k3os/status.json"))["phases"]) == ["boot"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(data=st.binary(max_size=120), phase=st.sampled_from(["initrd", "boot", "runtime"]))
def test_no_configuration_makes_a_phase_raise(machine: Machine, data: bytes, phase: str) -> None:
    path = machine.root / "k3os/system/config.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"k3os: {token: x}\n" + data)
    machine.apply(phase)


def test_the_console_hears_of_a_problem_once_in_a_boot(machine: Machine) -> None:
    said: list[str] = []
    machine.apply("initrd", "hostnam: x\nk3os: {token: [a]}\n", said.append)
    assert len(said) == 2
    machine.apply("boot", say=said.append)
    assert len(said) == 2
    machine.apply("runtime", say=said.append)  # called by hand, or logged in the journal
    assert len(said) == 4


def test_the_initrd_imports_no_applier_that_only_the_runtime_phase_needs() -> None:
    """`preload` imports those that always run and name no phases; each import takes boot time."""
    early = {BOOT, INITRD}
    for name, applier in APPLIERS.items():
        if applier.always and not applier.phases:
            phases = {phase for path in applier.keys for phase in BY_PATH[path].phases}
            assert phases & early, name
