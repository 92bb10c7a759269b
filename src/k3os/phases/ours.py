"""What the configuration has left on this node: the record by which it is undone when it leaves.

An action that leaves something names it (`Action.thing`: "file /etc/motd") and says how to know
it again (`Action.traces`). leftovers.py compares this record with what a phase has planned. What
is not in here, or is no longer as it was left, belongs to somebody else and is not touched.

Two JSON files, thing -> {key, from, is, was}, for root alone: HERE for what a boot makes anew,
KEPT for what lies where things persist. `is` holds marks, no contents: they may be secrets.
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
    plan; `unsure`: sources with an error, of which nobody knows what they would say."""

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
        """thing -> its entry; one that somebody changed into something else is none."""
        records = {**self._records[HERE], **self._records[KEPT]}
        return {
            thing: entry
            for thing, entry in records.items()
            if isinstance(entry, dict) and isinstance(entry.get("is"), list)
        }

    def is_as_left(self, path: str) -> bool:
        """Whether a file is one that an action left, and nobody changed it since."""
        entry = self.entries().get(FILE + path)
        return entry is not None and digest(self._node, path) in entry["is"]

    def plan(self, actions: list[Action]) -> None:
        """These are asked for. A file that k3OS writes in any case is no user's leftover."""
        for action in actions:
            self.planned.add(action.thing)
            if isinstance(action, WriteFile):
                self.planned.add(FILE + action.path)

    def expect(self, actions: list[Action]) -> None:
        """Before files are written where they persist: a power cut must not make them nobody's.
        Raises OSError."""
        for action in actions:
            if action.thing.startswith(FILE) and self._place(action.thing) == KEPT:
                self._put(action)
        if KEPT in self._changed:
            self._save(KEPT)

    def keep(self, action: Action, result: str) -> None:
        """After an action. What was so before is ours only where it is a file."""
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
        """What changed, to the files. Raises OSError."""
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
        # the mark before it: when the power fails now, that is what is there
        marks = [mark, *(each for each in old.get("is", []) if each != mark)][:2]
        if mark in old.get("is", [])[:1]:
            marks = old["is"]
        # another value than ours: a later phase found what is there without us
        if old.get("was") is not None and was in (None, *old["is"]):
            was = old["was"]
        entry = {"key": action.key, "from": str(action.place), "is": marks, "was": was}
        if entry != old:
            self._records[path][action.thing] = entry
            self._changed.add(path)

    def _place(self, thing: str) -> str:
        """Where it is recorded; "" for what is gone before anybody could undo it."""
        if not thing.startswith(FILE):
            return HERE
        path = resolve(self._node.root, thing.removeprefix(FILE))
        if path.startswith(PERSISTENT) and self._node.phase != "initrd":
            return KEPT
        return HERE if self._node.phase != "initrd" or path.startswith("/run/") else ""


def digest(node: Node, path: str) -> str:
    """The mark of a file's content, "" when it is not a file."""
    try:
        descriptor = os.open(node.entry(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            return mark_of(file.read())
    except OSError:
        return ""
