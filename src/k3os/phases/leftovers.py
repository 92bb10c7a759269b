"""Undo what has left the configuration, as far as possible without a reboot: the node is then as it
would be after its next boot. What cannot be undone is reported; anything that is not in our record
(ours.py), or has been changed since, stays.

Only in the runtime phase, which sees all sources. For a source with an error, or an applier without
a plan, nothing can be concluded: what it left earlier stays.
"""

from __future__ import annotations

import os
import stat

from k3os.config.key import RUNTIME
from k3os.config.schema import BY_PATH
from k3os.config.value import Place
from k3os.paths import ROOTFS, STATE
from k3os.phases.actions import DONE, LATER, UNCHANGED, Action, Later
from k3os.phases.ours import PERSISTENT, digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from k3os.config.load import Config
    from k3os.phases.node import Node

CHANGED = "it was changed since, and stays as it is"
BOOT_ENDS = "it stays until the next boot: others may have written to the file, too"
BY_HAND = "it stays until you remove it: others may have written to the file, too"
NEXT_BOOT = "it stays until the next boot: something may need it by now"
# k3s creates the objects in a manifest, but does not delete them when the file is removed
IN_MANIFESTS = "/server/manifests/"
LEFT = f"{STATE}/left/"


def plan(config: Config, node: Node) -> list[Action]:
    from k3os.phases.table import APPLIERS

    broken = {path for name in node.ours.broken for path in APPLIERS[name].keys}
    actions: list[Action] = []
    for thing, entry in node.ours.entries().items():
        key, place = str(entry.get("key")), Place(str(entry.get("from")))
        path = next((path for path in BY_PATH if f"{key}.".startswith(f"{path}.")), "")
        if thing in node.ours.planned or not path or RUNTIME not in BY_PATH[path].phases:
            continue
        source = place.source.partition(":")[0]
        if path in broken or source in node.ours.unsure:
            why = f"whether it has left is known when {source} has no error"
            actions.append(Later(key, place, f"undo: {thing}", why))
        else:
            actions.append(_undo(key, place, thing, entry))
    return actions


def _undo(key: str, place: Place, thing: str, entry: dict[str, Any]) -> Action:
    kind, _, name = thing.partition(" ")
    if kind == "file":
        return RestoreFile(key, place, name, entry)
    if kind == "kernel" and isinstance(entry.get("was"), str):
        return RestoreKernel(key, place, name, entry)
    if kind == "block":
        return RestoreBlock(key, place, name, entry)
    if kind == "password":
        return RestorePassword(key, place, name, entry)
    if kind == "text":
        kept = name.removeprefix("in ").startswith(PERSISTENT)
        return Later(key, place, f"undo: {thing.partition(',')[0]}", BY_HAND if kept else BOOT_ENDS)
    return Later(key, place, f"undo: {thing}", NEXT_BOOT)


class Undo(Action):
    """Undoes one entry of the record. Its key left the configuration at `place`."""

    __slots__ = ("entry", "name")
    kind = ""

    def __init__(self, key: str, place: Place, name: str, entry: dict[str, Any]) -> None:
        super().__init__(key, place)
        self.name = name
        self.entry = entry

    def describe(self) -> str:
        return f"undo: {self.kind} {self.name}"

    def is_as_left(self, node: Node) -> bool:
        raise NotImplementedError

    def restore(self, node: Node) -> str:
        raise NotImplementedError

    def perform(self, node: Node) -> str:
        if self.is_as_left(node):
            result = self.restore(node)
        else:
            result = LATER
            self.note = CHANGED
        node.ours.forget(f"{self.kind} {self.name}")
        return result


class RestoreFile(Undo):
    """Restores the image's file of that name, or removes the file."""

    __slots__ = ()
    kind = "file"

    def is_as_left(self, node: Node) -> bool:
        gone = not os.path.lexists(node.entry(self.name))
        return gone or digest(node, self.name) in self.entry["is"]

    def restore(self, node: Node) -> str:
        from k3os.phases.write_files import add_record
        from k3os.system.files import atomic_symlink, atomic_write

        add_record(node, self.name, "undone")  # the same entry may come back in this boot
        path, original = node.entry(self.name), node.entry(ROOTFS + self.name)
        if os.path.islink(original):
            atomic_symlink(os.readlink(original), path)
            return DONE
        if os.path.isfile(original):
            status = os.stat(original)
            with open(original, "rb") as file:
                data = file.read()
            uid, gid = (status.st_uid, status.st_gid) if os.geteuid() == 0 else (-1, -1)
            atomic_write(path, data, mode=stat.S_IMODE(status.st_mode), uid=uid, gid=gid)
            return DONE
        if not os.path.lexists(path):
            return UNCHANGED
        if IN_MANIFESTS in self.name:  # wherever k3s keeps its data
            self._keep_copy(node)
        os.unlink(path)
        return DONE

    def _keep_copy(self, node: Node) -> None:
        from k3os.system.files import atomic_write

        copy = LEFT + self.name.rpartition("/")[2]
        os.makedirs(node.path(LEFT), mode=0o700, exist_ok=True)
        with open(node.entry(self.name), "rb") as file:
            atomic_write(node.path(copy), file.read(), mode=0o600)
        self.note = f"what it made stays in the cluster: `sudo kubectl delete -f {copy}`"


class RestoreKernel(Undo):
    """Restores the former value."""

    __slots__ = ()
    kind = "kernel"

    def is_as_left(self, node: Node) -> bool:
        current = " ".join(node.read(self.name).split())
        return current in self.entry["is"]

    def restore(self, node: Node) -> str:
        if self.entry["was"] in self.entry["is"][:1]:
            return UNCHANGED
        with open(node.path(self.name), "w") as file:
            file.write(self.entry["was"] + "\n")
        return DONE


class RestoreBlock(Undo):
    """Removes our lines from a file, which are marked as such."""

    __slots__ = ()
    kind = "block"

    def is_as_left(self, node: Node) -> bool:
        return True

    def restore(self, node: Node) -> str:
        from k3os.phases.ca_certificates import set_block

        return set_block(node, self.key, self.place, self.name, [])


class RestorePassword(Undo):
    """Restores the image's password: none, so that only keys work."""

    __slots__ = ()
    kind = "password"

    def is_as_left(self, node: Node) -> bool:
        from k3os.phases.password import field
        from k3os.system.digest import mark_of

        return mark_of(field(node).encode()) in self.entry["is"]

    def restore(self, node: Node) -> str:
        from k3os.phases.password import SHADOW, field, set_field

        set_field(node, field(node, ROOTFS + SHADOW) or "*")
        return DONE
