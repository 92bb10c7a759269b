"""A small installed system, and releases to upgrade it to, as directories."""

import hashlib
import json
from pathlib import Path

import pytest

from k3os.generation import switching
from k3os.generation.release import ARTIFACTS
from tests.unit.install.conftest import medium as medium

FILES = {
    "kernel": ("vmlinuz", "initrd", "modules.squashfs"),
    "k3os": ("rootfs.squashfs",),
    "k3s": ("k3s",),
}


def lay_down(system: Path, number: int, **versions: str) -> dict:
    """Make a generation below /k3os/system whose files contain their own paths. Returns its
    manifest."""
    sums, sizes = {}, {}
    generation = system / "generations" / str(number)
    generation.mkdir(parents=True)
    for name, version in versions.items():
        (generation / name).symlink_to(f"../../{name}/{version}")
        for file in FILES[name]:
            path = system / name / version / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{name} {version} {file}")
            key = f"{name}/{version}/{file}"
            sums[key] = hashlib.sha256(path.read_bytes()).hexdigest()
            sizes[key] = path.stat().st_size
    manifest = {"generation": number, "arch": "amd64", "created": number, **versions}
    manifest |= {"sha256": sums, "size": sizes}
    (generation / "manifest.json").write_text(json.dumps(manifest))
    return manifest


def publish(directory: Path, **versions: str) -> Path:
    """A release directory: the output of `make`, without the ISO."""
    scratch = directory / "scratch"
    manifest = lay_down(scratch, 1, **versions)
    for (component, name), artifact in ARTIFACTS.items():
        if component in versions:
            source = scratch / component / versions[component] / name
            source.rename(directory / artifact.format(arch="amd64"))
    (directory / "k3os-manifest-amd64.json").write_text(json.dumps(manifest))
    return directory


@pytest.fixture(autouse=True)
def no_freezing(monkeypatch) -> None:
    """The file system belongs to the host, and must not be frozen."""
    monkeypatch.setattr(switching, "flush_journal", lambda system: None)


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """/k3os/system of a node with these versions installed."""
    path = tmp_path / "k3os" / "system"
    lay_down(path, 1, kernel="6.12.1", k3os="0.1.0", k3s="v1.33.1+k3s1")
    (path / "current").symlink_to("generations/1")
    return path


@pytest.fixture
def release(tmp_path: Path) -> Path:
    directory = tmp_path / "release"
    directory.mkdir()
    return publish(directory, kernel="6.12.9", k3os="0.2.0", k3s="v1.34.0+k3s1")
