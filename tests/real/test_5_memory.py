"""What 512 MiB of memory is enough for: an agent, and a server by itself. Prints the figures that
docs/explanation/resources.md quotes.

The earlier clusters' machines are shut down first, to free memory.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from k3os.system.run import CommandError
from tests.real import config
from tests.real.cluster import MEMORY, from_image
from tests.real.given import Given
from tests.real.lab import Lab, say, wait_for
from tests.real.node import BOOT, READY, Node, is_ready, pod, wait_until_running
from tests.real.test_1_live import OUT_OF_MEMORY
from tests.vm.conftest import Images

SMALL = 512
# how long nothing may be killed on a Ready agent, and how long a server is watched; seconds
SECONDS = 300
WATCHED = 900
# limit for any login, from ssh's first packet to the command's output. An emulated processor needs
# two or three seconds just for key exchange and session, while k3s is starting.
LOGIN_SECONDS, EMULATED_LOGIN_SECONDS = 10, 40
FIGURES = (
    "free -m; cat /proc/pressure/memory; uptime; "
    "cd /sys/fs/cgroup; grep . k3s.slice/memory.peak k3s.slice/memory.current "
    "k3s.slice/memory.swap.current; sudo k3os status | grep -A 4 ^memory || true"
)


class Logins:
    """Logs in over and over; seconds: how long each login took, including those that failed or
    timed out after a minute."""

    def __init__(self, node: Node) -> None:
        self.seconds: list[float] = []
        self._node = node
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Logins:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(120)

    def _look(self) -> None:
        while not self._over.wait(2):
            started = time.monotonic()
            try:
                self._node.ssh("true", 60, login=True)
            except CommandError as error:
                say(f"a login failed: {error}")
            self.seconds.append(time.monotonic() - started)

    def check(self, *, emulated: bool) -> None:
        most = EMULATED_LOGIN_SECONDS if emulated else LOGIN_SECONDS
        assert max(self.seconds) < most, self.seconds

    def __str__(self) -> str:
        times = sorted(self.seconds)
        return (
            f"{len(times)} logins: median {times[len(times) // 2]:.1f} s, longest {times[-1]:.1f} s"
        )


@pytest.fixture(scope="module")
def free(machines: ExitStack) -> None:
    """Frees the memory of the cluster's machines."""
    machines.close()


@pytest.fixture
def small_agent(
    free: None, lab: Lab, images: Images, k3s: Given, key: Path, tmp_path: Path
) -> Iterator[tuple[Node, Node]]:
    """A server with enough memory, and an agent with little."""
    with ExitStack() as stack:
        made = []
        for name, memory in (("server", MEMORY), ("agent", SMALL)):
            directory = tmp_path / name
            directory.mkdir()
            text = (
                config.agent(lab.plan, name, key, "server")
                if made
                else config.server(lab, name, key, dns=bool(k3s.airgap))
            )
            booted = from_image(lab, images, key, name, text, directory, memory)
            made.append(stack.enter_context(booted))
            if len(made) == 1:
                made[0].wait_until_ready(made[0])
        yield made[0], made[1]


def test_small_agent(small_agent: tuple[Node, Node], lab: Lab) -> None:
    """An agent with 512 MiB becomes Ready and runs a pod, and nothing is killed."""
    server, agent = small_agent
    wait_for("the agent answers by ssh", BOOT, lambda: agent.ssh("hostname"))
    with Logins(agent) as logins:
        agent.wait_until_ready(server)
        server.apply(pod("small", "agent", "sleep 3600"))
        wait_until_running(server, "small")
        started = time.monotonic()

        def calm() -> bool:
            killed = agent.ssh(OUT_OF_MEMORY)
            assert killed == "0", f"the kernel ended {killed} programs for lack of memory"
            return time.monotonic() > started + SECONDS

        wait_for("nothing is killed for lack of memory", SECONDS + 120, calm)
        assert is_ready(server, "agent")
    say(agent.ssh(FIGURES))
    say(str(logins))
    logins.check(emulated=lab.is_emulated)


@pytest.fixture
def small_server(
    free: None, lab: Lab, images: Images, k3s: Given, key: Path, tmp_path: Path
) -> Iterator[Node]:
    text = config.server(lab, "live", key, dns=bool(k3s.airgap))
    with from_image(lab, images, key, "live", text, tmp_path, SMALL) as node:
        yield node


def test_small_server(small_server: Node, lab: Lab) -> None:
    """A server with 512 MiB says that memory is short, and logins always work."""
    node = small_server
    wait_for("the node answers by ssh", BOOT, lambda: node.ssh("hostname"))
    started = time.monotonic()
    ready, answer = 0.0, ""
    with Logins(node) as logins:
        while time.monotonic() < started + WATCHED:
            try:
                if not ready and is_ready(node, node.name):
                    ready = time.monotonic() - started
            except (CommandError, ValueError) as error:
                answer = str(error)  # its API is down or too busy
            time.sleep(15)
    late = f"not Ready in {WATCHED} s: {answer}"
    say(f"Ready {ready:.0f} s after the first login" if ready else late)
    say(node.ssh(FIGURES, READY))
    say(f"{node.ssh(OUT_OF_MEMORY)} programs were ended for lack of memory")
    say(str(logins))
    status = node.ssh("sudo k3os status || true")
    short = r"(\d+ MiB are less than k3s as a server needs)"
    assert re.search(rf"SHORT: {short}", status)
    assert re.search(rf"memory is short: {short}", node.vm.console.text)
    logins.check(emulated=lab.is_emulated)
