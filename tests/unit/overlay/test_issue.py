"""The login banner's addresses, and the configuration, which is applied again for a late
address."""

from pathlib import Path

import pytest

from k3os.system.run import run

SCRIPT = Path(__file__).parents[3] / "overlay/rootfs/usr/lib/k3os/issue"
ADDRESS = "eth0 UP 10.0.2.15/24"


class Node:
    """A node with stubs for the programs that the script calls."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "bin").mkdir()
        (root / "etc").mkdir()
        (root / "k3os").mkdir()
        (root / "k3os/banner").write_text("k3OS\n")
        for name in ("agetty", "systemctl"):
            self._program(name, f'echo "{name} $*" >>"{root}/called"')
        self._program("sleep", "")
        self.text = SCRIPT.read_text()
        for old, new in [("/etc/", f"{root}/etc/"), ("/run/k3os", f"{root}/k3os")]:
            assert old in self.text
            self.text = self.text.replace(old, new)

    def _program(self, name: str, text: str) -> None:
        path = self.root / "bin" / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def look(self, address: str) -> list[str]:
        """Run it while the node has this address. Returns its calls."""
        self._program("ip", f"echo '{address}'" if address else "")
        (self.root / "called").write_text("")
        run(["sh", "-c", self.text], env={"PATH": f"{self.root}/bin:/usr/bin:/bin"}, timeout=20)
        return (self.root / "called").read_text().splitlines()


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_the_banner_follows_the_addresses(node: Node) -> None:
    assert node.look(ADDRESS) == ["agetty --reload"]
    assert (node.root / "etc/issue").read_text() == "k3OS\n  eth0 10.0.2.15/24\n\n"
    assert node.look(ADDRESS) == []
    assert node.look("") == ["agetty --reload"]
    assert "no network address yet" in (node.root / "etc/issue").read_text()


def test_the_first_address_after_the_boot_gave_up_waiting_applies_the_configuration(
    node: Node,
) -> None:
    again = "systemctl start --no-block k3os-config-again.service"
    (node.root / "k3os/network-late").write_text("")
    assert again not in node.look("")
    assert again in node.look(ADDRESS)
    assert node.look("eth1 UP 10.9.0.2/24") == ["agetty --reload"], "once"
