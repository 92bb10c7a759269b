"""Releases: manifests, keys, sums, tarballs; what channels and TFTP servers answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from unittest.mock import patch

from k3os.errors import UserError
from tests.fuzz.target import target
from tests.fuzz.targets import scratch


@target("manifest", raises=(UserError,), words='"sha256" "arch" "created" "size" "kernel" "k3os"')
def manifest(data: bytes) -> object:
    """As an upgrade reads it, and as the installer does from a medium."""
    from k3os.generation.install_medium import read_medium
    from k3os.generation.manifest import parse_manifest

    try:
        scratch.file(data, "medium/k3os/system/current/manifest.json")
        read_medium(str(scratch.directory() / "medium"))
    except UserError:
        pass  # the other reader is asked in any case
    found = parse_manifest(data, "x")
    return [found.path(each) for each in found.files]


@target("versions", words="v1.33.1+k3s1 -rc1 v + . 00")
def versions(data: bytes) -> object:
    from k3os.generation.versions import is_older, ordered

    one, _, other = scratch.text(data).partition("\n")
    return ordered(one), is_older(one, other), is_older(other, one)


@target("tarball", raises=(UserError,))
def tarball(data: bytes) -> object:
    from k3os.upgrade.offer import TarOffer

    return TarOffer(scratch.file(data, "rootfs.tar.gz"), "x").manifest


@target(
    "keys", words='ssh-ed25519 AAAA namespaces="k3os" cert-authority # sk-ssh-ed25519@openssh.com'
)
def keys(data: bytes) -> object:
    """Release keys, and those that let people log in."""
    from k3os.config.ssh_keys import is_key, what_is_wrong
    from k3os.generation.signature import read_keys

    for line in scratch.text(data).splitlines():
        is_key(line)
        what_is_wrong(line)
    return read_keys([scratch.file(data, "keys")])


@target("sums", raises=(UserError,))
def sums(data: bytes) -> object:
    from k3os.k3s.fetch import parse_sums

    return parse_sums(data, "x")


@target("channel", raises=(UserError,), words="v1.2.3 +k3s1 https:// %2B / ? #")
def channel(data: bytes) -> object:
    """A redirect to a version, and a page with one."""
    import httpx2

    from k3os.operator import channels

    line = data.split(b"\n")[0][:2000].decode("latin-1")
    real = httpx2.AsyncClient

    async def page() -> AsyncIterator[bytes]:
        yield data

    def ask(answer: httpx2.Response) -> str:
        transport = httpx2.MockTransport(lambda _: answer)

        def client(**options: Any) -> httpx2.AsyncClient:
            return real(**{**options, "transport": transport})

        with patch("httpx2.AsyncClient", client):
            return asyncio.run(channels.look_up("https://example.com/channels/stable"))

    try:
        location = httpx2.Response(302, headers={"location": line})
    except ValueError:
        return None  # no such header can be sent
    try:
        ask(location)
    except UserError:
        pass  # the page is asked in any case
    return ask(httpx2.Response(200, content=page()))


@target("boot-environment", words="# GRUB Environment Block k3os_tries= k3os_trial=1 ####")
def boot_environment(data: bytes) -> object:
    from k3os.generation.grubenv import parse

    return parse(data), parse(data.ljust(1024, b"#")[:1024])


@target("tftp", raises=(UserError,), words="blksize octet")
def tftp(data: bytes) -> object:
    """The packets of a server, each after a byte with its length; then it is silent."""
    from k3os.system import tftp as client

    packets = []
    while data:
        packets.append(data[1 : 1 + data[0]])
        data = data[1 + data[0] :]

    class Socket:
        def __init__(self, *_: object) -> None:
            """Of any family."""

        def __enter__(self) -> Socket:
            return self

        def __exit__(self, *_: object) -> None:
            """Nothing is open."""

        def sendto(self, packet: bytes, server: object) -> None:
            assert len(packet) < 2000

        def settimeout(self, seconds: float) -> None:
            assert seconds > 0

        def recvfrom(self, most: int) -> tuple[bytes, tuple[str, int]]:
            if not packets:
                raise TimeoutError
            return packets.pop(0), ("10.0.0.1", 1234)

    with patch("socket.socket", Socket):
        return client.get("tftp://10.0.0.1/y", tries=1, waits=(0.1, 0.1))
