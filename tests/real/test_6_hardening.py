"""A single server with `k3os.hardening: cis` does what the hardening guide promises."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.real import config
from tests.real.cluster import from_image
from tests.real.given import Given
from tests.real.lab import Lab, say, wait_for
from tests.real.node import BOOT, Node, pod, wait_until_running
from tests.vm.conftest import Images

# what the Pod Security Standard `restricted` requires of a container
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "runAsUser": 65534,
    "seccompProfile": {"type": "RuntimeDefault"},
}
LOGS = "/var/lib/rancher/k3s/server/logs"


@pytest.fixture(scope="module")
def hardened(
    lab: Lab,
    images: Images,
    k3s: Given,
    key: Path,
    machines: ExitStack,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Node]:
    machines.close()
    text = config.server(
        lab,
        "server",
        key,
        dns=bool(k3s.airgap),
        hardening="cis",
        lockdown="integrity",
        lock_modules=True,
    )
    directory = tmp_path_factory.mktemp("hardened")
    with from_image(lab, images, key, "server", text, directory) as node:
        wait_for("the node answers by ssh", BOOT, lambda: node.ssh("hostname"))
        node.wait_until_ready(node)
        yield node


def test_hardened(hardened: Node) -> None:
    """A server with `hardening: cis` becomes Ready, runs a pod and answers rancher's kubectl."""
    hardened.apply(pod("one", "server", "sleep 3600", container={"securityContext": RESTRICTED}))
    wait_until_running(hardened, "one")
    assert " Ready " in hardened.ssh("kubectl get nodes")


def test_hardened_secrets(hardened: Node) -> None:
    """Secrets are encrypted in the datastore."""
    hardened.kubectl("create secret generic hidden --from-literal=word=sesame-street")
    find = "sudo sh -c 'grep -c sesame-street /var/lib/rancher/k3s/server/db/state.db*' || true"
    said = hardened.ssh(find)
    assert said, "there is no datastore to look at"
    assert all(line.endswith(":0") for line in said.splitlines()), said


def test_hardened_audit(hardened: Node) -> None:
    """The API server writes an audit log without the contents of secrets."""
    listed = hardened.ssh(f"sudo ls {LOGS}")
    say(listed)
    assert "audit" in listed
    last = json.loads(hardened.ssh(f"sudo sh -c 'tail -n 1 {LOGS}/audit.log'"))
    assert last["level"] == "Metadata"
    assert "requestObject" not in last


def test_hardened_modules(hardened: Node) -> None:
    """No more kernel modules can be loaded, and the kernel is locked down."""
    wait_for(
        "no more modules",
        BOOT,
        lambda: hardened.ssh("cat /proc/sys/kernel/modules_disabled") == "1",
    )
    assert "[integrity]" in hardened.ssh("cat /sys/kernel/security/lockdown")


def test_hardened_status(hardened: Node) -> None:
    """The status shows what the profile could not do on this k3s, and no unit has failed."""
    say(hardened.ssh("sudo k3os status | grep -i -A 3 harden || true"))
    failed = hardened.ssh("systemctl --failed --no-legend || true")
    assert failed == "", failed


def test_hardened_reboot(hardened: Node) -> None:
    """A hardened server is Ready again after a reboot, and its secrets can be read."""
    before = hardened.boot_id()
    hardened.reboot()
    hardened.wait_for_reboot(before)
    hardened.wait_until_ready(hardened)
    said = wait_for("a secret", BOOT, lambda: hardened.get("secret hidden"))
    assert "word" in said["data"]
