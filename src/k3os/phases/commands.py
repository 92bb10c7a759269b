"""init_cmd, boot_cmd, run_cmd: each in its phase, one after another; a failing one is reported
and the next still runs. ready_cmd: the same when k3s is ready (key.READY). A script from cloud
userdata runs once per boot."""

from __future__ import annotations

import os

from k3os.config.key import BOOT, INITRD, READY, RUNTIME
from k3os.config.load import FOUND
from k3os.phases.actions import DONE, UNCHANGED, Action, Later
from k3os.phases.run_command import RunCommand
from k3os.phases.units import StartUnit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.load import Config
    from k3os.phases.node import Node

KEYS = {INITRD: "init_cmd", BOOT: "boot_cmd", RUNTIME: "run_cmd", READY: "ready_cmd"}
# seconds; a command that hangs must not keep a node from booting, or from being repaired
LIMITS = {INITRD: 300, BOOT: 300, RUNTIME: 900, READY: 900}
READY_UNIT = "k3os-ready.service"
KUBECONFIG = "/etc/rancher/k3s/k3s.yaml"
# the name of a script contains its hash
SCRIPTS = f"{FOUND}/scripts/"
RAN = "/run/k3os/ran"


def plan(config: Config, node: Node) -> list[Action]:
    actions: list[Action] = []
    actions += commands(config, node.phase)
    if node.phase == RUNTIME and (ready := commands(config, READY)):
        actions += [
            Later(each.key, each.place, each.describe(), "when k3s is ready") for each in ready
        ]
        actions.append(StartUnit(KEYS[READY], ready[0].place, READY_UNIT))
    if node.phase == READY:
        from k3os.phases.k3s import arguments, given

        if arguments(config)[0] == "server":
            path = given(config, node, "K3S_KUBECONFIG_OUTPUT", "write-kubeconfig", "o")
            node.environment = {"KUBECONFIG": path or KUBECONFIG, **node.environment}
    return actions


def commands(config: Config, phase: str) -> list[RunCommand]:
    """The commands of a phase in order."""
    key = KEYS[phase]
    actions = []
    for index, item in enumerate(config.items(key)):
        words = item.data
        command = [str(word.data) for word in words] if isinstance(words, list) else str(words)
        is_script = isinstance(command, list) and command[0].startswith(SCRIPTS)
        run = RunOnce if is_script else RunCommand
        actions.append(run(key, item.place, f"{key}[{index}]", command, LIMITS[phase]))
    return actions


class RunOnce(RunCommand):
    """A script that succeeded in this boot does not run again when the phase is reapplied."""

    __slots__ = ()

    def perform(self, node: Node) -> str:
        name = os.path.basename(self.command[0])
        if node.exists(f"{RAN}/{name}"):
            return UNCHANGED
        result = super().perform(node)
        if result == DONE:
            os.makedirs(node.path(RAN), exist_ok=True)
            with open(node.path(f"{RAN}/{name}"), "wb"):
                pass
        return result
