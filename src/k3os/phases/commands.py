"""init_cmd, boot_cmd, run_cmd: each in its phase, one after the other; a failing one is
reported and the next still runs."""

from __future__ import annotations

from k3os.phases.actions import Action, RunCommand

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.load import Config
    from k3os.phases.node import Node

KEY_OF_PHASE = {"initrd": "init_cmd", "boot": "boot_cmd", "runtime": "run_cmd"}


def plan(config: Config, node: Node) -> list[Action]:
    key = KEY_OF_PHASE[node.phase]
    actions: list[Action] = []
    for index, item in enumerate(config.items(key)):
        words = item.data
        command = [str(word.data) for word in words] if isinstance(words, list) else str(words)
        actions.append(RunCommand(key, item.place, f"{key}[{index}]", command))
    return actions
