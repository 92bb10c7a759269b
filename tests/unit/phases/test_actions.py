"""Effects on a directory in place of the system: links, modules, settings."""

import os
from pathlib import Path

import pytest

from k3os.config.value import Place
from k3os.errors import UserError
from k3os.phases.actions import (
    LATER,
    UNCHANGED,
    LoadModule,
    MakeDirectory,
    SetKernel,
    WriteFile,
)
from k3os.phases.node import Node

HERE = Place("config.yaml", 1, 1)


def test_modules_are_left_alone_in_a_directory(tmp_path: Path) -> None:
    node = Node(str(tmp_path))
    assert LoadModule("k3os.modules", HERE, "nbd", []).perform(node) == LATER
    (tmp_path / "sys/module/snd_pcm").mkdir(parents=True)
    assert LoadModule("k3os.modules", HERE, "snd-pcm", []).perform(node) == UNCHANGED


def test_a_link_is_replaced_and_what_it_led_to_stays(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to("target")
    WriteFile("write_files", HERE, "/link", b"new", 0o600).perform(Node(str(tmp_path)))
    assert (tmp_path / "target").read_text() == "old"
    assert (tmp_path / "link").read_text() == "new"
    assert not (tmp_path / "link").is_symlink()


def test_a_directory_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir(mode=0o755)
    (tmp_path / "ssh").symlink_to("etc")
    with pytest.raises(UserError, match="symbolic link"):
        MakeDirectory("ssh_authorized_keys", HERE, "/ssh", 0o700).perform(Node(str(tmp_path)))
    assert (tmp_path / "etc").stat().st_mode & 0o777 == 0o755


def test_a_directory_in_the_way_of_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "etc/x").mkdir(parents=True)
    (tmp_path / "file").write_text("")
    node = Node(str(tmp_path))
    with pytest.raises(UserError, match="/etc/x is a directory"):
        WriteFile("write_files", HERE, "/etc/x", b"").perform(node)
    with pytest.raises((UserError, OSError)):
        WriteFile("write_files", HERE, "/file/x", b"").perform(node)
    assert os.listdir(tmp_path / "etc") == ["x"]


def test_a_setting_the_kernel_does_not_know_waits_for_its_module_but_not_for_ever(
    tmp_path: Path,
) -> None:
    action = SetKernel("k3os.sysctls", HERE, "a.b", "/proc/sys/a/b", "1")
    assert action.perform(Node(str(tmp_path), "boot")) == LATER
    with pytest.raises(UserError, match=r"knows no a\.b"):
        action.perform(Node(str(tmp_path), "runtime"))
