"""Bad changes are taken back: by a person with `rollout undo`, or by a canary's gate."""

from __future__ import annotations

import json
from typing import Any

from k3os import names
from tests.real import web
from tests.real.cluster import Cluster, wait_until_known_ready
from tests.real.given import Given, later, relabelled
from tests.real.lab import say, wait_for
from tests.real.node import Node, condition
from tests.real.test_3_rollout import ROLLOUT_SECONDS, SYSCTL, annotation, wait_for_phase, want

POOL = "undone"
FIRST, SECOND, THIRD = "262146", "262147", "262148"
# stays closed: MemoryPressure is False on a node with enough memory
CLOSED = {"apiVersion": "v1", "kind": "Node", "name": "agent", "type": "MemoryPressure"}
CANARY = {
    "steps": [{"nodes": 1}],
    "analysis": [{"name": "pressure", "condition": CLOSED}],
    "analysisTimeout": "30s",
    "onFailure": "Rollback",
}


def configuration(value: str) -> dict[str, Any]:
    return {"k3os": {"sysctls": {SYSCTL: value}}}


def values(cluster: Cluster) -> list[str]:
    """The setting, on each node."""
    return [node.ssh(f"cat /proc/sys/{SYSCTL.replace('.', '/')}") for node in cluster.nodes]


def revisions(server: Node) -> int:
    lines = server.ssh(f"sudo kubectl k3os rollout history {POOL}").splitlines()
    say("\n      ".join(lines))
    return sum(line.split()[:1] != [] and line.split()[0].isdigit() for line in lines)


def test_undo_of_a_configuration(cluster: Cluster) -> None:
    """`kubectl k3os rollout undo` restores the earlier configuration on both nodes."""
    server = cluster.server
    for value in (FIRST, SECOND):
        want(server, POOL, config=configuration(value))
        wait_for_phase(server, "Updated", POOL)
        assert values(cluster) == [value, value]
    before = revisions(server)
    assert before >= 2
    say(server.ssh(f"sudo kubectl k3os rollout undo {POOL}"))
    wait_for_phase(server, "Updated", POOL)
    assert values(cluster) == [FIRST, FIRST]


def test_gate(cluster: Cluster) -> None:
    """A canary whose gate stays closed is rolled back, and the NodePool names the gate."""
    server = cluster.server
    want(server, POOL, config=configuration(FIRST))
    wait_for_phase(server, "Updated", POOL)
    want(server, POOL, config=configuration(THIRD), strategy={"canary": CANARY})

    def taken_back() -> dict[str, Any]:
        found = server.get(f"nodepool {POOL}")
        phases = (found["status"]["phase"], found["status"].get("canary", {}).get("phase"))
        if phases != ("Failed", "RolledBack"):
            raise ValueError(phases)
        return found

    found = wait_for("the canary is taken back", ROLLOUT_SECONDS, taken_back)
    degraded = condition(found, "Degraded")
    say(f"NodePool: {degraded['reason']}: {degraded['message']}")
    assert degraded["reason"] == "CanaryFailed"
    assert "gate pressure" in degraded["message"]
    assert values(cluster) == [FIRST, FIRST]
    server.kubectl(f"delete nodepool {POOL}")


def test_undo_of_a_version(cluster: Cluster, k3s: Given) -> None:
    """`kubectl k3os rollout undo` returns the agent to its earlier k3s."""
    server, agent = cluster.nodes
    lab = server.lab
    good = annotation(server, "agent", names.K3S)
    source = k3s.next or k3s.k3s
    newer = later(source.version, 3)
    web.publish_k3s(lab.web, newer, relabelled(source.path, source.version, newer))
    only = {"matchLabels": {"kubernetes.io/hostname": "agent"}}
    for version in (good, newer):
        want(server, POOL, only, k3s={"version": version, "url": f"{lab.plan.web}/k3s"})
        wait_for_phase(server, "Updated", POOL)
        assert annotation(server, "agent", names.K3S) == version
    say(server.ssh(f"sudo kubectl k3os rollout undo {POOL} --allow-rollback"))
    wait_for_phase(server, "Updated", POOL)
    assert annotation(server, "agent", names.K3S) == good
    assert good in agent.ssh("k3s --version")
    assert json.loads(annotation(server, "agent", names.LAST_RESULT))["state"] == names.SUCCEEDED
    wait_until_known_ready(server, agent)
    server.kubectl(f"delete nodepool {POOL}")
