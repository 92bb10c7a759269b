"""What the configuration has left on this node: the record for undoing it when it is removed.

An action that leaves something names it (`Action.thing`: "file /etc/motd") and tells how to
recognize it (`Action.traces`). leftovers.py compares this record with what a phase has planned.
What is not in here, or was changed afterwards, belongs to somebody else and is not touched.

Two JSON files, thing -> {key, from, is, was}, readable by root only: HERE for what each boot
creates, KEPT for persistent files. `is` contains marks, not contents: they may be secrets.
"""

from __future__ import annotations

import os

from k3os.paths import STATE
from k3os.phases.actions import DONE, UNCHANGED, Action, WriteFile
from k3os.system.digest import mark_of
from k3os.system.links import resolve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from k3os.phases.node import Node

HERE, KEPT = "/run/k3os/ours.json", f"{STATE}/ours.json"
PERSISTENT = ("/var/", "/home/", "/opt/", "/k3os/data/")
FILE = "file "


class Ours:
    """The record of one node. `planned`: what this phase leaves; `broken`: appliers without a
    plan; `unsure`: sources with an error, whose contents are not fully known."""

    __slots__ = ("_changed", "_node", "_records", "broken", "planned", "unsure")

    def __init__(self, node: Node) -> None:
        from k3os.system.files import read_object

        self._node = node
        self._records: dict[str, dict[str, Any]] = {
            path: read_object(node.path(path)) for path in (HERE, KEPT)
        }
        self._changed: set[str] = set()
        self.planned: set[str] = set()
        self.broken: set[str] = set()
        self.unsure: set[str] = set()

    def entries(self) -> dict[str, dict[str, Any]]:
        """thing -> its entry; malformed ones are left out."""
        records = {**self._records[HERE], **self._records[KEPT]}
        return {
            thing: entry
            for thing, entry in records.items()
            if isinstance(entry, dict) and isinstance(entry.get("is"), list)
        }

    def is_as_left(self, path: str) -> bool:
        """Whether an action left this file, and nobody has changed it since."""
        entry = self.entries().get(FILE + path)
        return entry is not None and digest(self._node, path) in entry["is"]

    def plan(self, actions: list[Action]) -> None:
        """Mark these as wanted. A file that k3OS always writes is never a leftover."""
        for action in actions:
            self.planned.add(action.thing)
            if isinstance(action, WriteFile):
                self.planned.add(FILE + action.path)

    def expect(self, actions: list[Action]) -> None:
        """Record persistent files before they are written: after a power cut they must still be
        known as ours. Raises OSError."""
        for action in actions:
            if action.thing.startswith(FILE) and self._place(action.thing) == KEPT:
                self._put(action)
        if KEPT in self._changed:
            self._save(KEPT)

    def keep(self, action: Action, result: str) -> None:
        """Call after an action. What was already as wanted is ours only if it is a file."""
        place = self._place(action.thing)
        if not place or result not in (DONE, UNCHANGED):
            return
        known = action.thing in self._records[place] or action.thing.startswith(FILE)
        if result == DONE or known:
            self._put(action)

    def forget(self, thing: str) -> None:
        for path, record in self._records.items():
            if record.pop(thing, None) is not None:
                self._changed.add(path)

    def save(self) -> None:
        """Write the records that have changed. Raises OSError."""
        for path in list(self._changed):
            self._save(path)

    def _save(self, path: str) -> None:
        import json

        from k3os.system.files import atomic_write

        where = self._node.path(path)
        os.makedirs(os.path.dirname(where), exist_ok=True)
        data = json.dumps(self._records[path], indent=0, ensure_ascii=True).encode() + b"\n"
        atomic_write(where, data, mode=0o600, sync=path == KEPT)
        self._changed.discard(path)

    def _put(self, action: Action) -> None:
        path = self._place(action.thing)
        old = self._records[path].get(action.thing)
        old = old if isinstance(old, dict) and isinstance(old.get("is"), list) else {}
        mark, was = action.traces()
        # keep the previous mark: after a power cut now, the file still has that one
        marks = [mark, *(each for each in old.get("is", []) if each != mark)][:2]
        if mark in old.get("is", [])[:1]:
            marks = old["is"]
        # if the value found is our own, keep the recorded one; any other was there without us
        if old.get("was") is not None and was in (None, *old["is"]):
            was = old["was"]
        entry = {"key": action.key, "from": str(action.place), "is": marks, "was": was}
        if entry != old:
            self._records[path][action.thing] = entry
            self._changed.add(path)

    def _place(self, thing: str) -> str:
        """The record for a thing; "" if it disappears before anything could undo it."""
        if not thing.startswith(FILE):
            return HERE
        path = resolve(self._node.root, thing.removeprefix(FILE))
        if path.startswith(PERSISTENT) and self._node.phase != "initrd":
            return KEPT
        return HERE if self._node.phase != "initrd" or path.startswith("/run/") else ""


def digest(node: Node, path: str) -> str:
    """The mark of a file's content, "" if it is not a file."""
    try:
        descriptor = os.open(node.entry(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            return mark_of(file.read())
    except OSError:
        return ""
