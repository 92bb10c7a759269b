"""ssh_authorized_keys: our block in rancher's authorized_keys (sshd(8)).

Keys that leave the configuration leave the block; lines outside of it stay. `github:NAME`,
`gitlab:NAME` and URLs are fetched in the runtime phase; until then, and if a fetch fails, the keys
of an earlier one stay in the block.
"""

from __future__ import annotations

from k3os.config.ssh_keys import address, is_key
from k3os.config.value import Place, Value
from k3os.phases.actions import UNCHANGED, Action, Later, MakeDirectory, Refused, WriteFile
from k3os.phases.managed_block import BEGIN, END, lines_of, outside_block, replace_block
from k3os.phases.node import USER
from k3os.system.plural import counted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.load import Config
    from k3os.phases.node import Node

KEY = "ssh_authorized_keys"
SECTION = "# from "
LARGEST = 1 << 20
# DNS may be available later than the network; the unit waits 300 s in all
TRIES, PAUSE = 5, 1.0
DEADLINE = 120.0


def plan(config: Config, node: Node) -> list[Action]:
    items = config.items(KEY)
    user = node.user(USER)
    if user is None:
        what, why = f"keys of {USER}", f"there is no user {USER}"
        return [Refused(KEY, item.place, what, why) for item in items]
    uid, gid, home = user
    path = f"{home}/.ssh/authorized_keys"
    old = node.read(path)
    if not items and replace_block(old, []) == old:
        return []
    whole = config.get(KEY)
    place = whole.place if whole is not None else Place("default")
    plain, remote = sort_keys(items)
    actions: list[Action] = []
    if node.phase == "boot":
        for item in remote:
            actions.append(Later(KEY, item.place, f"fetch {item.data}", "in the runtime phase"))
    actions.append(MakeDirectory(KEY, place, home, 0o755, uid, gid))
    actions.append(MakeDirectory(KEY, place, f"{home}/.ssh", 0o700, uid, gid))
    fetched = {name: keys for name, keys in sections(old).items() if name in texts(remote)}
    writer = WriteKeys(place, path, plain, fetched, uid, gid)
    actions.append(writer)
    if node.phase == "runtime":
        for item in remote:
            actions.append(FetchKeys(item.place, str(item.data), writer))
    return actions


def texts(items: list[Value]) -> list[str]:
    return [str(item.data) for item in items]


def sort_keys(items: list[Value]) -> tuple[list[str], list[Value]]:
    """(keys, what must be fetched)."""
    remote = [item for item in items if address(str(item.data))]
    plain = [text for text in texts(items) if not address(text)]
    return list(dict.fromkeys(plain)), remote


def sections(text: str) -> dict[str, list[str]]:
    """Source -> keys that earlier fetches put into our block."""
    found: dict[str, list[str]] = {}
    inside, current = False, ""
    for line in lines_of(text):
        if line in (BEGIN, END):
            inside, current = line == BEGIN, ""
        elif inside and line.startswith(SECTION):
            current = line[len(SECTION) :]
            found[current] = []
        elif current:
            found[current].append(line)
    return found


class WriteKeys(Action):
    """Rewrites our block: the plain keys, then the keys of each source after its name."""

    __slots__ = ("fetched", "gid", "path", "plain", "uid")

    def __init__(
        self,
        place: Place,
        path: str,
        plain: list[str],
        fetched: dict[str, list[str]],
        uid: int,
        gid: int,
    ) -> None:
        super().__init__(KEY, place)
        self.path = path
        self.plain = plain
        self.fetched = fetched
        self.uid = uid
        self.gid = gid

    def describe(self) -> str:
        count = len(self.plain) + sum(map(len, self.fetched.values()))
        return f"write {counted(count, 'key')} to {self.path}"

    def perform(self, node: Node) -> str:
        old = node.read(self.path)
        present = set(outside_block(old))
        lines = [key for key in self.plain if key not in present]
        present.update(lines)
        for name, keys in self.fetched.items():
            fresh = [key for key in keys if key not in present]
            present.update(fresh)
            lines += [SECTION + name, *fresh]
        data = replace_block(old, lines).encode(errors="surrogateescape")
        write = WriteFile(KEY, self.place, self.path, data, 0o600, self.uid, self.gid)
        return write.perform(node)


class FetchKeys(Action):
    """Fetches one source's keys and lets `writer` put them into the block."""

    __slots__ = ("name", "writer")

    def __init__(self, place: Place, name: str, writer: WriteKeys) -> None:
        super().__init__(KEY, place)
        self.name = name
        self.writer = writer

    def describe(self) -> str:
        return f"fetch the keys of {self.name}"

    def perform(self, node: Node) -> str:
        from k3os.errors import UserError
        from k3os.phases.environment import adopt
        from k3os.system.http import get
        from k3os.system.http_failure import HttpError

        adopt(node.environment)  # urllib and ssl read them there
        try:
            data = get(
                address(self.name), limit=LARGEST, tries=TRIES, pause=PAUSE, deadline=DEADLINE
            )
        except HttpError as error:
            if error.status == 404:
                raise UserError(f"{self.name} does not exist there", "check the name") from None
            raise
        lines = [line.strip() for line in data.decode(errors="replace").splitlines()]
        keys = [line for line in lines if is_key(line)]
        if not keys:
            raise UserError(f"{self.name} has no ssh public keys", "add one to the account")
        if self.writer.fetched.get(self.name) == keys:
            return UNCHANGED
        self.writer.fetched[self.name] = keys
        return self.writer.perform(node)
