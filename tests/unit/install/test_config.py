"""The installed configuration: where it comes from, and when the installation is refused."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
import yaml

from k3os.config.check import check_text
from k3os.errors import UserError
from k3os.install import config
from tests.unit.ftp_server import ftp_server
from tests.unit.local_server import content, local_site
from tests.unit.tftp_server import tftp_server

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIESqSmllcg5QoT7KRLnwkEjK+b6OXXcVEGqm+GR8EOwX me"
TEXT = f"# mine\nssh_authorized_keys:\n- {KEY}\nhostname: node\n"


@pytest.fixture
def medium(tmp_path: Path) -> Path:
    path = tmp_path / "medium.yaml"
    path.write_text(TEXT)
    return path


def compose(medium: Path, url: str = "", cmdline: str = "") -> str:
    return config.compose(str(medium), url, cmdline, lambda _: None).decode()


def test_the_mediums_configuration_is_installed_to_the_byte(medium: Path) -> None:
    assert compose(medium, cmdline="quiet k3os.mode=install k3os.install.silent") == TEXT


def test_a_config_url_replaces_the_mediums(medium: Path, tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("k3os:\n  password: x\n")
    assert compose(medium, str(tmp_path / "other.yaml")) == "k3os:\n  password: x\n"


def test_what_the_cmdline_configures_is_carried_over_and_stronger(medium: Path) -> None:
    text = compose(medium, cmdline="hostname=other k3os.token=secret k3os.install.device=/dev/vda")
    assert "hostname: other\n" in text
    assert "token: secret\n" in text
    assert KEY in text
    assert "device" not in text


LINE = (
    "init_cmd='cp x y' run_cmd=reboot k3os.data_sources=cdrom hostname=other k3os.token=secret "
    "k3os.install.device=/dev/vda"
).replace("'", '"')


def test_beside_a_config_url_what_was_for_the_boot_of_the_installation_does_not_last(
    medium: Path,
) -> None:
    said: list[str] = []
    text = config.compose("", str(medium), LINE, said.append).decode()
    assert set(yaml.safe_load(text)) == {"ssh_authorized_keys", "hostname", "k3os"}
    assert yaml.safe_load(text)["k3os"] == {"token": "secret"}
    assert said == [
        "also installed from the kernel command line: hostname, k3os.token "
        "(k3os.install.no_cmdline, or --no-cmdline, leaves it out)",
        "not installed from the kernel command line: init_cmd, run_cmd, k3os.data_sources "
        "(it was for this boot)",
    ]


def test_a_command_line_alone_is_the_configuration_with_its_commands(tmp_path: Path) -> None:
    said: list[str] = []
    line = f'{LINE} ssh_authorized_keys="{KEY}"'
    text = config.compose(str(tmp_path / "none"), "", line, said.append).decode()
    assert yaml.safe_load(text)["init_cmd"] == ["cp x y"]
    assert yaml.safe_load(text)["k3os"]["data_sources"] == ["cdrom"]
    assert len(said) == 1
    assert "secret" not in said[0]


@pytest.mark.parametrize("url", [True, False])
def test_the_command_line_can_be_refused_and_the_file_is_installed_to_the_byte(
    medium: Path, url: bool
) -> None:
    said: list[str] = []
    where = ("", str(medium)) if url else (str(medium), "")
    text = config.compose(*where, LINE, said.append, with_cmdline=False).decode()
    assert text == TEXT
    assert said == [
        "not installed from the kernel command line: hostname, init_cmd, run_cmd, "
        "k3os.data_sources, k3os.token (as you asked)"
    ]


def test_a_configuration_that_lets_nobody_in_is_refused(medium: Path) -> None:
    medium.write_text("hostname: node\n")
    with pytest.raises(UserError, match="nobody could log in"):
        compose(medium)
    assert "password" in compose(medium, cmdline="k3os.password=x")


def test_without_any_configuration_nobody_could_log_in(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nobody could log in"):
        compose(tmp_path / "none")


def test_an_error_stops_it_and_is_shown(medium: Path) -> None:
    medium.write_text(TEXT + "k3os:\n  sysctls: 5\n")
    said: list[str] = []
    with pytest.raises(UserError, match="the configuration has 1 error,"):
        config.compose(str(medium), "", "", said.append)
    assert f"{medium}:6:12" in said[0]


def test_an_address_that_is_none_is_refused(medium: Path) -> None:
    with pytest.raises(UserError, match="not the address of a configuration"):
        compose(medium, "config.yaml")


def test_a_missing_file_is_named(medium: Path) -> None:
    with pytest.raises(UserError) as caught:
        compose(medium, "/.base/nothing.yaml")
    assert caught.value.where == "/.base/nothing.yaml"


def test_a_password_that_is_typed_is_hashed_before_it_is_stored(medium: Path) -> None:
    from k3os.phases.password import is_crypt, matches

    for text in (
        compose(medium, cmdline="k3os.password=secret"),
        config.compose(str(medium), "", "", print, answers="k3os: {password: secret}").decode(),
    ):
        stored = yaml.safe_load(text)["k3os"]["password"]
        assert is_crypt(stored)
        assert matches("secret", stored)


def test_a_config_url_may_be_http_ftp_or_tftp_and_no_password_of_it_is_shown(
    medium: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("http_proxy", raising=False)
    text = TEXT.encode() + b"unknown_key: 1\n"
    said: list[str] = []
    files = {"d/node.yaml": text}
    with (
        local_site() as site,
        ftp_server(files=files, user=("joe", "secret")) as ftp,
        tftp_server(files=files) as tftp,
    ):
        http = site.page("/d/node.yaml", content(text)).replace("//", "//joe:secret@")
        for url in (http, ftp.url("d/node.yaml", "joe:secret@"), tftp.url("d/node.yaml")):
            assert config.compose(str(medium), url, "", said.append) == text
    assert [line.partition("d/node.yaml:")[0] for line in said] == [
        f"{site.url}/",
        ftp.url(""),
        tftp.url(""),
    ]


def test_a_sum_behind_the_address_is_compared(medium: Path) -> None:
    text = TEXT.encode()
    right, wrong = hashlib.sha256(text).hexdigest(), "0" * 64
    with tftp_server(files={"f": text}) as tftp:
        url = tftp.url("f")
        assert compose(medium, f"{url}#sha256={right.upper()}") == TEXT
        with pytest.raises(UserError, match=f"its SHA-256 is {right}, not {wrong}"):
            compose(medium, f"{url}#sha256={wrong}")
        for fragment in ("", "sha256=", f"sha512={right}", right):
            with pytest.raises(UserError, match="is not a checksum"):
                compose(medium, f"{url}#{fragment}")


@pytest.mark.parametrize("url", ["gopher://host/node.yaml", "ftps://host/node.yaml", "//x"])
def test_other_schemes_are_refused(medium: Path, url: str) -> None:
    with pytest.raises(UserError):
        compose(medium, url)


def test_a_configuration_over_the_limit_is_refused(
    medium: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "LARGEST", 1000)
    with tftp_server(files={"f": b"#" * 1001}) as tftp:
        with pytest.raises(UserError, match="larger than 1000 bytes"):
            compose(medium, tftp.url("f"))


GONE = "k3os: {password: x, k3s_args: [--no-deploy=traefik]}\n"


@pytest.mark.parametrize(
    "version,refused",
    [("v1.33.1+k3s1", True), ("v1.26.0+k3s1", True), ("v1.22.3+k3s1", False), ("", False)],
)
@pytest.mark.parametrize("where", ["the medium", "the command line", "the running system"])
def test_a_flag_that_the_installed_k3s_lacks_is_refused(
    version: str, refused: bool, where: str, medium: Path
) -> None:
    said: list[str] = []

    def check() -> None:
        if where == "the running system":
            config.check(GONE.encode(), "answers", said.append, k3s_version=version)
            return
        medium.write_text(GONE if where == "the medium" else TEXT)
        line = "k3os.k3s_args=--no-deploy=traefik" if where == "the command line" else ""
        config.compose(str(medium), "", line, said.append, k3s_version=version)

    if not refused:
        check()
        assert "k3s from v1.26 on lacks --no-deploy" in said[0]
        return
    with pytest.raises(UserError, match=re.escape(f"config check --k3s {version} FILE")):
        check()
    assert f"k3s {version} does not have --no-deploy; write --disable=traefik" in said[0]


def test_what_is_found_for_another_k3s_is_said_once() -> None:
    said: list[str] = []
    text = b"k3os: {password: x, modules: [a.ko], k3s_args: [--no-deploy=traefik]}\n"
    values = check_text(text, "c")[0]
    with pytest.raises(UserError, match="1 error"):
        config.check_for_k3s(values, said.append, "v1.33.1+k3s1")
    assert len(said) == 1
    assert "v1.33.1+k3s1 does not have --no-deploy" in said[0]
    said.clear()
    config.check_for_k3s(values, said.append, "v1.22.3+k3s1")
    assert said == []
