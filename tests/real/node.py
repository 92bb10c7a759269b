"""Access to a node of the lab by ssh, and to its cluster by kubectl in the lab's network."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from k3os.system.files import atomic_write
from k3os.system.run import CommandError
from k3os.vm.machine import VM
from tests.real.config import PASSWORD
from tests.real.images import WORKLOAD
from tests.real.lab import Lab, wait_for
from tests.vm.node import one_connection

# seconds; emulated machines are slow when several of them run
BOOT = 300
READY = 900
KUBECONFIG = "/etc/rancher/k3s/k3s.yaml"
SSH_OPTIONS = {
    "StrictHostKeyChecking": "no",
    "UserKnownHostsFile": "/dev/null",
    "BatchMode": "yes",
    "ConnectTimeout": "30",
    "ServerAliveInterval": "10",
    "LogLevel": "ERROR",
}


class Node:
    """A machine of the lab, reachable by ssh with a key."""

    def __init__(self, lab: Lab, name: str, key: Path) -> None:
        self.lab = lab
        self.name = name
        self.host = lab.plan.host(name)
        self._key = key

    @property
    def vm(self) -> VM:
        return self.lab.machines[self.name]

    @property
    def address(self) -> str:
        return self.lab.address(self.name)

    def ssh(self, command: str, timeout: float = 180, *, login: bool = False) -> str:
        """Run a command as rancher and return its output. Raises CommandError.

        All calls during a boot share one connection, like those of tests.vm.node.over_ssh;
        login=True opens one for this call only.
        """
        options = [f"-o{name}={value}" for name, value in SSH_OPTIONS.items()]
        options += [] if login else one_connection(self.vm, self._key)
        words = ["ssh", *options, "-i", str(self._key), f"rancher@{self.address}", command]
        return self.lab.inside(*words, timeout=timeout)

    def kubectl(self, arguments: str, timeout: float = 180, stdin: bytes | None = None) -> str:
        """Run kubectl outside of the node, with this server's own credentials; returns its output.

        In an emulated machine each kubectl takes seconds of processor time away from k3s; with two
        machines on two processors, polling made k3s miss its own time limits.
        """
        kubeconfig = self._key.with_name(f"{self.name}.kubeconfig")
        if not kubeconfig.exists():
            text = self.ssh(f"sudo cat {KUBECONFIG}")
            atomic_write(kubeconfig, text.encode(), mode=0o600)
        words = [f"--server=https://{self.address}:6443", *shlex.split(arguments)]
        try:
            return self.lab.kubectl(kubeconfig, *words, timeout=timeout, stdin=stdin)
        except CommandError as error:
            if any(word in error.output for word in (b"x509", b"Unauthorized")):
                kubeconfig.unlink(missing_ok=True)  # the server was reinstalled
            raise

    def get(self, arguments: str) -> dict[str, Any]:
        found = json.loads(self.kubectl(f"get {arguments} -o json"))
        assert isinstance(found, dict)
        return found

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """Create or change objects, validated only by the server: the client may be older."""
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        command = "apply --validate=false -f -"
        wait_for(
            "the API server takes an object",
            120,
            lambda: self.kubectl(command, stdin=text.encode()) or True,
        )

    def boot_id(self) -> str:
        return self.ssh("cat /proc/sys/kernel/random/boot_id")

    def journal(self, unit: str, lines: int = 40) -> str:
        return self.ssh(f"sudo journalctl -q --no-pager -o short-iso -n {lines} -u {unit}", 60)

    def reboot(self) -> None:
        """Reboot from a timer: this connection would hang if the network went down first."""
        self.ssh(
            "sudo systemd-run -q --on-active=1 --timer-property=AccuracySec=100ms "
            "systemctl --no-block reboot"
        )

    def wait_until_ready(self, server: Node, seconds: float = READY) -> None:
        wait_for(f"{self.name} is Ready", seconds, lambda: is_ready(server, self.name))

    def wait_for_reboot(self, before: str, seconds: float = BOOT) -> None:
        wait_for(f"{self.name} has restarted", seconds, lambda: self.boot_id() != before)


def log_in(vm: VM) -> None:
    """Log in on the console as rancher, with the lab's password."""
    vm.console.skip()
    vm.send("\n")
    vm.expect("login: ", 60)
    vm.send("rancher\n")
    vm.expect("Password: ", 60)
    vm.send(f"{PASSWORD}\n")
    vm.wait_for_shell(120)


def is_ready(server: Node, name: str) -> bool:
    found = server.get(f"node {name}")["status"].get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in found)


def condition(found: Mapping[str, Any], kind: str) -> Mapping[str, str]:
    """A condition of an object; empty if the object does not have it."""
    listed = found.get("status", {}).get("conditions", [])
    return next((each for each in listed if each["type"] == kind), {})


def pod(name: str, node: str, script: str, **settings: Any) -> dict[str, Any]:
    """A pod on a node that runs a script in busybox' shell. settings: fields of its spec, except
    `annotations` (of its metadata) and `container` (fields of its only container)."""
    annotations = settings.pop("annotations", {})
    container = {
        "name": "main",
        "image": WORKLOAD,
        "imagePullPolicy": "Never",
        "args": ["-c", script],
        **settings.pop("container", {}),
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "annotations": annotations},
        "spec": {
            "nodeName": node,
            "dnsPolicy": "Default",
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "tolerations": [{"operator": "Exists"}],
            "containers": [container],
            **settings,
        },
    }


def run_pod(server: Node, manifest: dict[str, Any], seconds: float = 300) -> str:
    """Run a pod to completion and return its log. It must succeed."""
    name = manifest["metadata"]["name"]
    server.kubectl(f"delete pod {name} --ignore-not-found --now")
    server.apply(manifest)
    phases = ("Succeeded", "Failed")

    def over() -> str:
        found = server.get(f"pod {name}")
        phase = str(found["status"].get("phase"))
        if phase in phases:
            return phase
        states = found["status"].get("containerStatuses", [])
        waiting = [each["state"].get("waiting", {}).get("message", "") for each in states]
        raise ValueError(f"{phase} {waiting}")  # shown when the time is up

    phase = wait_for(f"pod {name} has ended", seconds, over)
    said = wait_for(f"the log of pod {name}", 60, lambda: server.kubectl(f"logs {name}") or " ")
    assert phase == "Succeeded", f"pod {name}: {phase}, it said: {said}"
    return said


def wait_until_running(server: Node, name: str, seconds: float = 300) -> None:
    def running() -> bool:
        return bool(server.get(f"pod {name}")["status"].get("phase") == "Running")

    wait_for(f"pod {name} is Running", seconds, running)
