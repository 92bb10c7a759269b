"""What people do to a running node: `kubectl k3os` commands and `k3os config try`.

Runs before the rollouts, which the operator does.
"""

from __future__ import annotations

import base64
import time

from k3os import names
from k3os.cluster.node_pod import LABEL
from tests.real.cluster import Cluster
from tests.real.config import TOKEN
from tests.real.lab import say, wait_for
from tests.real.node import READY, is_ready

ARCHIVE = "/tmp/lab-support.tar.gz"
JOBS = f"get jobs -n {names.NAMESPACE} -l {LABEL}"
TRIED = "/tmp/tried.yaml"
USUAL_PODS, FEW_PODS = "110", "42"


def test_commands_through_the_api(cluster: Cluster) -> None:
    """kubectl k3os status, logs, config and shell reach the agent, and leave nothing behind."""
    server, agent = cluster.nodes
    wait_for(
        "the agent's image is known", 300, lambda: "agent" in server.ssh("sudo kubectl k3os nodes")
    )
    started = time.monotonic()
    status = server.ssh("sudo kubectl k3os status agent || true")
    say(f"the first command took {time.monotonic() - started:.1f} s")
    assert agent.ssh("uname -r") in status
    lines = server.ssh("sudo kubectl k3os logs agent -u k3s -n 5").splitlines()
    assert len(lines) == 5
    assert "k3s" in lines[-1]
    merged = server.ssh("sudo kubectl k3os config agent")
    assert "server_url" in merged
    assert TOKEN not in merged
    said = server.ssh(
        "echo 'hostname; id -u; exit 3' | sudo kubectl k3os shell agent 2>/dev/null || echo $?"
    )
    assert said.split() == ["agent", "0", "3"]
    wait_for("no Job is left", 60, lambda: "command" not in server.kubectl(JOBS))


def test_support_through_the_api(cluster: Cluster) -> None:
    """kubectl k3os support makes one archive about both nodes that contains no token."""
    server = cluster.server
    server.ssh(f"sudo kubectl k3os support server agent -o {ARCHIVE}", 600)
    listed = server.ssh(f"sudo tar -tf {ARCHIVE}")
    for node in cluster.nodes:
        assert f"/{node.name}/" in listed, listed
    found = server.ssh(f"sudo tar -xOf {ARCHIVE} | grep -ac {TOKEN} || true")
    assert found == "0"


def try_out(cluster: Cluster, text: str, options: str) -> None:
    encoded = base64.b64encode(text.encode()).decode()
    cluster.agent.ssh(f"echo {encoded} | base64 -d >{TRIED}")
    say(cluster.agent.ssh(f"sudo k3os config try {TRIED} {options}", 600))


def test_try_is_taken_back(cluster: Cluster) -> None:
    """A setting tried for a minute applies at once and is undone when nobody keeps it."""
    agent = cluster.agent
    value = "sysctl -n vm.max_map_count"
    before = agent.ssh(value)
    try_out(cluster, "k3os: {sysctls: {vm.max_map_count: '262145'}}", "--for 60s")
    assert agent.ssh(value) == "262145"
    wait_for("it has been taken back", 300, lambda: agent.ssh(value) == before)


def test_try_restarts_k3s(cluster: Cluster) -> None:
    """k3s arguments are tried, k3s restarts with them, and `config back` undoes them."""
    server, agent = cluster.nodes

    def capacity(wanted: str) -> bool:
        found = server.get("node agent")["status"]["capacity"]["pods"] == wanted
        return found and is_ready(server, "agent")

    text = f"k3os: {{k3s_args: [agent, --kubelet-arg=max-pods={FEW_PODS}]}}"
    try_out(cluster, text, "--for 20m --restart")
    wait_for("the kubelet has it", READY, lambda: capacity(FEW_PODS))
    say(agent.ssh("sudo k3os config back", 600))
    wait_for("the kubelet has the former one", READY, lambda: capacity(USUAL_PODS))


def test_kept_after_a_restart(cluster: Cluster) -> None:
    """A configuration that is kept survives a reboot."""
    agent = cluster.agent
    try_out(cluster, "k3os: {sysctls: {vm.max_map_count: '262146'}}", "--for 10m")
    agent.ssh("sudo k3os config keep")
    before = agent.boot_id()
    agent.reboot()
    agent.wait_for_reboot(before)
    assert agent.ssh("sysctl -n vm.max_map_count") == "262146"
    agent.ssh("sudo rm /var/lib/rancher/k3os/config.yaml")
