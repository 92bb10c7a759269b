"""One list of interfaces that are not the machine's own: programs that cannot import it have a
copy."""

import configparser
import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from k3os.node import status
from k3os.system import run
from k3os.system.interfaces import NOT_OURS

ROOTFS = Path(__file__).parents[3] / "overlay/rootfs"


def test_connman_leaves_them_alone():
    file = configparser.ConfigParser()
    file.read(ROOTFS / "etc/connman/main.conf")
    assert file["General"]["NetworkInterfaceBlacklist"].split(",") == list(NOT_OURS)


def test_the_banner_does_not_show_them():
    parts = re.findall(r"not_ours=.(?:\$not_ours\|)?([a-z0-9_|-]+)", _issue())
    assert "|".join(parts).split("|") == list(NOT_OURS)


def _issue() -> str:
    return (ROOTFS / "usr/lib/k3os/issue").read_text()


def _ip(monkeypatch, name: str, default: str) -> None:
    """Fake ip(8) of a machine with eth0 and this interface, and with a default route over one of
    them."""
    address = {"local": "100.64.0.1", "prefixlen": 32}
    links = [{"ifname": each, "addr_info": [address]} for each in (name, "eth0")]
    routes = [{"dst": "default", "dev": default}]

    def run_ip(command: list[str], **_: object) -> bytes:
        if "-6" in command:
            raise run.CommandError(command, 2, b"no IPv6 here")
        return json.dumps(routes if "route" in command else links).encode()

    monkeypatch.setattr(run, "run", run_ip)


@pytest.mark.parametrize("name", [f"{name}0" for name in NOT_OURS])
def test_their_addresses_are_no_network_for_a_trial(monkeypatch, name):
    _ip(monkeypatch, name, "eth0")
    assert status.addresses() == ["eth0 100.64.0.1/32"]


@pytest.mark.parametrize("name", ["br-lan", "ovs-uplink"])
def test_one_with_a_default_route_is_the_machines_own(monkeypatch, name):
    _ip(monkeypatch, name, name)
    assert status.addresses() == [f"{name} 100.64.0.1/32", "eth0 100.64.0.1/32"]


def test_no_route_is_asked_for_where_all_interfaces_are_the_machines_own(monkeypatch):
    """Each query is a process, while k3s is starting."""
    _ip(monkeypatch, "eth1", "eth0")
    monkeypatch.setattr("k3os.phases.ip_output.routes_of", None)
    assert status.addresses() == ["eth1 100.64.0.1/32", "eth0 100.64.0.1/32"]


@pytest.mark.parametrize(
    ("default", "shown"),
    [
        ("eth0", "  eth0 192.0.2.1/24\n"),
        ("br-lan", "  eth0 192.0.2.1/24\n  br-lan 198.51.100.1/24\n"),
        ("", "  eth0 192.0.2.1/24\n"),
    ],
)
def test_the_banner_shows_the_machines_own(tmp_path, default, shown):
    """The script's own pipeline, with an ip(8) that prints real output."""
    script = _issue()
    start, end = script.index("    not_ours="), script.index("    printf ")
    ip = tmp_path / "ip"
    route = f"echo 'default via 192.0.2.254 dev {default} proto dhcp metric 10'" if default else ":"
    ip.write_text(
        '#!/bin/sh\ncase "$*" in\n'
        f"*-6*route*) ;;\n*route*) {route} ;;\n"
        "*address*) echo 'lo UNKNOWN 127.0.0.1/8'; echo 'eth0@if3 UP 192.0.2.1/24'; "
        "echo 'br-lan UP 198.51.100.1/24'; echo 'cni0 UP 10.42.0.1/24' ;;\nesac\n"
    )
    ip.chmod(0o755)
    busybox = tmp_path / "busybox"
    busybox.write_text('#!/bin/sh\nexec "$@"\n')
    busybox.chmod(0o755)
    part = script[start:end] + "printf '%s\\n' \"$addresses\"\n"
    command = ["sh", "-euc", part]
    path = f"{tmp_path}:{os.environ['PATH']}"
    found = subprocess.run(command, env={"PATH": path}, capture_output=True, text=True, check=True)
    assert found.stdout == shown, found.stderr
