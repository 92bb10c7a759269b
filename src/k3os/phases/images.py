"""k3os.images: archives that k3s imports when it starts (docs.k3s.io, "Import Images"), placed in
its images directory before it starts. k3s starts without those that are not available.

Images on the medium, which is read-only, are linked there, too, since the disk of k3s' data is
mounted by now. Files of k3os.images are named after their source and checksum, so that an existing
one is never downloaded again, and an obsolete one is recognized. Other files there are not touched.
"""

from __future__ import annotations

import os
import re

from k3os.config.fetched import shown, split
from k3os.config.images import file_name
from k3os.config.value import Place
from k3os.generation.layout import AIRGAP
from k3os.paths import OWN_SYSTEM
from k3os.phases.actions import DONE, UNCHANGED, Action, Link, Remove
from k3os.phases.budget import Budget
from k3os.phases.k3s import data_directory
from k3os.system.digest import mark_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.load import Config
    from k3os.phases.node import Node

KEY = "k3os.images"
MEDIUM = f"{OWN_SYSTEM}/{AIRGAP}"
OURS = re.compile(r"k3os-[0-9a-f]{8}-")
LARGEST = 32 << 30
# bytes to leave free: pods and logs use the same file system
RESERVE = 512 << 20
# seconds for all of them: k3s waits for this
DEADLINE = 1800.0
TRIES, PAUSE = 5, 1.0


def plan(config: Config, node: Node) -> list[Action]:
    directory = f"{data_directory(config)}/agent/images"
    budget = Budget(DEADLINE)
    actions = _of_medium(node, directory)
    wanted: set[str] = set()
    for item in config.items(KEY):
        text = str(item.data)
        mark = mark_of(text.encode(errors="surrogateescape")).partition(".")[0]
        name = f"k3os-{mark}-{file_name(text)}"
        wanted |= {name, f"{name}.part"}
        path = f"{directory}/{name}"
        if text.startswith("/"):
            actions.append(LinkImage(item.place, path, text))
        else:
            actions.append(FetchImage(item.place, path, text, budget))
    if not node.ours.unsure:  # a source with an error might ask for them
        actions += _removals(node, directory, wanted)
    return actions


def _of_medium(node: Node, directory: str) -> list[Action]:
    """Links to the images on the medium. An existing file with the same name stays."""
    medium = node.path(MEDIUM)
    names = sorted(os.listdir(medium)) if os.path.isdir(medium) else []
    return [
        Link(KEY, Place("the medium"), f"{directory}/{name}", f"{MEDIUM}/{name}")
        for name in names
        if not os.path.lexists(node.entry(f"{directory}/{name}"))
    ]


def _removals(node: Node, directory: str, wanted: set[str]) -> list[Action]:
    where = node.path(directory)
    names = sorted(os.listdir(where)) if os.path.isdir(where) else []
    left = [name for name in names if OURS.match(name) and name not in wanted]
    return [Remove(KEY, Place("the configuration"), f"{directory}/{name}") for name in left]


class LinkImage(Link):
    """An archive that is already on the node. Its checksum is verified when the link is created."""

    __slots__ = ("wanted",)

    def __init__(self, place: Place, path: str, text: str) -> None:
        target, self.wanted = split(text)
        super().__init__(KEY, place, path, target)

    def perform(self, node: Node) -> str:
        from k3os.errors import UserError
        from k3os.system.digest import file_sha256

        if not node.exists(self.target):
            raise UserError(f"{self.target} is not there; k3s starts without it", "check the path")
        if self.wanted and not os.path.islink(node.entry(self.path)):
            found = file_sha256(node.path(self.target))
            if found != self.wanted:
                message = f"wrong checksum: expected sha256 {self.wanted}, got {found}"
                raise UserError(f"{self.target}: {message}", "do not use it")
        return super().perform(node)


class FetchImage(Action):
    """An archive on a web server. With a checksum, the next boot resumes a partial download."""

    __slots__ = ("budget", "path", "text")

    def __init__(self, place: Place, path: str, text: str, budget: Budget) -> None:
        super().__init__(KEY, place)
        self.path = path
        self.text = text
        self.budget = budget

    def describe(self) -> str:
        return f"fetch {shown(self.text)} to {self.path}"

    def perform(self, node: Node) -> str:
        from k3os.errors import UserError
        from k3os.phases.environment import adopt
        from k3os.system.http import download
        from k3os.system.http_failure import HttpError

        path = node.entry(self.path)
        if os.path.isfile(path) and not os.path.islink(path):
            return UNCHANGED
        seconds = self.budget.seconds()
        if seconds < 1:
            message = "there is no time left for it: k3s starts without it"
            raise UserError(message, "the next boot, or `sudo k3os config`, goes on")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        room = self._room(path)
        limit = min(LARGEST, room)
        if limit <= 0:
            message = f"{(room + RESERVE) >> 20} MiB are free where k3s keeps images"
            raise UserError(f"{message}: k3s starts without it", "make room")
        url, wanted = split(self.text)
        adopt(node.environment)
        node.output(self.describe())
        try:
            download(
                url,
                path,
                limit=limit,
                sha256=wanted or None,
                deadline=seconds,
                tries=TRIES,
                pause=PAUSE,
                report=lambda error: node.output(str(error)),
            )
        except HttpError as error:
            hint = "k3s starts without it; the next boot, or `sudo k3os config`, tries again"
            if limit < LARGEST:
                hint += f" ({limit >> 20} MiB are there for it)"
            raise UserError(str(error), hint) from None
        return DONE

    def _room(self, path: str) -> int:
        """Bytes available for it, including the part that is already there."""
        found = os.statvfs(os.path.dirname(path))
        partial = f"{path}.part"
        there = os.path.getsize(partial) if os.path.isfile(partial) else 0
        return found.f_bavail * found.f_frsize + there - RESERVE
