"""A live node with 1 GiB of memory, as `make run` boots it, with each given k3s."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import pytest

from k3os.cli.main import main
from tests.real import config
from tests.real.given import Given
from tests.real.lab import Lab, say, wait_for
from tests.real.moving import check_move
from tests.real.node import BOOT, READY, Node, log_in, pod, wait_until_running
from tests.vm.conftest import Images
from tests.vm.node import ask

MEMORY = 1024
# seconds during which nothing may be killed for lack of memory
SECONDS = 180
OUT_OF_MEMORY = "sudo dmesg | grep -c 'Out of memory' || true"


@pytest.fixture(scope="session", params=["K3S", "K3S_NEXT"])
def live_images(
    request: pytest.FixtureRequest,
    k3s: Given,
    images: Images,
    tmp_path_factory: pytest.TempPathFactory,
) -> Images:
    """The ISO as built, and the same remastered with K3S_NEXT."""
    if request.param == "K3S":
        return images
    if k3s.next is None:
        pytest.skip("no K3S_NEXT is given")
    directory = tmp_path_factory.mktemp("next")
    for path in images.iso.parent.iterdir():
        (directory / path.name).symlink_to(path)
    (directory / images.iso.name).unlink()
    new = directory / images.iso.name
    assert main(["remaster", str(images.iso), str(new), "--k3s", str(k3s.next.path)]) == 0
    return Images(directory, directory)


def test_live(lab: Lab, live_images: Images, k3s: Given, key: Path) -> None:
    """A live node with 1 GiB becomes Ready, runs a pod and the operator, and changes address."""
    text = config.server(lab, "live", key, dns=bool(k3s.airgap))
    spec = live_images.direct("k3os.mode=live", text)
    spec = dataclasses.replace(spec, memory=MEMORY, cpus=2, tap=lab.plan.tap("live"))
    with lab.machine("live", spec) as vm:
        node = Node(lab, "live", key)
        wait_for("the node answers by ssh", BOOT, lambda: node.ssh("hostname"))
        node.wait_until_ready(node)
        node.apply(pod("one", "live", "sleep 3600"))
        wait_until_running(node, "one")

        def operator() -> bool:
            ready = node.get("-n k3os-system deployment k3os-operator")["status"]
            return int(ready.get("readyReplicas", 0)) >= 1

        wait_for("the operator runs", READY, operator)
        uptime = float(node.ssh("cut -d' ' -f1 /proc/uptime"))
        say(f"all of it runs {uptime:.0f} s after the boot; watching for {SECONDS} s")

        def calm() -> bool:
            killed = node.ssh(OUT_OF_MEMORY)
            assert killed == "0", f"the kernel ended {killed} programs for lack of memory"
            return float(node.ssh("cut -d' ' -f1 /proc/uptime")) > uptime + SECONDS

        wait_for("nothing is killed for lack of memory", SECONDS + 120, calm)
        started = time.monotonic()
        check_move(node, node)
        say(f"Ready with another address {time.monotonic() - started:.0f} s after it got it")
        node.wait_until_ready(node, 60)
        log_in(vm)
        say(ask(vm, "free -m | head -n 3"))
        assert "Ready" in ask(vm, "kubectl get nodes"), "rancher's kubectl on the console"
