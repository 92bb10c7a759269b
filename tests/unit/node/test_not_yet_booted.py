"""Right after a power cut GRUB may not see the new generation yet: such a boot decides nothing
about it."""

import os
from contextlib import nullcontext
from pathlib import Path

import pytest

from k3os.generation import grubenv, trial
from k3os.node import boot_health
from tests.unit.generation.conftest import lay_down


@pytest.fixture
def done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Generation 2 is current and on trial, and generation 1 runs."""
    system = tmp_path / "base/k3os/system"
    for number in (1, 2):
        lay_down(system, number, kernel="6", k3os="0.1", k3s="v1")
    (system / "current").symlink_to("generations/2")
    (system / "previous").symlink_to("generations/1")
    trial.begin(str(tmp_path / "base"), "generations/2", 90)
    (tmp_path / "trial").write_text("90\n")
    (tmp_path / "running").write_text("generations/1\n")
    for name, path in (("ON_TRIAL", "trial"), ("RUNNING", "running"), ("BASE", "base")):
        monkeypatch.setattr(boot_health, name, str(tmp_path / path))
    found: list[str] = []
    monkeypatch.setattr("k3os.config.load.load_config", lambda **_: (None, []))
    monkeypatch.setattr("k3os.generation.switching.flush_journal", lambda _: None)
    monkeypatch.setattr("k3os.system.mounts.writable", nullcontext)
    monkeypatch.setattr("k3os.node.cluster_report.request_report", lambda: None)
    monkeypatch.setattr("k3os.system.console.say", lambda _: None)
    monkeypatch.setattr(boot_health, "checks", lambda _: [])
    monkeypatch.setattr(boot_health, "restart", lambda: found.append("restart"))
    return found


@pytest.mark.parametrize("missing", ["", "no interface has an address"])
def test_the_next_boot_is_its_first(
    done: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setattr(boot_health, "wait", lambda *_: missing)
    assert boot_health.conclude() is (not missing)
    assert done == (["restart"] if missing else [])
    assert not (tmp_path / "trial").exists()
    block = grubenv.read(str(tmp_path / "base"))
    assert (block["k3os_trial"], block["k3os_tries"]) == ("2", "3")
    assert os.readlink(tmp_path / "base/k3os/system/current") == "generations/2"


def test_its_own_boot_decides(
    done: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "running").write_text("generations/2\n")
    monkeypatch.setattr(boot_health, "wait", lambda *_: "")
    assert boot_health.conclude()
    assert grubenv.read(str(tmp_path / "base")) == {}
