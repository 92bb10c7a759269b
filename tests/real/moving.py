"""The check for a node that gets another address by DHCP: it becomes Ready again by itself."""

from __future__ import annotations

from tests.real.lab import wait_for
from tests.real.node import BOOT, READY, Node, condition, pod, wait_until_running

SLEEP = "exec sleep 86397"
RUNS = "pgrep -f '^sleep 86397'"


def check_move(server: Node, node: Node) -> None:
    """Give node another address: its pod keeps running, and the cluster learns the address."""
    server.apply(pod("moved-along", node.name, SLEEP))
    wait_until_running(server, "moved-along")
    process = node.ssh(RUNS)
    before, main = node.address, node.ssh("systemctl show -p MainPID --value k3s")
    node.lab.move(node.name)
    assert node.address != before
    wait_for("the node answers at its new address", BOOT, lambda: node.ssh("hostname"))

    def is_known() -> bool:
        found = server.get(f"node {node.name}")
        addresses = [
            each["address"] for each in found["status"]["addresses"] if each["type"] == "InternalIP"
        ]
        ready = condition(found, "Ready").get("status") == "True"
        if addresses != [node.address] or not ready:
            raise ValueError(f"InternalIP {addresses}, Ready {ready}")
        return True

    wait_for("the node is Ready with its new address", READY, is_known)
    assert node.ssh("systemctl show -p MainPID --value k3s") != main
    assert node.ssh(RUNS) == process
    said = node.ssh("sudo journalctl -q --no-pager -o cat -u k3os-k3s-address")
    assert f"this node's address was {before} and is {node.address} now" in said
    assert server.kubectl("logs moved-along") == ""  # the server reaches the kubelet there
    server.kubectl("delete pod moved-along --now")
