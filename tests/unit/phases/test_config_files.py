"""A configuration file with a secret is made readable for its owner only, and that is reported."""

import os

import pytest

from .conftest import Machine

LOCAL = "var/lib/rancher/k3os/config.yaml"


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("k3os: {token: a secret of ours}\n", 0o600),
        ("k3os: {password: rancher}\n", 0o600),
        ("k3os: {environment: {https_proxy: 'http://u:p@proxy:1'}}\n", 0o600),
        ("k3os: {wifi: [{name: home, passphrase: some words}]}\n", 0o600),
        ("k3os: {k3s_args: [server, --agent-token=secret]}\n", 0o600),
        ("k3os: {k3s_args: [server, '--etcd-s3-proxy=http://u:p@proxy']}\n", 0o600),
        ("run_cmd: ['K3S_TOKEN=x curl https://example.com']\n", 0o600),
        ("write_files: [{path: /root/x, content: x}]\n", 0o600),
        ("k3os: {tokn: perhaps\n", 0o600),
        ("hostname: a\nk3os: {labels: {a: b}}\n", 0o644),
    ],
)
@pytest.mark.parametrize("name", [LOCAL, "k3os/system/config.yaml", f"{LOCAL[:-5]}.d/10-a.yaml"])
def test_the_mode_of_a_file_follows_what_is_in_it(
    machine: Machine, text: str, mode: int, name: str
) -> None:
    machine.put(name, text)
    said: list[str] = []
    machine.apply("boot", say=said.append)
    assert machine.mode(name) == mode
    expected = f"/{name} was readable by others (mode 0644): now only root can read it"
    assert (expected in said) is (mode == 0o600)


def test_what_is_closed_already_and_what_is_no_file_stays_as_it_is(machine: Machine) -> None:
    machine.put(LOCAL, "k3os: {token: a secret of ours}\n")
    os.chmod(machine.root / LOCAL, 0o400)
    (machine.root / "k3os/system/config.yaml").mkdir(parents=True)
    said: list[str] = []
    machine.apply("runtime", say=said.append)
    assert machine.mode(LOCAL) == 0o400
    assert not any("now only root can read it" in line for line in said)
