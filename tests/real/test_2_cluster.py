"""A server and an agent: everything that happens to nodes except new versions.

The steps build on each other. The fixture `cluster` first waits until both nodes are Ready, so
that a step does not fail because of the one before.
"""

from __future__ import annotations

import json
import time
from datetime import datetime

import pytest

from k3os.system.run import CommandError
from tests.real.cluster import Cluster, wait_until_known_ready
from tests.real.given import Given
from tests.real.lab import say, wait_for
from tests.real.node import BOOT, READY, Node, condition, log_in, pod, run_pod, wait_until_running
from tests.real.plan import ZONE
from tests.vm.node import ask

SHUTDOWN_SECONDS = 60
GRACE_SECONDS = 8


def test_install(server: Node) -> None:
    """A server is installed to a disk and becomes Ready."""
    assert json.loads(server.ssh("k3os status --json || true"))["mode"] == "disk"


KUBECTL = ("kubectl get nodes", "k3s kubectl get nodes", "sudo kubectl get nodes")
CONTAINERS = ("sudo crictl ps", "sudo ctr version", "sudo k3s crictl images")


@pytest.mark.parametrize("command", KUBECTL)
def test_kubectl_by_ssh(server: Node, command: str) -> None:
    """kubectl works for rancher as an ssh command."""
    assert " Ready " in server.ssh(command)


@pytest.mark.parametrize("command", CONTAINERS)
def test_containers_by_ssh(server: Node, command: str) -> None:
    """crictl and ctr work as ssh commands."""
    server.ssh(command)


def test_kubectl_on_the_console(server: Node) -> None:
    """kubectl works for rancher on the console."""
    vm = server.vm
    log_in(vm)
    try:
        for command in KUBECTL:
            assert " Ready " in ask(vm, command)
    finally:
        vm.send("exit\n")


def test_join(cluster: Cluster) -> None:
    """An agent is installed, joins and becomes Ready."""
    assert cluster.agent.host.address in cluster.server.kubectl("get node agent -o wide")


def test_reboot(cluster: Cluster) -> None:
    """Both nodes reboot and become Ready again."""
    before = {node: node.boot_id() for node in cluster.nodes}
    for node in cluster.nodes:
        node.reboot()
    for node, boot in before.items():
        node.wait_for_reboot(boot)
    for node in cluster.nodes:
        wait_until_known_ready(cluster.server, node)


def test_factory_reset(cluster: Cluster) -> None:
    """After a factory reset, an agent says why it is refused; it rejoins without its old secret."""
    server, agent = cluster.nodes
    secret = "agent.node-password.k3s"
    before = agent.boot_id()
    agent.ssh("sudo k3os reset --yes")
    agent.reboot()
    agent.wait_for_reboot(before, 2 * BOOT)
    wait_for(
        "k3os status says why it is refused",
        300,
        lambda: secret in agent.ssh("sudo k3os status || true"),
    )
    assert secret in agent.vm.console.text, "the console does not say it"
    server.kubectl(f"-n kube-system delete secret {secret}")
    wait_until_known_ready(server, agent)


LOOK_UP = (
    f"cat /etc/resolv.conf; nslookup web.{ZONE}; wget -q -O - http://web.{ZONE}/config/ | head -n 3"
)


def test_dns(cluster: Cluster) -> None:
    """A pod resolves names of the internal zone through the name server from DHCP."""
    for node in cluster.nodes:
        said = run_pod(cluster.server, pod(f"dns-{node.name}", node.name, LOOK_UP))
        assert cluster.server.lab.plan.gateway in said
        assert "8.8.8.8" not in said


def test_cluster_dns(cluster: Cluster, k3s: Given) -> None:
    """A pod resolves names of the internal zone through CoreDNS."""
    if not k3s.airgap:
        pytest.skip("needs CoreDNS' image: K3S_AIRGAP=<k3s-airgap-images-amd64.tar.zst>")

    def is_served() -> bool:
        found = cluster.server.get("-n kube-system endpoints kube-dns")
        return any(each.get("addresses") for each in found.get("subsets") or ())

    wait_for("CoreDNS is Ready", READY, is_served)
    names = f"nslookup web.{ZONE} && nslookup kubernetes.default.svc.cluster.local"
    run_pod(cluster.server, pod("cluster-dns", "agent", names, dnsPolicy="ClusterFirst"))


def test_apparmor(cluster: Cluster, k3s: Given) -> None:
    """RuntimeDefault confines a pod with AppArmor."""
    settings: dict[str, object] = {}
    if k3s.k3s.minor < 30:  # KEP-24: a field since 1.30
        name = "container.apparmor.security.beta.kubernetes.io/main"
        settings["annotations"] = {name: "runtime/default"}
    else:
        profile = {"appArmorProfile": {"type": "RuntimeDefault"}}
        settings["container"] = {"securityContext": profile}
    said = run_pod(
        cluster.server, pod("apparmor", "agent", "cat /proc/self/attr/current", **settings)
    )
    assert said.endswith("(enforce)"), said


STAMPS = "/var/lab"
STAMPING = f"""
trap 'date +%s > /stamps/heard; sleep {GRACE_SECONDS - 3}; date +%s > /stamps/ended; exit 0' TERM
touch /stamps/started; while :; do sleep 1 & wait $!; done
"""


def test_shutdown(cluster: Cluster) -> None:
    """On a reboot a pod gets SIGTERM and its grace period, within a minute."""
    server, agent = cluster.nodes
    mount = {"name": "stamps", "hostPath": {"path": STAMPS, "type": "DirectoryOrCreate"}}
    manifest = pod(
        "stamping",
        "agent",
        STAMPING,
        volumes=[mount],
        terminationGracePeriodSeconds=GRACE_SECONDS,
        container={"volumeMounts": [{"name": "stamps", "mountPath": "/stamps"}]},
    )
    server.apply(manifest)
    wait_until_running(server, "stamping")
    wait_for(
        "the pod's trap is set", 60, lambda: agent.ssh(f"test -e {STAMPS}/started && echo yes")
    )
    before = agent.boot_id()
    agent.vm.console.skip()
    asked = int(agent.ssh("date +%s"))
    begun = time.monotonic()
    agent.reboot()
    not_ready = wait_for("the server knows of the shutdown", 60, lambda: shutting_down(server))
    agent.vm.expect("k3OS Current", 300)  # the boot menu: the firmware's time counts, too
    spent = time.monotonic() - begun
    agent.wait_for_reboot(before)
    heard, ended = (
        agent.ssh(f"cat {STAMPS}/{name} 2>/dev/null || true") for name in ("heard", "ended")
    )
    say(f"{spent:.0f} s from `reboot` to the boot menu")
    assert heard, "the pod got no SIGTERM"
    assert ended, (
        f"the pod was killed before its grace period was over, SIGTERM after {int(heard) - asked} s"
    )
    say(f"SIGTERM after {int(heard) - asked} s, the pod's end {int(ended) - int(heard)} s later")
    say(f"the node was NotReady {not_ready - asked} s after `reboot`")
    assert not_ready <= int(ended), "the pod was gone before its node was NotReady"
    assert spent < SHUTDOWN_SECONDS + 15
    server.kubectl("delete pod stamping --ignore-not-found --now")


def shutting_down(server: Node) -> int:
    """When the agent's kubelet reported that it shuts down (Unix time); 0: not yet."""
    ready = condition(server.get("node agent"), "Ready")
    if ready.get("status") == "True":
        return 0
    assert "shutting down" in ready["message"], ready
    return int(datetime.fromisoformat(ready["lastTransitionTime"]).timestamp())


def test_kill(cluster: Cluster) -> None:
    """When k3s is killed with SIGKILL, pods keep running, and the node becomes Ready again."""
    server = cluster.server
    server.apply(pod("going-on", "server", "exec sleep 86399"))
    wait_until_running(server, "going-on")
    find = "pgrep -f '^sleep 86399'"
    process = server.ssh(find)
    main = "systemctl show -p MainPID --value k3s"
    before = server.ssh(main)
    killed = server.ssh("date -u +%FT%TZ")
    server.ssh(f"sudo kill -9 {before}")
    wait_for("systemd has started k3s again", 120, lambda: server.ssh(main) not in ("0", before))

    def heard_of_again() -> bool:
        """A heartbeat from after the kill: the API is up before the kubelet is."""
        ready = condition(server.get("node server"), "Ready")
        return ready["status"] == "True" and ready["lastHeartbeatTime"] > killed

    wait_for("the server is Ready again", READY, heard_of_again)
    found = wait_for("the pod is there", 120, lambda: server.get("pod going-on"))
    assert server.ssh(find) == process
    status = found["status"]["containerStatuses"][0]
    assert status["restartCount"] == 0
    assert json.dumps(status["state"]).startswith('{"running"')
    wait_for("the pod is deleted", 120, lambda: server.kubectl("delete pod going-on --now"))
    with pytest.raises(CommandError):
        server.ssh(find)
