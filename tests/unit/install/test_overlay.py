"""Removing an overlay installation: which init the other system gets, and where."""

import os
from pathlib import Path

import pytest

from k3os.errors import UserError
from k3os.install import overlay
from k3os.install.overlay import give_back, is_ours, resolve

FIRST_STAGE = Path(__file__).parents[3] / "overlay/foreign/sbin/init"


def program(path: Path, text: str = "#!/bin/sh\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A merged-usr system with our first stage in place of its init, and systemd."""
    program(tmp_path / "usr/sbin/init", FIRST_STAGE.read_text())
    program(tmp_path / "usr/lib/systemd/systemd")
    (tmp_path / "sbin").symlink_to("usr/sbin")
    (tmp_path / "lib").symlink_to("/usr/lib")  # absolute: within that system, not ours
    return tmp_path


def test_the_first_stage_is_recognized_by_its_first_line(root: Path) -> None:
    assert is_ours(str(root))
    program(root / "usr/sbin/init")
    assert not is_ours(str(root))


def test_links_are_followed_as_the_other_system_sees_them(root: Path) -> None:
    assert resolve(str(root), "/lib/systemd/systemd") == "/usr/lib/systemd/systemd"
    assert resolve(str(root), "/sbin/nothing") == "/usr/sbin/nothing"
    (root / "circle").symlink_to("circle")
    with pytest.raises(UserError, match="circle"):
        resolve(str(root), "/circle")


def test_systemd_is_init_again_and_sbin_stays_a_link(root: Path) -> None:
    assert give_back(str(root)) == "/lib/systemd/systemd"
    assert os.readlink(root / "usr/sbin/init") == "/lib/systemd/systemd"
    assert os.readlink(root / "sbin") == "usr/sbin"
    assert not is_ours(str(root))


def test_a_kept_init_is_stronger_than_a_found_one(root: Path) -> None:
    program(root / "usr/sbin/init.before-k3os", "its own")
    assert give_back(str(root)) == overlay.KEPT
    assert (root / "usr/sbin/init").read_text() == "its own"


def test_what_does_not_start_k3os_is_not_touched(root: Path) -> None:
    program(root / "usr/sbin/init", "somebody's")
    with pytest.raises(UserError, match="does not start k3OS"):
        give_back(str(root))
    assert (root / "usr/sbin/init").read_text() == "somebody's"


def test_without_a_known_init_a_person_is_asked_to_name_it(root: Path) -> None:
    (root / "usr/lib/systemd/systemd").unlink()
    with pytest.raises(UserError, match="--init"):
        give_back(str(root))
    with pytest.raises(UserError, match="/opt/init is not a program"):
        give_back(str(root), "/opt/init")
    program(root / "opt/init")
    assert give_back(str(root), "/opt/init") == "/opt/init"
