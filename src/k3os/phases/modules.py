"""k3os.modules: kernel modules, with parameters after the name."""

from __future__ import annotations

from k3os.phases.actions import Action, LoadModule

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.load import Config
    from k3os.phases.node import Node


def plan(config: Config, node: Node) -> list[Action]:
    actions: list[Action] = []
    for item in config.items("k3os.modules"):
        name, *parameters = str(item.data).split()
        actions.append(LoadModule("k3os.modules", item.place, name, parameters))
    return actions
