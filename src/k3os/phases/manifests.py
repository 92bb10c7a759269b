"""k3os.manifests: files in the directory whose objects k3s creates on a server (docs.k3s.io,
"Auto-Deploying Manifests"); k3s checks it every 15 seconds.

A file is removed when its name leaves the configuration. Its objects stay in the cluster, since k3s
does not delete them (leftovers.py keeps a copy for `kubectl delete -f`). An agent creates no
objects. If write_files writes the same file, the user's is used.
"""

from __future__ import annotations

import os

from k3os.config.fetched import check_sum, is_elsewhere, shown, split
from k3os.config.value import Place
from k3os.phases.actions import (
    UNCHANGED,
    Action,
    Later,
    MakeDirectory,
    OwnFile,
    Refused,
    WriteFile,
)
from k3os.phases.budget import Budget
from k3os.phases.k3s import arguments, data_directory
from k3os.phases.write_files import paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.load import Config
    from k3os.phases.node import Node

KEY = "k3os.manifests"
LARGEST = 8 << 20
DEADLINE = 120.0
# seconds for all of them: k3s waits for this
ALTOGETHER = 300.0
# they may contain secrets
MODE = 0o600


def plan(config: Config, node: Node) -> list[Action]:
    server = f"{data_directory(config)}/server"
    entries = config.entries(KEY)
    if arguments(config)[0] != "server":
        what, why = "create objects", "this node is an agent: servers create them"
        return [Later(KEY, value.place, what, why) for value in list(entries.values())[:1]]
    own, budget = paths(config), Budget(ALTOGETHER)
    actions: list[Action] = []
    for name, value in entries.items():
        path = f"{server}/manifests/{name}.yaml"
        if path not in own:
            actions.append(_one(f"{KEY}.{name}", value.place, path, str(value.data), node, budget))
    if not actions:
        return []
    # k3s keeps secrets beside the manifests: directories that we create first are for root only
    missing = [each for each in (server, f"{server}/manifests") if not node.exists(each)]
    return [*(MakeDirectory(KEY, actions[0].place, each, 0o700) for each in missing), *actions]


def _one(key: str, place: Place, path: str, text: str, node: Node, budget: Budget) -> Action:
    from k3os.system.files import read_regular

    if not is_elsewhere(text):
        return OwnFile(key, place, path, _whole(text), MODE)
    where, wanted = split(text)
    if not where.startswith("/"):
        if node.phase == "runtime":
            return FetchManifest(key, place, path, text, budget)
        return Later(key, place, f"fetch {path}", "in the runtime phase")
    try:
        data = read_regular(node.path(where), LARGEST + 1)
        _check(data, wanted)
    except OSError as error:
        why = f"{where}: {error.strerror}"
    except ValueError as error:
        why = f"{where}: {error}"
    else:
        return OwnFile(key, place, path, data, MODE)
    return Refused(key, place, f"write {path}", why, thing=f"file {path}")


def _whole(text: str) -> bytes:
    return (text if text.endswith("\n") else f"{text}\n").encode(errors="surrogateescape")


def _check(data: bytes, wanted: str) -> None:
    """Raises ValueError if it has another checksum, or k3s would reject it."""
    from k3os.config.manifests import check_objects

    check_sum(data, wanted)
    if len(data) > LARGEST:
        raise ValueError(f"is larger than {LARGEST} bytes")
    check_objects(data.decode("utf-8"))


class FetchManifest(Action):
    """If the server does not respond, the file of an earlier boot stays; with a checksum, it is not
    downloaded again."""

    __slots__ = ("budget", "data", "path", "text")

    def __init__(self, key: str, place: Place, path: str, text: str, budget: Budget) -> None:
        super().__init__(key, place)
        self.budget = budget
        self.path = path
        self.text = text
        self.data = b""

    @property
    def thing(self) -> str:
        return f"file {self.path}"

    def traces(self) -> tuple[str, str | None]:
        from k3os.system.digest import mark_of

        return mark_of(self.data), None

    def describe(self) -> str:
        return f"fetch {shown(self.text)} to {self.path}"

    def perform(self, node: Node) -> str:
        from k3os.errors import UserError
        from k3os.phases.fetch import get_within
        from k3os.system.http_failure import HttpError

        url, wanted = split(self.text)
        old = self._old(node)
        if old and wanted:
            try:
                check_sum(old, wanted)
                self.data = old
                return UNCHANGED
            except ValueError:
                old = b""  # another checksum: not the one that is wanted now
        try:
            self.data = get_within(self.budget, node, url, limit=LARGEST, most=DEADLINE)
            _check(self.data, wanted)
        except HttpError as error:
            if not old:
                raise
            self.data = old
            self.note = f"{error}; what it gave before stays"
            return UNCHANGED
        except ValueError as error:
            message, _, hint = f"{shown(self.text)}: {error}".partition("; ")
            raise UserError(message, hint) from None
        return WriteFile(self.key, self.place, self.path, self.data, MODE).perform(node)

    def _old(self, node: Node) -> bytes:
        path = node.entry(self.path)
        if not os.path.isfile(path):
            return b""
        with open(path, "rb") as file:
            return file.read(LARGEST)
