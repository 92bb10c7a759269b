"""The watchdog of a trial: which one is used, and that only softdog is removed after the trial."""

import os
from pathlib import Path

import pytest

from k3os.system import kernelmodules, watchdog


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The loaded modules; softdog creates the device, like the real module."""
    loaded: set[str] = set()

    def load(names: list[str]) -> str:
        loaded.update(names)
        if "softdog" in names:
            (tmp_path / "watchdog").touch()
            (tmp_path / "watchdog0").touch()
        return ""

    def unload(names: list[str]) -> str:
        loaded.difference_update(names)
        return ""

    monkeypatch.setattr(kernelmodules, "load", load)
    monkeypatch.setattr(kernelmodules, "unload", unload)
    return loaded


def test_the_machines_own_watchdog_is_taken_and_its_driver_stays(
    tmp_path: Path, modules: set[str]
) -> None:
    device = tmp_path / "watchdog"
    device.touch()
    modules.add("i6300esb")
    dog = watchdog.Watchdog(str(device))
    dog.feed()
    dog.stop()
    assert device.read_bytes() == b"\0V"
    dog.forget()
    assert modules == {"i6300esb"}


def test_the_kernels_own_is_only_there_for_the_trial(tmp_path: Path, modules: set[str]) -> None:
    dog = watchdog.Watchdog(str(tmp_path / "watchdog"))
    assert modules == {"softdog"}
    assert not list(tmp_path.glob("watchdog*")), "PID 1 would take it when the guard lets go"
    dog.feed()
    dog.stop()
    assert modules == {"softdog"}, "a shutdown during the trial is watched, too"
    dog.forget()
    assert modules == set()


def test_nothing_happens_where_none_can_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernelmodules, "load", lambda names: "no such module")
    before = set(os.listdir("/proc/self/fd"))
    dog = watchdog.Watchdog(str(tmp_path / "watchdog"))
    dog.feed()
    dog.stop()
    assert set(os.listdir("/proc/self/fd")) == before
