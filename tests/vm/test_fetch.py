"""A node whose image has no k3s downloads the pinned version at its first boot."""

import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from k3os.image.settings import from_environment
from k3os.k3s.source import pinned
from k3os.system.run import run
from tests.vm.conftest import ROOT, STUB, Images
from tests.vm.node import BOOT, K3S, LOGIN, ask, serve

NOWHERE = "https://127.0.0.1:9"  # the discard port: nothing listens there


@pytest.fixture(scope="module")
def without_k3s(images, tmp_path_factory) -> Images:
    """An image built without access to the releases: the build warns, but finishes."""
    directory = tmp_path_factory.mktemp("without-k3s")
    wanted = {"KERNEL": "cloud", "K3S": "auto", "K3S_RELEASES": NOWHERE, "CONFIG": ""}
    wanted |= {"ARTIFACTS": str(directory), "CACHE": str(from_environment(os.environ).cache)}
    command = [sys.executable, "-m", "k3os", "build"]
    output = run(command, env={**wanted, "PYTHONPATH": str(ROOT / "src")}, timeout=600).decode()
    assert "WARNING: k3s" in output
    assert "THE IMAGE WILL HAVE NO k3s" in output
    return Images(directory, directory)


@pytest.fixture
def releases(tmp_path) -> Iterator[tuple[str, Path]]:
    """A server with the layout of the k3s releases: its URL as the guest sees it, its files."""
    directory = tmp_path / "releases" / pinned().version
    directory.mkdir(parents=True)
    (directory / "k3s").write_bytes(STUB.read_bytes())
    digest = hashlib.sha256(STUB.read_bytes()).hexdigest()
    (directory / "sha256sum-amd64.txt").write_text(f"{digest}  k3s\n")
    with serve(directory.parent) as url:
        yield url, directory


def config(url: str) -> str:
    """The mirror uses http, so the configuration has the expected checksum."""
    digest = hashlib.sha256(STUB.read_bytes()).hexdigest()
    return (
        f"k3os:\n  environment:\n    K3S_RELEASES: {url}\n"
        f"  k3s_sums:\n    {pinned().version}: {digest}\n"
    )


def test_k3s_is_fetched_verified_and_started(boot, without_k3s, releases):
    url, _ = releases
    with boot("fetch", without_k3s.direct(config=config(url))) as vm:
        vm.expect(LOGIN, BOOT)
        vm.expect_shell_and(K3S, timeout=BOOT)
        assert "(stub)" in ask(vm, "k3s --version")
        assert ask(vm, "systemctl --failed --no-legend") == ""


def test_a_k3s_with_a_wrong_checksum_is_never_started(boot, without_k3s, releases):
    url, directory = releases
    (directory / "k3s").write_bytes(STUB.read_bytes() + b"# changed on the way\n")
    with boot("fetch-wrong", without_k3s.direct(config=config(url))) as vm:
        vm.expect(LOGIN, BOOT)
        vm.expect_shell_and("k3OS: k3s cannot be fetched, .*wrong checksum", timeout=BOOT)
        code, _ = vm.command("test -e /run/k3os/k3s")
        assert code == 1
        code, said = vm.command("kubectl get nodes")
        assert (code, "kubectl: k3s is not there yet" in said) == (127, True), said
        again = "systemctl show -P NRestarts k3os-k3s-fetch"
        ask(vm, f'until [ "$({again})" -gt 0 ]; do sleep 1; done', BOOT)
        code, said = vm.command("k3os status")
        assert (code, "FAILED k3s: is not there, the node fetches it" in said) == (1, True), said
