"""k3s unpacked before its first start: the same files as by k3s itself, or none."""

import os
import shutil
import subprocess
import tempfile
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
    """The part of an install_medium.InstallMedium that is needed here."""

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
@pytest.mark.skipif(not os.access("/var/lib", os.W_OK), reason="/var/lib is not ours")
def test_a_place_below_var_lib_is_as_good_as_any() -> None:
    """CI servers build there, although it is hidden while k3s runs."""
    with tempfile.TemporaryDirectory(dir="/var/lib") as place:
        lay_down(Path(place))
        said, home = unpacked(Path(place))
        assert said == ["unpacking k3s"]
        assert (home / "data/current").is_symlink()


@needs_namespaces
def test_the_directories_are_open_whatever_the_umask_of_who_installs(tmp_path: Path) -> None:
    """They become the node's /var, which is not only for root."""
    lay_down(tmp_path)
    before = os.umask(0o077)
    try:
        _, home = unpacked(tmp_path)
    finally:
        assert os.umask(before) == 0o077
    (data,) = [path for path in (home / "data").iterdir() if not path.is_symlink()]
    above = [each for each in home.parents if (tmp_path / "k3os/data") in each.parents]
    assert {oct(each.stat().st_mode & 0o777) for each in [*above, home, data]} == {"0o755"}


def test_where_no_directory_can_be_made_the_installation_goes_on(tmp_path: Path) -> None:
    lay_down(tmp_path)
    (tmp_path / "k3os/data/var").write_text("in the way")
    said, _ = unpacked(tmp_path)
    assert "k3s will unpack itself at its first start" in said[-1]
    assert (tmp_path / "k3os/data/var").read_text() == "in the way"


@needs_namespaces
@pytest.mark.skipif(not os.environ.get("K3S_REAL"), reason="K3S_REAL names no k3s")
def test_a_real_one_unpacks_itself(tmp_path: Path) -> None:
    lay_down(tmp_path, Path(os.environ["K3S_REAL"]))
    said, home = unpacked(tmp_path)
    assert said == ["unpacking k3s"]
    (data,) = [path for path in (home / "data").iterdir() if not path.is_symlink()]
    for name in ("k3s-server", "containerd", "runc", "ctr"):
        assert (data / "bin" / name).stat().st_mode & 0o111
