"""A cloud-config from elsewhere: what of it has an effect here, and what is said."""

from pathlib import Path

from k3os.config.check import check_text
from k3os.config.load import load_config
from k3os.config.value import plain
from k3os.install.config import compose
from tests.unit.phases.conftest import KEY, OTHER_KEY

USERS = f"""
users:
- default
- name: me
  ssh_authorized_keys: ['{KEY}']
- name: you
  ssh-authorized-keys: ['{OTHER_KEY}']
"""


def test_the_keys_of_the_first_user_are_ranchers_beside_those_of_the_top_level() -> None:
    values, problems = check_text(f"ssh_authorized_keys: [github:me]\n{USERS}".encode(), "c")
    assert plain(values["ssh_authorized_keys"]) == ["github:me", KEY]
    assert [each.key for each in problems] == [
        "users",
        "users[1].ssh_authorized_keys",
        "users[2].ssh_authorized_keys",
    ]
    assert "taken for the user rancher" in problems[1].message
    assert "is not used" in problems[2].message


def test_an_installation_with_such_keys_alone_is_none_that_locks_out(tmp_path: Path) -> None:
    medium = tmp_path / "config.yaml"
    medium.write_text(USERS)
    assert compose(str(medium), "", "", lambda _: None) == USERS.encode()


def test_what_comes_too_late_in_userdata_is_said_there_and_nowhere_else(tmp_path: Path) -> None:
    text = (
        "init_cmd: [a]\nbootcmd: [b]\nruncmd: [c]\n"
        "k3os: {data_sources: [aws], install: {silent: true}, swap: {zram: off}, token: x}\n"
    )
    for name in ("datasource/userdata/01.yaml", "config.d/01.yaml"):
        path = tmp_path / "var/lib/rancher/k3os" / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
    _, problems = load_config(str(tmp_path), cmdline="k3os.data_sources=cdrom", cloud=True)
    assert {each.place.source for each in problems} == {
        "/var/lib/rancher/k3os/datasource/userdata/01.yaml"
    }
    assert sorted(each.key for each in problems) == [
        *("boot_cmd", "init_cmd", "k3os.data_sources", "k3os.install.silent", "k3os.swap.zram"),
    ]
    assert all("too late" in each.message for each in problems)


def test_what_is_read_whenever_needed_never_comes_too_late(tmp_path: Path) -> None:
    path = tmp_path / "var/lib/rancher/k3os/datasource/userdata/01.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(
        f"k3os: {{k3s_sums: {{v1.33.1+k3s1: {'a' * 64}}}, k3s_insecure_http: true, "
        "upgrade: {check: [x]}}\n"
    )
    config, problems = load_config(str(tmp_path), cmdline="k3os.data_sources=cdrom", cloud=True)
    assert problems == []
    assert {"k3os.k3s_sums", "k3os.k3s_insecure_http"} <= config.values.keys()


def test_a_file_from_a_source_is_left_out_and_not_empty() -> None:
    text = b"write_files: [{path: /x, source: {uri: 'https://a/b'}}, {path: /y}]"
    values, problems = check_text(text, "c")
    assert plain(values["write_files"]) == [{"path": "/y"}]
    assert [each.is_error for each in problems if "left out" in each.message] == [True]
