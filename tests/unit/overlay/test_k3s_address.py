"""What notices that a node lost the address it registered with, and what waits to see if it stays
lost: two scripts, because starting Python for each new address is too expensive."""

from pathlib import Path

import pytest

from k3os.node.k3s_address import REGISTERED, UNIT
from k3os.system.run import run

OVERLAY = Path(__file__).parents[3] / "overlay/rootfs/usr/lib"
SCRIPT = OVERLAY / "k3os/k3s-address"
WAS, NOW = "eth0 UP 10.0.2.15/24", "eth0 UP 10.1.0.7/24 fd00::7/64"
START = f"systemctl start --no-block {UNIT}"


class Node:
    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("bin", "etc", "k3os", "state"):
            (root / name).mkdir()
        (root / "k3os/banner").write_text("k3OS\n")
        for name in ("agetty", "systemctl", "k3os-command"):
            self.program(name, f'echo "{name} $*" >>"{root}/called"')
        self.program("sleep", f'echo "sleep $*" >>"{root}/called"')

    def program(self, name: str, text: str) -> None:
        path = self.root / "bin" / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def registered(self, *addresses: str) -> None:
        (self.root / "state/node-addresses").write_text("".join(f"{e}\n" for e in addresses))

    def says(self, *answers: str) -> None:
        """The answers of ip(8), one after the other; the last one repeats."""
        for number, each in enumerate(answers):
            (self.root / f"answer{number}").write_text(f"{each}\n" if each else "")
        self.program(
            "ip",
            f'cd "{self.root}"; case $* in *route*) exit 0 ;; esac; n=$(cat count 2>/dev/null || '
            f"echo 0); cat answer$n; [ ! -e answer$((n + 1)) ] || echo $((n + 1)) >count",
        )

    def run(self, script: Path) -> list[str]:
        text = script.read_text()
        for old, new in [
            ("/etc/", f"{self.root}/etc/"),
            ("/run/k3os", f"{self.root}/k3os"),
            ("/var/lib/rancher/k3os", f"{self.root}/state"),
            ("/usr/sbin/k3os", f"{self.root}/bin/k3os-command"),
        ]:
            text = text.replace(old, new)
        (self.root / "called").write_text("")
        (self.root / "count").unlink(missing_ok=True)
        path = f"{self.root}/bin:/usr/bin:/bin"
        run(["sh", "-c", text], env={"PATH": path}, timeout=60)
        called = (self.root / "called").read_text().splitlines()
        return [each for each in called if not each.startswith("agetty")]


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_both_scripts_read_the_file_that_the_report_writes() -> None:
    for script in (SCRIPT, OVERLAY / "k3os/issue"):
        assert f"registered={REGISTERED}\n" in script.read_text()
    unit = (OVERLAY / "systemd/system" / UNIT).read_text()
    assert "ExecStart=/usr/lib/k3os/k3s-address\n" in unit
    assert SCRIPT.stat().st_mode & 0o111


@pytest.mark.parametrize(
    ("registered", "now", "noticed"),
    [
        ((), NOW, False),
        (("10.0.2.15",), WAS, False),
        (("10.0.2.15",), NOW, True),
        # an address with the same prefix
        (("10.0.2.1",), WAS, True),
        (("10.1.0.7", "10.0.2.15"), NOW, True),
        (("fd00::7",), NOW, False),
        # a pulled cable is not another subnet
        (("10.0.2.15",), "", False),
    ],
)
def test_the_banner_notices(
    node: Node, registered: tuple[str, ...], now: str, noticed: bool
) -> None:
    if registered:
        node.registered(*registered)
    node.says(now)
    assert (START in node.run(OVERLAY / "k3os/issue")) is noticed


@pytest.mark.parametrize(
    ("answers", "waits", "asked"),
    [
        ((WAS,), 0, False),
        ((NOW,), 1, True),
        (("", WAS), 1, False),
        ((NOW, "eth0 UP 10.9.0.9/24"), 2, True),
        # the order in ip(8)'s output does not matter
        (("eth1 UP 10.9.0.1/24\n" + NOW, NOW + "\neth1 UP 10.9.0.1/24"), 1, True),
        (tuple(f"eth0 UP 10.1.0.{each}/24" for each in range(25)), 20, False),
    ],
)
def test_only_addresses_that_stay_wake_python(
    node: Node, answers: tuple[str, ...], waits: int, asked: bool
) -> None:
    node.registered("10.0.2.15")
    node.says(*answers)
    called = node.run(SCRIPT)
    assert called.count("sleep 30") == waits
    assert ("k3os-command network k3s" in called) is asked
