"""The lab itself: it leaves nothing behind, no matter how its run ends."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from k3os.system.run import run
from tests.real.lab import Lab, remove_leftovers, wait_for
from tests.real.plan import new_namespace

PROGRAM = """
import sys, time
from pathlib import Path
from tests.real.lab import running
from tests.real.plan import Host, Plan, own_namespace

directory = Path(sys.argv[1])
plan = Plan(own_namespace(), (Host("one", 1),))
with running(plan, directory, directory / "logs", (), directory):
    print("made", flush=True)
    time.sleep(60)
"""


def namespaces() -> list[str]:
    return [line.split()[0] for line in run(["ip", "netns", "list"]).decode().splitlines()]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["SIGINT", "SIGKILL"])
def test_nothing_is_left(how: signal.Signals, tmp_path: Path) -> None:
    """An interrupted lab cleans up at once, and a killed one is removed by the next."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={"PYTHONPATH": ":".join(sys.path), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
    )
    name = new_namespace(process.pid)
    try:
        assert process.stdout is not None
        said = ""
        while "made" not in said:
            said = process.stdout.readline().decode()
            assert said, "the lab was not made"
        assert name in namespaces()
        services = run(["ip", "netns", "pids", name]).decode().split()
        assert len(services) == 2
    finally:
        process.send_signal(how)
        process.communicate()
    wait_for("its programs have ended", 10, lambda: not any(map(alive, services)))
    remove_leftovers()
    assert name not in namespaces()


def alive(pid: str) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_no_internet(lab: Lab) -> None:
    """The lab's network has no route to the internet."""
    started = time.monotonic()
    program = "import socket; socket.create_connection(('192.0.2.1', 80), 5)"
    said = run(lab.plan.inside(sys.executable, "-c", program), check=False).decode()
    assert "Network is unreachable" in said
    assert time.monotonic() - started < 5
