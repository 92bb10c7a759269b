"""One list of interfaces that are not the machine's: those who cannot import it have the same."""

import configparser
import json
import re
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


@pytest.mark.parametrize("name", [f"{name}0" for name in NOT_OURS])
def test_their_addresses_are_no_network_for_a_trial(monkeypatch, name):
    address = {"local": "100.64.0.1", "prefixlen": 32}
    links = [{"ifname": each, "addr_info": [address]} for each in (name, "eth0")]
    monkeypatch.setattr(run, "run", lambda *_, **__: json.dumps(links).encode())
    assert status.addresses() == ["eth0 100.64.0.1/32"]
