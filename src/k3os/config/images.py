"""k3os.images: where archives with container images are (docs.k3s.io, "Import Images")."""

from __future__ import annotations

from k3os.config import fetched
from k3os.config.scalars import one_line
from k3os.config.value import Value, Wrong

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.key import Key
    from k3os.config.kinds import Check
    from k3os.config.value import Node

# what k3s unpacks; it ignores files with other names
ENDINGS = (*(".tar", ".tar.gz", ".tgz", ".tar.zst", ".tzst", ".tar.bz2", ".tbz", ".tar.lz4"),)
# with what we add to it, a file system still accepts it
LONGEST_NAME = 200


def images(check: Check, key: Key, node: Node, path: str) -> Value:
    from k3os.config.kinds import each_of

    def one(item: Node, _path: str) -> Value:
        text = one_line(item, "a URL or a path").strip()
        if not fetched.is_elsewhere(text):
            hint = "write the URL or the path of an archive; pods pull images of registries"
            quoted = "" if "@" in text else f"`{text}` "  # it may contain a login
            raise Wrong(item.place, f"{quoted}is neither a URL nor a path", hint)
        text = fetched.check(item, text)
        name = file_name(text)
        if not name.endswith(ENDINGS) or name in ENDINGS:
            hint = f"k3s imports files that end in {', '.join(ENDINGS)}"
            raise Wrong(item.place, f"`{name}` is not an image archive", hint)
        if len(name.encode()) > LONGEST_NAME:
            message = f"the name of its file is longer than {LONGEST_NAME} bytes"
            raise Wrong(item.place, message, "give it a shorter one")
        return Value(text, item.place)

    return each_of(check, node, path, one)


def file_name(text: str) -> str:
    """The last part of a place, without what follows it in a URL."""
    where = fetched.split(text)[0]
    if not where.startswith("/"):
        where = where.partition("?")[0].partition("://")[2].partition("/")[2]
    return where.rpartition("/")[2]
