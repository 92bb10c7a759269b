"""Which address changes from the kernel matter, with messages of a real kernel."""

import socket
import subprocess
from pathlib import Path

import pytest

from k3os.system.run import run

ROOTFS = Path(__file__).parents[3] / "overlay/rootfs"
SCRIPT = ROOTFS / "usr/lib/k3os/addresses"
UNITS = ROOTFS / "usr/lib/systemd/system"
SETTLE = "k3os network settle"
# a veth pair comes up: link-local addresses
POD = (
    "500000001400000000000000000000000a4080fd0300000014000100fe80000000000000ec2d38fffecb7671"
    "14000600ffffffffffffffff5d2b65005d2b6500080008008000000005000b0003000000",
    "500000001400000000000000000000000a4080fd0200000014000100fe80000000000000d88bfdfffe706abc"
    "14000600ffffffffffffffff5d2b65005d2b6500080008008000000005000b0003000000",
)
IPV4 = (
    "4c000000140000008dbe0a6b002f00000218800003000000080001000a070001080002000a07000107000300"
    "76300000080008008000000014000600ffffffffffffffff202d6500202d6500",
)
IPV4_GONE = (
    "4c0000001500000090be0a6b0d2f00000218800003000000080001000a070001080002000a07000107000300"
    "76300000080008008000000014000600ffffffffffffffff202d6500202d6500",
)
# tentative, then permanent
IPV6 = (
    "480000001400000000000000000000000a40c0000300000014000100fd0000070000000000000000000000011400"
    "0600ffffffffffffffff152f6500152f650008000800c0000000",
    "480000001400000000000000000000000a4080000300000014000100fd0000070000000000000000000000011400"
    "0600ffffffffffffffff152f6500152f65000800080080000000",
)
# as after a router advertisement: with another lifetime
IPV6_AGAIN = (
    "480000001400000000000000000000000a4000000300000014000100fd0000070000000000000000000000011400"
    "06008403000084030000152f6500c83065000800080000000000",
)
IPV6_GONE = (
    "480000001500000000000000000000000a4000000300000014000100fd0000070000000000000000000000011400"
    "06008203000082030000152f6500c83065000800080000000000",
)
HERE = "eth0@if2 UP fd00:7::1/64"


class Node:
    """A node with stubs for the programs that the script calls."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "bin").mkdir()
        (root / "k3os").mkdir()
        self.text = SCRIPT.read_text()
        for old, new in {
            "/run/k3os": f"{root}/k3os",
            "/usr/sbin/k3os": f"{root}/bin/k3os",
        }.items():
            assert old in self.text
            self.text = self.text.replace(old, new)
        self.program("k3os", f'echo "k3os $*" >>"{root}/called"')

    def program(self, name: str, text: str) -> None:
        path = self.root / "bin" / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def hears(self, messages: tuple[str, ...], addresses: str = HERE) -> list[str]:
        """The programs that are called when these messages are in the socket."""
        self.program("ip", f"echo '{addresses}'")
        (self.root / "called").write_text("")
        kernel, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        with kernel, ours:
            for each in messages:
                kernel.send(bytes.fromhex(each))
            path = {"PATH": f"{self.root}/bin:/usr/bin:/bin"}
            run(["sh", "-c", self.text], stdin=ours.fileno(), env=path, timeout=20)
            ours.setblocking(False)
            with pytest.raises(BlockingIOError):  # or systemd would keep starting this
                ours.recv(1)
        return (self.root / "called").read_text().splitlines()


@pytest.fixture
def node(tmp_path: Path) -> Node:
    found = Node(tmp_path)
    assert found.hears((), "") == [SETTLE], "called by hand"
    return found


def test_an_address_that_comes_or_goes_settles_the_network(node: Node) -> None:
    assert node.hears(IPV6, "eth0@if2 UP fd00:7::2/64 fd00:7::1/64") == [SETTLE]
    for news in (IPV4, IPV4_GONE, IPV6_GONE, (*IPV6_GONE, *IPV6), (*POD, *IPV4, *POD)):
        assert node.hears(news) == [SETTLE]
    assert node.hears((*POD, *IPV6_GONE), "") == [SETTLE], "the last one"


def test_the_interfaces_of_pods_and_what_is_known_start_nothing(node: Node) -> None:
    assert node.hears(IPV6) == [SETTLE]
    for news in (POD, POD * 4, IPV6_AGAIN, (*POD, *IPV6_AGAIN, *POD)):
        assert node.hears(news) == []
    assert node.hears(IPV6_AGAIN, "eth0@if2 UP fd00:7::3/64") == [SETTLE]


def test_what_is_no_such_message_settles_the_network(node: Node) -> None:
    node.hears(IPV6)
    for news in (("00" * 64,), ("48",), (POD[0][:-8],), (POD[0], "ffffff7f" * 8)):
        assert node.hears(news) == [SETTLE], news


def test_lost_messages_settle_the_network(node: Node) -> None:
    node.hears(IPV6)
    said = "dd: error reading 'standard input': No buffer space available"
    whole = f'/usr/bin/dd "$@" 2>"{node.root}/errors" || {{ echo "{said}" >&2; exit 1; }}'
    node.program("dd", whole)
    assert node.hears(POD) == [SETTLE]
    node.program("dd", 'exec /usr/bin/dd "$@"')
    assert node.hears(POD) == []


def test_a_kernel_without_ipv6_settles_the_network_too(node: Node) -> None:
    node.program("ip", "exit 1")
    (node.root / "called").write_text("")
    subprocess.run(
        ["sh", "-c", node.text],
        stdin=subprocess.DEVNULL,
        env={"PATH": f"{node.root}/bin:/usr/bin:/bin"},
        check=True,
    )
    assert (node.root / "called").read_text() == f"{SETTLE}\n"


def test_the_socket_listens_to_both_and_the_script_is_what_it_starts() -> None:
    """RTMGRP_IPV4_IFADDR is 0x10, RTMGRP_IPV6_IFADDR 0x100."""
    assert f"ListenNetlink=route {0x10 | 0x100}" in (UNITS / "k3os-network.socket").read_text()
    assert "ExecStart=/usr/lib/k3os/addresses" in (UNITS / "k3os-network.service").read_text()
    assert SCRIPT.stat().st_mode & 0o111
