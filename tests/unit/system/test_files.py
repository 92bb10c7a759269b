"""Writing files so that a reader sees the old or the new content."""

import os
import stat

import pytest

from k3os.system.files import atomic_write


def test_a_file_is_replaced_with_its_mode(tmp_path):
    path = tmp_path / "f"
    path.write_text("old")
    atomic_write(str(path), b"new", mode=0o640)
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_the_umask_does_not_change_the_mode(tmp_path):
    before = os.umask(0o077)
    try:
        atomic_write(str(tmp_path / "f"), b"", mode=0o666)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o666


def test_who_has_the_old_file_open_reads_the_old_content(tmp_path):
    path = tmp_path / "f"
    path.write_text("old")
    with open(path) as reader:
        atomic_write(str(path), b"new", sync=True)
        assert reader.read() == "old"


def test_a_link_is_replaced_and_what_it_points_to_is_not_touched(tmp_path):
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "link").symlink_to("precious")
    atomic_write(str(tmp_path / "link"), b"new")
    assert (tmp_path / "precious").read_text() == "precious"
    assert not (tmp_path / "link").is_symlink()


def test_a_planted_link_at_the_temporary_name_is_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / f".f.{os.getpid()}.new").symlink_to(victim)
    atomic_write(str(tmp_path / "f"), b"new")
    assert victim.read_text() == "precious"
    assert (tmp_path / "f").read_bytes() == b"new"


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    (tmp_path / "f").mkdir()
    with pytest.raises(IsADirectoryError):
        atomic_write(str(tmp_path / "f"), b"new")
    assert os.listdir(tmp_path) == ["f"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give files away")
def test_the_owner_is_set_before_anybody_can_open_it(tmp_path):
    atomic_write(str(tmp_path / "f"), b"", uid=1000, gid=1000, mode=0o600)
    status = (tmp_path / "f").stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (1000, 1000, 0o600)
