"""The operator's program as in a pod: with an environment and a service account, without DNS."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.operator.emulator import OPERATOR
from tests.operator.front import HANGS_UP, NOT_READY, UP, Front, fronted
from tests.operator.test_rollout import NEW, all_updated
from tests.operator.world import ROOT, World

# reads the service account from a directory of the test, and cannot resolve names
PROGRAM = """
import socket, sys
from k3os.operator import access
from k3os.cli.main import main

resolve = socket.getaddrinfo

def without_dns(host, *rest, **more):
    try:
        return resolve(host, *rest, **{**more, "flags": socket.AI_NUMERICHOST})
    except (socket.gaierror, TypeError):
        raise socket.gaierror(-3, f"Temporary failure in name resolution: {host}") from None

socket.getaddrinfo = without_dns
access.ACCOUNT = sys.argv.pop(1)
sys.exit(main(sys.argv[1:]))
"""


def account(directory: Path, front: Front) -> Path:
    """The service account's files, as the kubelet mounts them."""
    (directory / "token").write_text(OPERATOR)
    (directory / "namespace").write_text("k3os-system")
    (directory / "ca.crt").write_text((directory / "server-ca.crt").read_text())
    return directory


def start(world: World, front: Front, directory: Path) -> subprocess.Popen[bytes]:
    environment = {
        **{name: value for name, value in os.environ.items() if "proxy" not in name.lower()},
        "KUBERNETES_SERVICE_HOST": front.host,
        "KUBERNETES_SERVICE_PORT": str(front.port),
        "HOME": str(directory),
    }
    environment.pop("KUBECONFIG", None)
    (directory / "program.py").write_text(PROGRAM)
    command = [sys.executable, str(directory / "program.py"), str(account(directory, front))]
    command += ["operator", "run", "--port", "0", "--log-format", "text"]
    with open(world.directory / "operator.log", "ab") as log:
        world.process = subprocess.Popen(
            command, env=environment, stdout=log, stderr=log, cwd=ROOT / "src"
        )
    return world.process


@pytest.mark.emulator
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_without_dns_it_waits_for_the_api_server_and_then_works(
    world: World, tmp_path: Path, host: str
) -> None:
    assert world.api is not None
    world.nodes("a")
    world.pool(k3os=NEW)
    directory = tmp_path / "account"
    directory.mkdir()
    with fronted(directory, host, world.api.port) as front:
        process = start(world, front, directory)
        world.until(lambda: "the API server does not answer" in world.log)
        time.sleep(2)
        front.state = HANGS_UP
        front.open()
        world.until(lambda: front.asked >= 1)
        front.state = NOT_READY
        seen = front.asked
        world.until(lambda: front.asked > seen)
        assert process.poll() is None
        front.state = UP
        world.until_phase("Updated")
        assert all_updated(world)
        assert world.log.count("the API server does not answer") == 1
        assert "the API server is back" in world.log
        assert world.log.count("leads now") == 1
        assert world.end() == 0
