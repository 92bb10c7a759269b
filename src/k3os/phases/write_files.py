"""write_files: decode contents, set owners and modes, replace atomically.

An entry that an earlier phase of the same boot wrote is not written again: that would lose what a
command has appended to the file since. RECORD stores this. The initrd's root is gone in the boot
phase, so of what it wrote, only files below /run count there.
"""

from __future__ import annotations

import os

from k3os.config.contents import decode
from k3os.config.k3s_flags import holds_secret
from k3os.config.value import Place, Value
from k3os.paths import PROFILES
from k3os.phases.actions import UNCHANGED, Action, OwnFile, Refused, WriteFile
from k3os.phases.node import LARGEST_ID
from k3os.system.numbers import whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.load import Config
    from k3os.phases.node import Node

KEY = "write_files"
RECORD = "/run/k3os/written"


def plan(config: Config, node: Node) -> list[Action]:
    items = config.items(KEY)
    written = read_record(node) if items else {}
    actions = [_one(item, node, written) for item in items]
    if node.phase == "runtime":
        actions += _profiles(actions)
    return actions


def _profiles(files: list[Action]) -> list[Action]:
    """Load profiles only when all files exist, since one may include another."""
    profiles = [each for each in files if isinstance(each, WriteEntry) and is_profile(each.path)]
    if not profiles:
        return []
    from k3os.phases.apparmor import LoadProfile

    return [LoadProfile(KEY, each.place, each.path) for each in profiles]


def is_profile(path: str) -> bool:
    """Whether it is an AppArmor profile, not an included (in a subdirectory) or hidden file."""
    name = path.removeprefix(PROFILES)
    return name != path and "/" not in name and not name.startswith(".")


def _one(item: Value, node: Node, written: dict[str, str]) -> Action:
    fields = item.data if isinstance(item.data, dict) else {}
    entry = {name: str(value.data) for name, value in fields.items()}
    path = entry["path"]
    user, _, group = entry.get("owner", "root").partition(":")
    note = ""
    try:
        data = decode(entry.get("content", ""), entry.get("encoding", ""))
        uid, gid = owner(node, user, group)
    except UnknownOwner as error:
        if node.phase != "initrd":
            return Refused(KEY, item.place, f"write {path}", str(error), thing=f"file {path}")
        uid = gid = 0
        note = f"{error} in the initrd: it is root's until the boot phase"
    except ValueError as error:
        return Refused(KEY, item.place, f"write {path}", str(error), thing=f"file {path}")
    mode = int(entry.get("permissions", "0644"), 8)
    if mode & 0o077 and holds_secret(path, data):
        mode &= 0o700
        note = "there is a secret in it: only its owner may read it"
    if entry.get("append") == "True":
        given = mode if "permissions" in entry else None
        return AppendEntry(item.place, path, data, given, (uid, gid) if "owner" in entry else None)
    action = WriteEntry(item.place, path, data, mode, uid, gid, written)
    action.note = note
    return action


def content_of(item: Value) -> str:
    """The text of an entry; "" if it cannot be decoded, which is reported on writing."""
    entry = item.data if isinstance(item.data, dict) else {}
    fields = {name: str(value.data) for name, value in entry.items()}
    try:
        data = decode(fields.get("content", ""), fields.get("encoding", ""))
    except ValueError:
        return ""
    return data.decode(errors="surrogateescape")


def paths(config: Config) -> set[str]:
    """Every path that the configuration writes itself."""
    entries = [item.data for item in config.items(KEY)]
    return {str(entry["path"].data) for entry in entries if isinstance(entry, dict)}


class UnknownOwner(ValueError):
    """A user or group that the machine does not have."""


def owner(node: Node, user: str, group: str) -> tuple[int, int]:
    """uid and gid; a user alone brings its group. Raises UnknownOwner."""
    gid = 0
    if (number := whole(user, most=LARGEST_ID)) is not None:
        uid = number
    elif user == "root":
        uid = 0
    else:
        known = node.user(user)
        if known is None:
            raise UnknownOwner(f"there is no user {user}")
        uid, gid = known[0], known[1]
    if (number := whole(group, most=LARGEST_ID)) is not None:
        gid = number
    elif group == "root":
        gid = 0
    elif group:
        known_group = node.group(group)
        if known_group is None:
            raise UnknownOwner(f"there is no group {group}")
        gid = known_group
    return uid, gid


class WriteEntry(OwnFile):
    """A file of the user's, written once per boot unless its entry changes."""

    __slots__ = ("written",)

    def __init__(
        self,
        place: Place,
        path: str,
        data: bytes,
        mode: int,
        uid: int,
        gid: int,
        written: dict[str, str],
    ) -> None:
        super().__init__(KEY, place, path, data, mode, uid, gid)
        self.written = written

    def perform(self, node: Node) -> str:
        from k3os.system.digest import mark_of

        digest = f"{mark_of(self.data)}.{self.mode:o}.{self.uid}.{self.gid}"
        if self.written.get(self.path) == digest and os.path.lexists(node.entry(self.path)):
            return UNCHANGED
        result = super().perform(node)
        self.written[self.path] = digest
        add_record(node, self.path, digest)
        return result


class AppendEntry(Action):
    """Appends content, once, to a file that is otherwise somebody else's. It stays when the entry
    is removed, since other lines may have been added since."""

    __slots__ = ("data", "mode", "owner", "path")

    def __init__(
        self, place: Place, path: str, data: bytes, mode: int | None, owner: tuple[int, int] | None
    ) -> None:
        super().__init__(KEY, place)
        self.path = path
        self.data = data
        self.mode = mode
        self.owner = owner

    def describe(self) -> str:
        return f"append {len(self.data)} bytes to {self.path}"

    @property
    def thing(self) -> str:
        return f"text in {self.path}, {self.traces()[0]}"

    def traces(self) -> tuple[str, str | None]:
        from k3os.system.digest import mark_of

        return mark_of(self.data), None

    def perform(self, node: Node) -> str:
        where = node.path(self.path)
        try:
            with open(where, "rb") as file:
                old = file.read()
            attributes = os.stat(where)
            mode, owner = attributes.st_mode & 0o7777, (attributes.st_uid, attributes.st_gid)
        except FileNotFoundError:
            old, mode, owner = b"", 0o644, (0, 0)
        if self.data in old:
            return UNCHANGED
        between = b"\n" if old and not old.endswith(b"\n") else b""
        mode = mode if self.mode is None else self.mode
        if holds_secret(self.path, self.data):
            mode &= 0o700
        data = old + between + self.data
        write = WriteFile(KEY, self.place, self.path, data, mode, *(self.owner or owner))
        return write.perform(node)


def read_record(node: Node) -> dict[str, str]:
    """path -> digest of what this boot wrote and may still exist."""
    written: dict[str, str] = {}
    for line in node.read(RECORD).split("\n"):
        phase, _, rest = line.partition(" ")
        digest, _, path = rest.partition(" ")
        survives = phase != "initrd" or node.phase == "initrd" or path.startswith("/run/")
        if survives and path:
            written[path] = digest
    return written


def add_record(node: Node, path: str, digest: str) -> None:
    """Append one line, so that a thousand files cost a thousand lines."""
    record = node.path(RECORD)
    os.makedirs(os.path.dirname(record), exist_ok=True)
    line = f"{node.phase} {digest} {path}\n".encode(errors="surrogateescape")
    if b"\n" in line[:-1]:
        return
    descriptor = os.open(record, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, line)
    finally:
        os.close(descriptor)
