"""k3os.operator: give this k3OS' operator to k3s, in the places where k3s looks.

On a server, k3s creates the objects in its manifests directory (docs.k3s.io, "Auto-Deploying
Manifests"); an agent creates none. The image is already on the node and is only linked, not copied:
k3os-operator-image.service imports it while k3s is running. From k3s' own images directory it would
be imported at each start, before the kubelet starts. If the operator is turned on while k3s is
running, the image is imported at once, and the node's report changes the label.

A node without room for it (operator_room.py) has no operator, unless `k3os.operator: true` forces
it; its label OPERATOR_LABEL keeps the cluster from scheduling one on it.
"""

from __future__ import annotations

import os

from k3os.config.key import RUNTIME
from k3os.config.value import Place
from k3os.phases.actions import (
    DONE,
    LATER,
    UNCHANGED,
    Action,
    Link,
    MakeDirectory,
    Remove,
    WriteFile,
)
from k3os.phases.changed import HAS
from k3os.phases.k3s import DATA, arguments, data_directory
from k3os.phases.operator_room import IMAGE, IMPORTED, KEY, LINK, OLD_LINK, narrowness
from k3os.phases.write_files import paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.load import Config
    from k3os.phases.node import Node

# one line: the image's name in containerd
IMAGE_ID = "/usr/share/k3os/operator/image-id"
MANIFESTS = "/usr/share/k3os/operator/manifests.yaml"
UNIT = "k3os-operator-image.service"
# below the directory of k3s' data
NAME = "server/manifests/k3os-operator.yaml"
# the usual place
COPY = f"{DATA}/{NAME}"


def plan(config: Config, node: Node) -> list[Action]:
    value = config.get(KEY)
    place = value.place if value is not None else Place("default")
    narrow = narrowness(config, node) if value is None and node.exists(IMAGE) else ""
    wanted = not narrow if value is None else bool(value.data)
    own = paths(config)
    actions: list[Action] = [LeftOut(KEY, place, narrow)] if narrow else []
    if LINK not in own:
        linked = wanted and node.exists(IMAGE)
        actions += [Link(KEY, place, LINK, IMAGE)] if linked else _removal(LINK, place, node)
        # each start of k3s does the same; this is for a k3s that is already running
        if linked and node.phase == RUNTIME and node.exists(HAS) and not _is_imported(node):
            actions.append(HandOver(KEY, place))
    if OLD_LINK not in own and os.path.islink(node.entry(OLD_LINK)):
        actions.append(Remove(KEY, place, OLD_LINK))
    copy = f"{data_directory(config)}/{NAME}"
    if copy not in own:
        deployed = wanted and arguments(config)[0] == "server" and node.exists(MANIFESTS)
        actions += _copy(place, node, copy) if deployed else _removal(copy, place, node)
    return actions


def _is_imported(node: Node) -> bool:
    return node.read(IMPORTED).strip() == node.read(IMAGE_ID).strip()


class HandOver(Action):
    """Starts the import of the image into the running k3s, without waiting."""

    __slots__ = ()

    def describe(self) -> str:
        return "give the operator's image to k3s"

    def perform(self, node: Node) -> str:
        from k3os.system.run import run

        if not node.is_real:
            self.note = "k3s does not run here"
            return LATER
        run(["systemctl", "--no-block", "start", UNIT], timeout=30)
        return DONE


class LeftOut(Action):
    """Reports why the operator is not on this node."""

    __slots__ = ()

    def __init__(self, key: str, place: Place, why: str) -> None:
        super().__init__(key, place)
        self.note = f"{why}; `{KEY}: true` insists"

    def describe(self) -> str:
        return "leave the operator out"

    def perform(self, node: Node) -> str:
        node.output(f"{self.describe()}: {self.note}")
        return UNCHANGED


def _copy(place: Place, node: Node, path: str) -> list[Action]:
    """k3s keeps secrets beside the manifests: directories that we create are for root only."""
    manifests = os.path.dirname(path)
    missing = [each for each in (os.path.dirname(manifests), manifests) if not node.exists(each)]
    text = node.read(MANIFESTS).encode(errors="surrogateescape")
    return [
        *(MakeDirectory(KEY, place, each, 0o700) for each in missing),
        WriteFile(KEY, place, path, text, 0o600),
    ]


def _removal(path: str, place: Place, node: Node) -> list[Action]:
    return [Remove(KEY, place, path)] if os.path.lexists(node.entry(path)) else []
