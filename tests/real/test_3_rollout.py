"""NodePools, with the operator of the image: changes reach both nodes, or are rolled back if they
do not work.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from k3os import names
from tests.real import web
from tests.real.cluster import Cluster, wait_until_known_ready
from tests.real.given import Given, later, relabelled
from tests.real.lab import say, wait_for
from tests.real.node import READY, Node, condition

POOL = "lab"
ROLLOUT_SECONDS = 3600  # both nodes, one after the other
TRIAL_SECONDS = 300
K3OS = "9.0.0"
STRATEGY = {"progressDeadline": "40m", "drain": {"force": True}}
SYSCTL = "vm.max_map_count"


def want(
    server: Node, name: str = POOL, selector: dict[str, Any] | None = None, **spec: Any
) -> None:
    """Create a NodePool, or change its spec."""
    server.apply(
        {
            "apiVersion": f"{names.GROUP}/{names.VERSION}",
            "kind": names.KIND,
            "metadata": {"name": name},
            "spec": {
                "nodeSelector": selector or {"matchLabels": {}},
                **spec,
                "strategy": {**STRATEGY, **spec.get("strategy", {})},
            },
        }
    )


def wait_for_phase(server: Node, phase: str, name: str = POOL) -> dict[str, Any]:
    """Wait until the operator reports the phase for the latest spec; fail at once if the phase is
    Failed instead."""
    shown = ""

    def reached() -> dict[str, Any]:
        nonlocal shown
        found = server.get(f"nodepool {name}")
        status = found.get("status", {})
        seen = status.get("observedGeneration") == found["metadata"]["generation"]
        steps = [f"{each['name']} {each['step']}" for each in status.get("changing", [])]
        line = f"{status.get('phase')}: {', '.join(steps)} {status.get('waiting', '')}".strip()
        if line != shown:
            say(line)
            shown = line
        if seen and status.get("phase") == phase:
            return found
        failed = condition(found, "Degraded")
        assert not (seen and status.get("phase") == "Failed"), failed.get("message")
        raise ValueError(line or "no status yet")

    return wait_for(f"NodePool {name} is {phase}", ROLLOUT_SECONDS, reached)


def annotation(server: Node, name: str, which: str) -> str:
    found = server.get(f"node {name}")["metadata"].get("annotations", {})
    return str(found.get(which, ""))


def test_configuration(cluster: Cluster) -> None:
    """A NodePool applies a configuration to both nodes without a reboot."""
    before = {node: node.boot_id() for node in cluster.nodes}
    value = "262145"
    want(cluster.server, config={"k3os": {"sysctls": {SYSCTL: value}}})
    wait_for_phase(cluster.server, "Updated")
    for node in cluster.nodes:
        assert node.ssh(f"cat /proc/sys/{SYSCTL.replace('.', '/')}") == value
        assert node.boot_id() == before[node]


def test_k3os(cluster: Cluster, release: Callable[[str], str]) -> None:
    """A NodePool upgrades k3OS on both nodes, and each reboots."""
    before = {node: node.boot_id() for node in cluster.nodes}
    want(cluster.server, k3os={"version": K3OS, "url": release(K3OS)})
    wait_for_phase(cluster.server, "Updated")
    for node in cluster.nodes:
        assert node.boot_id() != before[node]
        assert annotation(cluster.server, node.name, names.K3OS) == K3OS
        assert annotation(cluster.server, node.name, names.TRIAL) == "false"
        wait_until_known_ready(cluster.server, node)
    wait_for("the operator of the new version is Ready", READY, lambda: operators(cluster.server))


def operators(server: Node) -> bool:
    """Whether all replicas are from the newest Deployment, and Ready."""
    found = server.get("-n k3os-system deployment k3os-operator")
    status, wanted = found["status"], found["spec"]["replicas"]
    assert K3OS in json.dumps(found["spec"]["template"]["spec"]["affinity"])
    counts = {status.get(f"{name}Replicas", 0) for name in ("updated", "ready", "available")}
    return counts == {wanted} and status["observedGeneration"] == found["metadata"]["generation"]


def test_k3s(cluster: Cluster, k3s: Given) -> None:
    """A NodePool upgrades k3s on both nodes without a reboot."""
    lab = cluster.server.lab
    before = {node: node.boot_id() for node in cluster.nodes}
    if k3s.next is not None:
        version, data = k3s.next.version, k3s.next.path.read_bytes()
    else:
        version = later(k3s.k3s.version)
        data = relabelled(k3s.k3s.path, k3s.k3s.version, version)
        say(f"{version} is {k3s.k3s.version} with another label, since K3S_NEXT is not given")
    web.publish_k3s(lab.web, version, data)
    want(cluster.server, k3s={"version": version, "url": f"{lab.plan.web}/k3s"})
    wait_for_phase(cluster.server, "Updated")
    for node in cluster.nodes:
        assert annotation(cluster.server, node.name, names.K3S) == version
        assert version in node.ssh("k3s --version")
        assert node.boot_id() == before[node]
        if k3s.next is not None:
            found = cluster.server.get(f"node {node.name}")
            assert found["status"]["nodeInfo"]["kubeletVersion"] == version


def test_crash(cluster: Cluster, k3s: Given) -> None:
    """A k3s that crashes at once is rolled back, and the node and its NodePool say so."""
    server, agent = cluster.nodes
    lab = server.lab
    good = annotation(server, "agent", names.K3S)
    bad = later(k3s.next.version if k3s.next else k3s.k3s.version, 2)
    web.publish_k3s(lab.web, bad, web.crashing(bad))
    only = {"matchLabels": {"kubernetes.io/hostname": "agent"}}
    settings = {"k3os": {"upgrade": {"timeout": TRIAL_SECONDS}}}
    # first the timeout of the trial, so that it already applies to the new k3s
    want(server, selector=only, config=settings)
    wait_for_phase(server, "Updated")
    want(server, selector=only, config=settings, k3s={"version": bad, "url": f"{lab.plan.web}/k3s"})
    found = wait_for_phase(server, "Failed")
    degraded = condition(found, "Degraded")
    assert degraded["status"] == "True"
    say(f"NodePool: {degraded['reason']}: {degraded['message']}")
    assert bad in degraded["message"]
    wait_until_known_ready(server, agent)
    assert good in agent.ssh("k3s --version")
    assert annotation(server, "agent", names.K3S) == good
    result = annotation(server, "agent", names.LAST_RESULT)
    say(f"node: {result}")
    assert json.loads(result)["state"] in (names.FAILED, names.ROLLED_BACK)
    assert bad in json.loads(result)["message"]
    assert bad in agent.ssh("sudo k3os status || true"), (
        "k3os status on the node says nothing of it"
    )
    server.kubectl(f"delete nodepool {POOL}")


def test_versions_of_both_are_told(cluster: Cluster) -> None:
    """`kubectl k3os nodes` on the server shows both nodes with their versions."""
    said = cluster.server.ssh("sudo kubectl k3os nodes")
    for node in cluster.nodes:
        assert node.name in said
        assert annotation(cluster.server, node.name, names.K3S) in said
