"""A server and an agent, installed to disks through kernel parameters."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from k3os.system.run import CommandError
from k3os.vm.console import ConsoleError
from k3os.vm.spec import Disk, VMSpec
from tests.real import config
from tests.real.given import Given
from tests.real.lab import Lab, say, wait_for
from tests.real.node import BOOT, READY, Node, condition
from tests.vm.conftest import Images
from tests.vm.installed import make_image

MEMORY = 2560
DISK = 8 << 30
INSTALL = "k3os.mode=install k3os.install.silent k3os.install.power_off"
INSTALLED = r"k3OS: k3OS is installed on /dev/"
INSTALL_SECONDS = 600


@dataclasses.dataclass(frozen=True)
class Cluster:
    server: Node
    agent: Node

    @property
    def nodes(self) -> tuple[Node, Node]:
        return self.server, self.agent


def install(lab: Lab, images: Images, name: str, text: str, disk: Path) -> None:
    """Install to an empty disk, configured by kernel parameters, and power off. The disk gets its
    final name only then, so that a later run does not use the disk of an interrupted one."""
    place = lab.web / "config" / f"{name}.yaml"
    place.parent.mkdir(exist_ok=True)
    place.write_text(text)
    unfinished = disk.with_suffix(".unfinished")
    with open(unfinished, "wb") as file:
        file.truncate(DISK)
    spec = images.direct(f"{INSTALL} k3os.install.config_url={lab.plan.web}/config/{name}.yaml")
    spec = dataclasses.replace(
        spec, disks=(*spec.disks, Disk(unfinished)), memory=1024, cpus=2, tap=lab.plan.tap(name)
    )
    with lab.machine(name, spec) as vm:
        vm.expect(INSTALLED, INSTALL_SECONDS)
        vm.wait_for_end(BOOT)
    unfinished.rename(disk)


def installed(lab: Lab, name: str, disk: Path, memory: int = MEMORY) -> VMSpec:
    return VMSpec(disks=(Disk(disk),), memory=memory, cpus=2, tap=lab.plan.tap(name))


@contextmanager
def from_image(
    lab: Lab, images: Images, key: Path, name: str, text: str, directory: Path, memory: int = MEMORY
) -> Iterator[Node]:
    """A machine with a disk made by `k3os image`, which needs no installation."""
    disk = make_image(images.iso, directory, text, size="8G")
    with lab.machine(name, installed(lab, name, disk, memory)):
        yield Node(lab, name, key)


def kept(factory: pytest.TempPathFactory, name: str) -> Path:
    """A directory for this run. KEEP=<directory> keeps disks and key, and the next run starts with
    the installed nodes."""
    directory = os.environ.get("KEEP")
    if not directory:
        return factory.mktemp(name)
    path = Path(directory).absolute() / name
    path.mkdir(parents=True, exist_ok=True)
    return path


def power_off(node: Node) -> None:
    """Shut down cleanly if the disk is kept for the next run."""
    if not os.environ.get("KEEP"):
        return
    try:
        node.ssh("sudo systemctl --no-block poweroff", 60)
        node.vm.wait_for_end(BOOT)
    except (CommandError, ConsoleError) as error:
        say(f"{node.name} cannot be powered off, its disk stays as after a power cut: {error}")


@pytest.fixture(scope="session")
def machines(lab: Lab) -> Iterator[ExitStack]:
    """Owns the cluster's machines; close it to free their memory for others."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture(scope="session")
def server(
    lab: Lab,
    images: Images,
    k3s: Given,
    key: Path,
    machines: ExitStack,
    tmp_path_factory: pytest.TempPathFactory,
) -> Node:
    disk = kept(tmp_path_factory, "disks") / "server.img"
    text = config.server(lab, "server", key, dns=bool(k3s.airgap))
    if not disk.exists():
        install(lab, images, "server", text, disk)
    machines.enter_context(lab.machine("server", installed(lab, "server", disk)))
    node = Node(lab, "server", key)
    machines.callback(power_off, node)
    node.wait_until_ready(node)
    return node


@pytest.fixture(scope="session")
def agent(
    lab: Lab,
    images: Images,
    key: Path,
    server: Node,
    machines: ExitStack,
    tmp_path_factory: pytest.TempPathFactory,
) -> Node:
    disk = kept(tmp_path_factory, "disks") / "agent.img"
    if not disk.exists():
        install(lab, images, "agent", config.agent(lab.plan, "agent", key, "server"), disk)
    machines.enter_context(lab.machine("agent", installed(lab, "agent", disk)))
    node = Node(lab, "agent", key)
    machines.callback(power_off, node)
    node.wait_until_ready(server)
    return node


@pytest.fixture
def cluster(server: Node, agent: Node) -> Cluster:
    """Both nodes, Ready; otherwise an earlier step has broken them, and this fails."""
    for node in (server, agent):
        node.wait_until_ready(server, 600)
    wait_for("the controllers work", READY, lambda: controllers_work(server))
    return Cluster(server, agent)


def controllers_work(server: Node) -> bool:
    """A namespace gets its service account. Where processors are emulated, a k3s that has just
    started misses its own time limits and starts again: Nodes look Ready, and no Job gets a pod."""
    name = f"looked-at-{time.monotonic_ns()}"
    server.kubectl(f"create namespace {name}")
    try:
        wait_for(
            f"namespace {name} has its account",
            90,
            lambda: server.kubectl(f"get serviceaccount default -n {name} -o name"),
        )
    except AssertionError as error:
        raise ValueError(str(error)) from error
    finally:
        server.kubectl(f"delete namespace {name} --wait=false")
    return True


def wait_until_known_ready(server: Node, node: Node) -> None:
    """Ready in its current boot; the API may still show the status from before it."""
    boot = node.boot_id()

    def again() -> bool:
        found = server.get(f"node {node.name}")
        same = found["status"]["nodeInfo"]["bootID"] == boot
        return same and condition(found, "Ready").get("status") == "True"

    wait_for(f"{node.name} is Ready in its new boot", READY, again)
