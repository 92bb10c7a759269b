"""k3s unpacked before its first start: the same as k3s itself would have left, or nothing."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from k3os.k3s import unpack
from k3os.k3s.unpack import DATA

ROOT = Path(__file__).parents[3]
STUB = ROOT / "tests/stubs/k3s"
needs_namespaces = pytest.mark.skipif(
    subprocess.run(
        ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"]), "true"],
        capture_output=True,
    ).returncode
    != 0,
    reason="no namespaces here",
)


class Medium:
    """As much of an install_medium.InstallMedium as counts here."""

    def __init__(self, **versions: str) -> None:
        self.versions = versions


def lay_down(root: Path, k3s: Path = STUB) -> None:
    place = root / "k3os/system/k3s/v1/k3s"
    place.parent.mkdir(parents=True)
    (root / "k3os/data").mkdir()
    shutil.copy(k3s, place)


def unpacked(root: Path, config: bytes = b"") -> tuple[list[str], Path]:
    said: list[str] = []
    unpack.for_first_start(Medium(k3s="v1"), config, str(root), said.append)  # type: ignore[arg-type]
    return said, root / "k3os/data" / DATA[1:]


@needs_namespaces
def test_what_is_left_is_what_k3s_itself_looks_for(tmp_path: Path) -> None:
    lay_down(tmp_path)
    said, home = unpacked(tmp_path)
    assert said == ["unpacking k3s"]
    assert [path.name for path in home.iterdir()] == ["data"]
    (data,) = [path for path in (home / "data").iterdir() if not path.is_symlink()]
    assert (home / "data/current").readlink() == Path(DATA) / "data" / data.name
    assert (data / "bin/k3s").resolve() == data / "bin/containerd"
    assert not (home / "data/.lock").exists()
    assert not Path(DATA, "data", data.name).exists(), "this machine's own is not touched"


@needs_namespaces
def test_what_was_there_stays(tmp_path: Path) -> None:
    lay_down(tmp_path)
    kept = tmp_path / "k3os/data" / DATA[1:] / "data/0123/bin/k3s"
    kept.parent.mkdir(parents=True)
    kept.write_text("older")
    said, home = unpacked(tmp_path)
    assert said == ["unpacking k3s"]
    assert kept.read_text() == "older"
    assert (home / "data/current").is_symlink()


@needs_namespaces
@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("#!/bin/sh\nexit 3\n", "exited with 3"),
        ("#!/bin/sh\nmkdir -p /var/lib/rancher/k3s/data/0123-tmp\nexit 1\n", "exited with 1"),
        ("#!/bin/sh\nexit 0\n", "left no programs in /var/lib/rancher/k3s/data"),
        ("\x7fELF of another machine", "unshare exited with"),
    ],
)
def test_a_k3s_that_does_not_run_here_leaves_nothing(
    tmp_path: Path, program: str, reason: str
) -> None:
    broken = tmp_path / "broken"
    broken.write_text(program)
    broken.chmod(0o755)
    lay_down(tmp_path / "root", broken)
    said, home = unpacked(tmp_path / "root")
    assert "k3s will unpack itself at its first start, which did not work here" in said[-1]
    assert reason in said[-1]
    assert list((tmp_path / "root/k3os/data").iterdir()) == []
    assert not home.exists()


@pytest.mark.parametrize(
    "config",
    [
        b"k3os: {k3s_args: [server, --data-dir, /mnt/k3s]}",
        b"k3os: {k3s_args: [server, --data-dir=/mnt/k3s]}",
        b"write_files: [{path: /etc/rancher/k3s/config.yaml, content: 'data-dir: /mnt/k3s'}]",
    ],
)
def test_with_data_elsewhere_it_is_left_to_the_node(tmp_path: Path, config: bytes) -> None:
    lay_down(tmp_path)
    said, home = unpacked(tmp_path, config)
    assert said == []
    assert not home.exists()


def test_a_medium_without_k3s_has_nothing_to_unpack(tmp_path: Path) -> None:
    said: list[str] = []
    unpack.for_first_start(Medium(), b"", str(tmp_path), said.append)  # type: ignore[arg-type]
    assert said == []


@needs_namespaces
@pytest.mark.skipif(not os.environ.get("K3S_REAL"), reason="K3S_REAL names no k3s")
def test_a_real_one_unpacks_itself(tmp_path: Path) -> None:
    lay_down(tmp_path, Path(os.environ["K3S_REAL"]))
    said, home = unpacked(tmp_path)
    assert said == ["unpacking k3s"]
    (data,) = [path for path in (home / "data").iterdir() if not path.is_symlink()]
    for name in ("k3s-server", "containerd", "runc", "ctr"):
        assert (data / "bin" / name).stat().st_mode & 0o111
