"""The state partition of an installed system: what a boot makes of it before anything else."""

import os
from pathlib import Path

import pytest

from k3os.boot import state
from k3os.boot.media import Medium
from k3os.system.blockdev import FileSystem


def immutable(*_: object) -> None:
    raise OSError(28, "the disk is full")


@pytest.mark.parametrize("kind", ["disk", "overlay"])
def test_the_configuration_of_an_installed_system_is_for_root_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Later in the boot it is read-only, even for the phase that closes the other files."""
    for name in ("unmount", "mount"):
        monkeypatch.setattr(state.mounts, name, lambda *_: None)
    monkeypatch.setattr(state, "run", lambda *_: b"")
    config = tmp_path / "k3os/system/config.yaml"
    config.parent.mkdir(parents=True)
    config.write_text("k3os: {token: secret}\n")
    config.chmod(0o644)
    medium = Medium(kind, FileSystem("/dev/vda2", "ext4", "K3OS_STATE"), str(tmp_path))
    said: list[str] = []
    with monkeypatch.context() as context:
        context.setattr(os, "chmod", immutable)
        assert state.prepare(medium, factory_reset=False, say=said.append) == "k3os/data"
    (refused,) = said
    assert "the disk is full" in refused
    said.clear()
    assert state.prepare(medium, factory_reset=False, say=said.append) == "k3os/data"
    assert config.stat().st_mode & 0o777 == 0o600
    assert said == [
        "/k3os/system/config.yaml was readable by everybody: it has mode 0600 now, not 0644"
    ]
    said.clear()
    state.prepare(medium, factory_reset=False, say=said.append)
    assert said == []
