"""What appliers may know about the machine they plan for: facts, read below a root directory.

Read-only. Every path goes through `path()`, so that a plan and its actions work on a directory as
well as on a node; links are followed as in a chroot, never out of the root.
"""

from __future__ import annotations

import os

from k3os.system.links import resolve
from k3os.system.numbers import whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.phases.ours import Ours
    from k3os.system.console import Say

USER = "rancher"
# the highest uid or gid; in chown(2), -1 means unchanged
LARGEST_ID = 2**32 - 2


class Node:
    """root: of the file tree; phase, mode; environment: for commands; output: takes a line of their
    output; say: takes a line for a person who waits; ran: commands (as in reports) that have
    succeeded, if only the rest is to be repeated; awaited: mount points where nothing is mounted
    (yet), below which nothing may be written (disks.py)."""

    __slots__ = ("_ours", "awaited", "environment", "mode", "output", "phase", "ran", "root", "say")

    def __init__(
        self,
        root: str = "/",
        phase: str = "runtime",
        mode: str = "live",
        output: Say = print,
        say: Say = print,
    ) -> None:
        self.root = root.rstrip("/")
        self.phase = phase
        self.mode = mode
        self.output = output
        self.say = say
        self.environment: dict[str, str] = {}
        self.ran: frozenset[str] = frozenset()
        self.awaited: list[str] = []
        self._ours: Ours | None = None

    @property
    def ours(self) -> Ours:
        """The record of what the configuration has left on this node."""
        if self._ours is None:
            from k3os.phases.ours import Ours

            self._ours = Ours(self)
        return self._ours

    @property
    def is_real(self) -> bool:
        """Whether this is the running system: only there are programs started for their effects."""
        return self.root == ""

    def path(self, name: str) -> str:
        """The location of one of the node's absolute paths, with links resolved inside the root."""
        if not self.root:
            return name
        return self.root + resolve(self.root, name)

    def entry(self, name: str) -> str:
        """The same for a directory entry itself: a link is replaced, not followed."""
        directory, last = os.path.split(name.rstrip("/"))
        return f"{self.path(directory or '/').rstrip('/')}/{last}"

    def read(self, name: str) -> str:
        """A text file's contents, "" if it does not exist."""
        try:
            with open(self.path(name), encoding="utf-8", errors="surrogateescape") as file:
                return file.read()
        except (FileNotFoundError, NotADirectoryError):
            return ""

    def exists(self, name: str) -> bool:
        return os.path.exists(self.path(name))

    def user(self, name: str) -> tuple[int, int, str] | None:
        """uid, gid and home of a user (passwd(5))."""
        for fields in self._entries("/etc/passwd", name):
            uid, gid = (whole(number, most=LARGEST_ID) for number in fields[2:4])
            if uid is not None and gid is not None and len(fields) > 5:
                return uid, gid, fields[5]
        return None

    def group(self, name: str) -> int | None:
        """The gid of a group (group(5))."""
        for fields in self._entries("/etc/group", name):
            if (gid := whole(fields[2], most=LARGEST_ID)) is not None:
                return gid
        return None

    def _entries(self, path: str, name: str) -> list[list[str]]:
        """The fields of the lines for a user or group."""
        lines = [line.split(":") for line in self.read(path).split("\n")]
        return [fields for fields in lines if fields[0] == name and len(fields) > 3]
