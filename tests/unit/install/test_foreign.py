"""Installing from another Linux: what install.sh refuses, and what the installer skips in a
chroot."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from k3os.cli import install
from k3os.errors import UserError
from k3os.install import plan

SCRIPT = Path(__file__).parents[3] / "install.sh"


def script(*arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [str(SCRIPT), *arguments], capture_output=True, text=True, timeout=30, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "DEVICE and ISO_URL are needed"),
        (["/dev/sda"], "DEVICE and ISO_URL are needed"),
        (["--nonsense", "/dev/sda", "k3os.iso"], "unknown option --nonsense"),
        (["--config"], "--config needs a value"),
        (["--takeover", "/dev/sda1", "k3os.iso"], "--takeover needs --no-format"),
    ],
)
def test_wrong_usage_is_refused_with_the_usage(arguments: list[str], reason: str) -> None:
    code, output = script(*arguments)
    assert code == 2
    assert reason in output
    assert "usage: install.sh" in output


def test_the_help_names_every_option_that_the_script_knows() -> None:
    code, output = script("--help")
    assert code == 0
    known = (
        "force-efi",
        "no-boot-entry",
        "debug",
        "tty",
        "poweroff",
        "takeover",
        "no-format",
        "insecure",
        "config",
    )
    for option in known:
        assert f"--{option}" in output


@pytest.mark.skipif(os.getuid() != 0, reason="another user is refused before")
def test_what_is_no_device_is_refused() -> None:
    assert "/dev/null is not a block device" in script("/dev/null", "k3os.iso")[1]


def test_the_script_is_short_enough_to_be_read_before_it_is_run_as_root() -> None:
    assert len(SCRIPT.read_text().splitlines()) < 150


def test_neither_the_command_line_nor_the_files_of_the_running_system_count(
    medium: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cmdline").write_text("k3os.password=x hostname=theirs k3os.install.tty=ttyS7")
    monkeypatch.setattr(install, "CMDLINE", str(tmp_path / "cmdline"))
    monkeypatch.setattr(install.os, "geteuid", lambda: 0)
    config = medium / "k3os/system/config.yaml"
    config.write_text("hostname: ours\nk3os: {password: y, install: {debug: true}}\n")
    seen: list[tuple[plan.InstallRequest, bytes]] = []

    def make_plan(request: plan.InstallRequest, _: object, text: bytes, menu: str) -> plan.Plan:
        seen.append((request, text))
        raise UserError("enough")

    monkeypatch.setattr(plan, "make_plan", make_plan)
    arguments = ["--medium", str(medium), "--device", "/dev/x", "--silent", "--no-reboot"]
    with pytest.raises(UserError, match="enough"):
        install.main(arguments)
    ((request, text),) = seen
    assert text == config.read_bytes()
    assert (request.device, request.tty, request.debug) == ("/dev/x", "", True)


def test_a_medium_that_is_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install.os, "geteuid", lambda: 0)
    with pytest.raises(UserError, match="no k3OS is mounted there"):
        install.main(["--medium", str(tmp_path), "--device", "/dev/x"])
