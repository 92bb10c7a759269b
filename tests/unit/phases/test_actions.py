"""Effects that need the running system: real commands, links, a read-only tree."""

import os
import time
from pathlib import Path

import pytest

from k3os.config.value import Place
from k3os.errors import UserError
from k3os.phases.actions import (
    DONE,
    LATER,
    UNCHANGED,
    LoadModule,
    MakeDirectory,
    RunCommand,
    SetKernel,
    WriteFile,
)
from k3os.phases.node import Node

HERE = Place("config.yaml", 1, 1)


def command(text: str | list[str], output: list[str]) -> str:
    node = Node("/", "runtime", "live", output.append)
    node.environment = {"FROM_CONFIG": "yes $x"}
    return RunCommand("run_cmd", HERE, "run_cmd[0]", text).perform(node)


def test_a_string_runs_in_a_shell_with_the_configured_environment() -> None:
    output: list[str] = []
    assert command('echo "$FROM_CONFIG" | tr a-z A-Z; echo two >&2', output) == DONE
    assert output == ["run_cmd[0]: YES $X", "run_cmd[0]: two"]


def test_a_list_runs_as_it_is() -> None:
    output: list[str] = []
    assert command(["printf", "%s|", "$FROM_CONFIG", "a b"], output) == DONE
    assert output == ["run_cmd[0]: $FROM_CONFIG|a b|"]


def test_a_failing_command_tells_its_exit_code_and_its_last_words() -> None:
    output: list[str] = []
    with pytest.raises(UserError, match="exited with 3: last words"):
        command("echo first; echo last words; exit 3", output)
    assert output == ["run_cmd[0]: first", "run_cmd[0]: last words"]


def test_a_program_that_is_not_there_is_said_to_be() -> None:
    with pytest.raises(UserError, match="is not there"):
        command(["k3os-no-such-program"], [])


def test_a_daemon_that_a_command_leaves_behind_does_not_stop_the_boot() -> None:
    started = time.monotonic()
    assert command("sleep 20 & echo started", []) == DONE
    assert time.monotonic() - started < 10


def test_a_description_shows_no_argument() -> None:
    action = RunCommand("run_cmd", HERE, "run_cmd[0]", "curl -H 'Authorization: x' http://y")
    assert action.describe() == "run run_cmd[0]: curl …"


def test_commands_and_modules_are_left_alone_in_a_directory(tmp_path: Path) -> None:
    node = Node(str(tmp_path))
    assert RunCommand("run_cmd", HERE, "run_cmd[0]", "exit 1").perform(node) == LATER
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
