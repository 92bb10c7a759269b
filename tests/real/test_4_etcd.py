"""Embedded etcd on three servers: one restarts in a rollout while the others keep working.

The earlier cluster's machines are shut down first, to free memory. A host with few processors runs
the same steps with a single server: with two servers emulated on two processors, k3s keeps missing
its own time limits and exits. Servers with etcd only are no alternative: at least up to v1.22.3,
such a k3s waits for its agent before it joins, and the agent waits for etcd.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from k3os import names
from k3os.system.run import CommandError
from tests.real import config
from tests.real.cluster import from_image, wait_until_known_ready
from tests.real.given import Given
from tests.real.lab import Lab, say, wait_for
from tests.real.node import READY, Node, is_ready
from tests.real.test_3_rollout import annotation, wait_for_phase, want
from tests.vm.conftest import Images

MEMORY = 2048
ENOUGH = 6  # processors of the host
SERVERS = ("etcd-1", "etcd-2", "etcd-3") if (os.cpu_count() or 1) >= ENOUGH else ("etcd-1",)
# an emulated server may not renew its leases within the default ten seconds, and then k3s exits
PATIENT = tuple(
    f"--kube-{part}-arg=leader-elect-{limit}"
    for part in ("controller-manager", "scheduler", "cloud-controller-manager")
    for limit in ("lease-duration=60s", "renew-deadline=50s")
)
K3OS = "9.1.0"
POOL = "one-server"
# seconds, while etcd elects a new leader and k3s' clients find another server
LONGEST_SILENCE = 60


@pytest.fixture(scope="module")
def servers(
    lab: Lab,
    images: Images,
    k3s: Given,
    key: Path,
    machines: ExitStack,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[list[Node]]:
    machines.close()
    first = SERVERS[0]
    say(f"servers with embedded etcd: {len(SERVERS)}")
    with ExitStack() as stack:
        nodes: list[Node] = []
        for name in SERVERS:
            directory = tmp_path_factory.mktemp(name)
            more = {"server_url": config.url(lab.plan, first)} if nodes else {}
            text = config.server(
                lab,
                name,
                key,
                dns=bool(k3s.airgap),
                args=PATIENT if nodes else ("--cluster-init", *PATIENT),
                **more,
            )
            booted = from_image(lab, images, key, name, text, directory, MEMORY)
            nodes.append(stack.enter_context(booted))
            nodes[-1].wait_until_ready(nodes[0], 2 * READY)
        yield nodes


def test_etcd_join(servers: list[Node]) -> None:
    """Servers with embedded etcd become Ready, each of them a member."""
    for node in servers:
        labels = servers[0].get(f"node {node.name}")["metadata"]["labels"]
        assert labels.get("node-role.kubernetes.io/etcd") == "true"


def test_etcd_snapshot(servers: list[Node]) -> None:
    """An etcd snapshot can be made by hand on a server."""
    said = servers[0].ssh("sudo k3s etcd-snapshot save --name by-hand 2>&1 || true", 300)
    found = servers[0].ssh("sudo ls /var/lib/rancher/k3s/server/db/snapshots 2>&1 || true")
    say(found or said)
    assert "by-hand" in found, said


def test_etcd_rollout(servers: list[Node], release: Callable[[str], str]) -> None:
    """A server with etcd restarts in a rollout while the others, if any, keep answering."""
    first, target = servers[0], servers[-1]
    before = target.boot_id()
    url = release(K3OS)
    selector = {"matchLabels": {"kubernetes.io/hostname": target.name}}
    with Watch(first) as silences:
        want(first, POOL, selector, k3os={"version": K3OS, "url": url})
        wait_for_phase(first, "Updated", POOL)
    assert target.boot_id() != before
    assert annotation(first, target.name, names.K3OS) == K3OS
    wait_until_known_ready(first, target)
    assert all(is_ready(first, node.name) for node in servers)
    longest = max(silences, default=0)
    say(f"the longest time in which the API did not answer: {longest:.0f} s")
    if len(servers) > 1:
        assert longest < LONGEST_SILENCE


class Watch:
    """Polls the API every few seconds; silences: seconds between one answer and the next."""

    def __init__(self, node: Node) -> None:
        self.silences: list[float] = []
        self._node = node
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> list[float]:
        self._thread.start()
        return self.silences

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(120)

    def _look(self) -> None:
        answered = time.monotonic()
        while not self._over.wait(3):
            try:
                self._node.kubectl("get --raw=/readyz", 60)
            except CommandError:
                continue
            now = time.monotonic()
            self.silences.append(now - answered)
            answered = now


def test_etcd_one_down(servers: list[Node]) -> None:
    """A server with etcd loses power and becomes Ready again; the others, if any, keep working."""
    first, target = servers[0], servers[-1]
    before = target.boot_id()
    first.kubectl("create namespace before-it-went")
    target.vm.reset()
    if len(servers) > 1:
        wait_for("the others write", 120, lambda: first.kubectl("create namespace meanwhile"))
    target.wait_for_reboot(before)
    wait_until_known_ready(first, target)
    assert "before-it-went" in first.kubectl("get namespaces")
