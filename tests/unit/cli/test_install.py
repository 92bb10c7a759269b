"""The command around the installer: options, settings of the configuration, where it refuses."""

from __future__ import annotations

import pytest

from k3os.cli import install
from k3os.cli.main import main
from k3os.config.check import check_cmdline
from k3os.config.load import Config


def test_options_and_flags_are_read_in_both_ways_of_writing() -> None:
    assert install.parse(["--device=/dev/vda", "--silent", "--config", "http://x/y"]) == {
        "device": "/dev/vda",
        "silent": "true",
        "config_url": "http://x/y",
    }


@pytest.mark.parametrize("argv", [["--nonsense"], ["--device"], ["--silent=yes"], ["/dev/sda"]])
def test_wrong_usage_is_refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["install", *argv]) == 2
    assert "usage: k3os install" in capsys.readouterr().err


def test_the_command_line_of_the_kernel_is_the_source_and_options_win() -> None:
    values, problems = check_cmdline(
        "k3os.install.silent k3os.install.device=/dev/sda k3os.install.power_off=false"
    )
    assert problems == []
    wanted = install.settings(Config(values), {"device": "/dev/sdb"})
    assert wanted["silent"] == "true"
    assert wanted["device"] == "/dev/sdb"
    assert wanted["power_off"] == ""
    assert wanted["config_url"] == ""


def test_a_workstation_is_no_live_system(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install.os, "geteuid", lambda: 0)
    assert main(["install"]) == 1
    assert "no live system of k3OS; boot the ISO" in capsys.readouterr().err


@pytest.mark.parametrize("address", ["/.base/node.yaml", "tftp://10.0.0.1/x", "https://a/b"])
def test_a_configuration_may_be_a_path_or_an_address(address: str) -> None:
    values, problems = check_cmdline(f"k3os.install.config_url={address}")
    assert problems == []
    assert install.settings(Config(values), {})["config_url"] == address


def test_a_relative_path_is_no_address() -> None:
    assert "is no URL" in str(check_cmdline("k3os.install.config_url=node.yaml")[1][0])
