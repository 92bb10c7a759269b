"""The command around the installer: options, settings in the configuration, and when it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

from k3os.cli import install
from k3os.cli.main import main
from k3os.config.check import check_cmdline
from k3os.config.load import Config
from k3os.errors import UserError
from k3os.generation.install_medium import InstallMedium


def test_options_and_flags_are_read_in_both_ways_of_writing() -> None:
    assert install.parse(["--device=/dev/vda", "--silent", "--config", "http://x/y"]) == {
        "device": "/dev/vda",
        "silent": "true",
        "config_url": "http://x/y",
    }


@pytest.mark.parametrize("argv", [["--nonsense"], ["--device"], ["--silent=yes"], ["/dev/sda"]])
def test_wrong_usage_is_refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["install", *argv]) == 2
    assert "`k3os install --help` explains it" in capsys.readouterr().err


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
    assert "not a live k3OS system; boot the ISO" in capsys.readouterr().err


@pytest.mark.parametrize("address", ["/.base/node.yaml", "tftp://10.0.0.1/x", "https://a/b"])
def test_a_configuration_may_be_a_path_or_an_address(address: str) -> None:
    values, problems = check_cmdline(f"k3os.install.config_url={address}")
    assert problems == []
    assert install.settings(Config(values), {})["config_url"] == address


def test_a_relative_path_is_no_address() -> None:
    assert "is not a URL" in str(check_cmdline("k3os.install.config_url=node.yaml")[1][0])


def test_the_iso_is_an_option_and_a_key() -> None:
    address = f"https://host/k3os.iso#sha256={'0' * 64}"
    assert install.parse(["--iso", address]) == {"iso_url": address}
    values, problems = check_cmdline(f"k3os.install.iso_url={address}")
    assert problems == []
    assert install.settings(Config(values), {})["iso_url"] == address


class Installation:
    """_install with everything around it replaced; records the calls in their order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        self.calls: list[str] = []
        self.versions: list[str] = []
        self.text = b"config"
        self.iso = tmp_path / "iso"
        (tmp_path / "cmdline").write_text("k3os.mode=install")
        monkeypatch.setattr(install, "CMDLINE", str(tmp_path / "cmdline"))
        monkeypatch.setattr("k3os.config.load.load_config", lambda: (Config({}), []))
        monkeypatch.setattr(
            "k3os.generation.install_medium.read_medium", lambda root: self.source(root)
        )
        monkeypatch.setattr("k3os.install.config.compose", self.compose)
        monkeypatch.setattr("k3os.install.iso.fetched", self.fetched)
        monkeypatch.setattr("k3os.install.plan.make_plan", self.make_plan)

    def source(self, root: str) -> InstallMedium:
        k3s = "v1.33.1+k3s1" if root == str(self.iso) else "v1.22.3+k3s1"
        return InstallMedium(root, b"{}", {}, {"k3s": k3s}, 0)

    def compose(self, medium: str, url: str, *_: object, k3s_version: str, **__: object) -> bytes:
        self.calls.append(f"config {url or medium}")
        self.versions.append(k3s_version)
        return self.text

    @contextmanager
    def fetched(self, url: str, *_: object, insecure: bool) -> Iterator[InstallMedium]:
        self.calls.append(f"iso {url}")
        yield self.source(str(self.iso))
        self.calls.append("iso forgotten")

    def make_plan(self, _: object, source: InstallMedium, text: bytes, __: object) -> NoReturn:
        self.calls.append(f"disk checked, for {source.root}")
        raise UserError("enough")

    def run(self, **options: str) -> list[str]:
        with pytest.raises(UserError, match="enough"):
            install._install({"silent": "true", **options}, print, automatic=False)
        return self.calls


@pytest.fixture
def installation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Installation:
    return Installation(monkeypatch, tmp_path)


def test_without_an_iso_the_running_medium_is_installed(installation: Installation) -> None:
    assert installation.run() == ["config /k3os/system/config.yaml", "disk checked, for /.base"]


def test_first_the_configuration_then_the_iso_then_the_disk(installation: Installation) -> None:
    assert installation.run(iso_url="http://x/y.iso", config_url="http://x/c") == [
        "config http://x/c",
        "iso http://x/y.iso",
        f"disk checked, for {installation.iso}",
    ]


def test_an_iso_with_a_configuration_brings_it(installation: Installation) -> None:
    (installation.iso / "k3os/system").mkdir(parents=True)
    (installation.iso / "k3os/system/config.yaml").touch()
    assert installation.run(iso_url="http://x/y.iso")[1] == (
        f"config {installation.iso}/k3os/system/config.yaml"
    )


def test_an_iso_without_a_configuration_gets_the_running_systems(
    installation: Installation,
) -> None:
    assert installation.run(iso_url="http://x/y.iso")[1] == "config /k3os/system/config.yaml"


def test_the_configuration_is_checked_for_the_k3s_that_is_installed(
    installation: Installation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    installation.run()
    installation.run(iso_url="http://x/y.iso")
    installation.run(iso_url="http://x/y.iso", config_url="http://x/c")
    assert installation.versions == ["v1.22.3+k3s1", "v1.33.1+k3s1", ""]
    installation.text = b"k3os: {k3s_args: [--no-deploy=traefik]}"
    with pytest.raises(UserError, match="has 1 error"):
        options = {"silent": "true", "iso_url": "http://x/y.iso", "config_url": "http://x/c"}
        install._install(options, print, automatic=False)
    assert "k3s v1.33.1+k3s1 does not have --no-deploy" in capsys.readouterr().out
