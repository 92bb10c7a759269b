"""A node with the recorded output of a real ip(8) and connman: version 1.44 of the image, in a
network namespace with a DHCP server and a router."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from k3os.node.network_facts import collect
from k3os.node.network_report import Report
from k3os.system.run import CommandError

RECORDED = Path(__file__).with_name("recorded")
PLACES = {
    "k3os/system/config.yaml": "config.yaml",
    "run/k3os/network.json": "network.json",
    "run/connman/resolv.conf": "resolv.conf",
    "run/k3os/resolv.conf": "pods-resolv.conf",
}
SAID = {
    "ip -json -details address show": "addresses.json",
    "ip -json -N -4 route show table all": "routes-4.json",
    "ip -json -N -6 route show table all": "routes-6.json",
    "ip -json -N -4 rule show": "rules-4.json",
    "ip -json -N -6 rule show": "rules-6.json",
    "busctl --json=short --timeout=5 --auto-start=no call net.connman / "
    "net.connman.Manager GetServices": ("services.json"),
}
SECRET = "planted-passphrase"
CONFIG = "/k3os/system/config.yaml"
SPARE = "without an entry are: eth0 (de:83:ed:2a:c7:22)"
MISSING = [
    f"{CONFIG}:15:35: k3os.network.br0.interfaces: the member eth8 of br0 is not there; {SPARE}",
    f"{CONFIG}:17:21: k3os.network.eth3.address: eth3 has no address 10.3.0.2/24: it has no "
    "carrier; look at the cable, and at the port of the switch",
    f"{CONFIG}:18:11: k3os.network.eth9: there is no interface eth9; {SPARE}",
]


class Recorded:
    """A recorded node, of which a test may change files and output of programs."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.answers = {command: (RECORDED / name).read_bytes() for command, name in SAID.items()}
        self.monkeypatch = monkeypatch
        for place, name in PLACES.items():
            self.put(place, (RECORDED / name).read_text())
        for path in RECORDED.glob("*.settings"):
            text = f"{path.read_text()}Passphrase={SECRET}\n"
            self.put(f"var/lib/connman/{path.stem}/settings", text)
        monkeypatch.setattr("k3os.system.run.run", self.run)
        self.become(0)

    def become(self, uid: int) -> None:
        self.monkeypatch.setattr(os, "geteuid", lambda: uid)

    def put(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def read(self, name: str) -> str:
        return (self.root / name).read_text()

    def configure(self, old: str, new: str) -> None:
        """Change the configuration."""
        text = self.read("k3os/system/config.yaml")
        self.put("k3os/system/config.yaml", text.replace(old, new))

    def run(self, words: Sequence[str], **_: object) -> bytes:
        command = " ".join(words)
        if command not in self.answers:
            raise CommandError(list(words), 1)
        return self.answers[command]

    def edit(self, start: str, change: Callable[[Any], object]) -> None:
        """Change the output of the program whose command starts like this."""
        for command, answer in self.answers.items():
            if command.startswith(start):
                value = json.loads(answer)
                change(value)
                self.answers[command] = json.dumps(value).encode()

    def link(self, name: str, change: Callable[[dict[str, Any]], object]) -> None:
        def on(links: list[dict[str, Any]]) -> None:
            change(next(each for each in links if each["ifname"] == name))

        self.edit("ip -json -details", on)

    def show(self) -> Report:
        return collect(str(self.root))


def missing(report: Report) -> list[str]:
    return [str(each) for each in report.missing]


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recorded:
    return Recorded(tmp_path, monkeypatch)
