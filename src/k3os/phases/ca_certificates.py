"""k3os.ca_certificates: authorities that this node trusts beside Debian's.

They go into a block of BUNDLE, which curl, Python (OpenSSL's cert.pem) and Go programs (k3s,
containerd) read, before anything is fetched; and into DIRECTORY, out of which
update-ca-certificates(8) makes BUNDLE again. That program is not run: it takes a second, and the
result is the same. Who started before goes on with what it read.
"""

from __future__ import annotations

from k3os.config.value import Place
from k3os.phases.actions import Action, OwnFile, WriteFile
from k3os.phases.managed_block import replace_block

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.load import Config
    from k3os.phases.node import Node

KEY = "k3os.ca_certificates"
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
DIRECTORY = "/usr/local/share/ca-certificates"


def plan(config: Config, node: Node) -> list[Action]:
    from k3os.config.certificates import in_pem

    whole = config.get(KEY)
    if whole is None:
        return []
    actions: list[Action] = []
    lines: list[str] = []
    for number, item in enumerate(config.items(KEY), 1):
        text = str(item.data)
        path = f"{DIRECTORY}/k3os-{number}.crt"
        actions.append(OwnFile(KEY, item.place, path, text.encode()))
        lines += [line for each in in_pem(text) for line in each]
    return [*actions, AddBlock(KEY, whole.place, BUNDLE, lines)]


class AddBlock(Action):
    """Lines of ours at the end of a file; its other lines stay."""

    __slots__ = ("lines", "path")

    def __init__(self, key: str, place: Place, path: str, lines: list[str]) -> None:
        super().__init__(key, place)
        self.path = path
        self.lines = lines

    @property
    def thing(self) -> str:
        return f"block {self.path}"

    def describe(self) -> str:
        return f"write {len(self.lines)} lines of ours to {self.path}"

    def perform(self, node: Node) -> str:
        return set_block(node, self.key, self.place, self.path, self.lines)


def set_block(node: Node, key: str, place: Place, path: str, lines: list[str]) -> str:
    """Of a file that is there or not. Raises as WriteFile does."""
    data = replace_block(node.read(path), lines).encode(errors="surrogateescape")
    return WriteFile(key, place, path, data).perform(node)
