"""A key's value by reference: a URL or a path, with its SHA-256 after it.

`https://server/file#sha256=HEX`. Data over plain http can be changed on the way, so there the
checksum is required.
"""

from __future__ import annotations

from k3os.config.value import Wrong

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.value import Node

MARK, DIGITS = "#sha256=", 64


def is_elsewhere(text: str) -> bool:
    """Whether a text refers to something, and is not the thing itself."""
    word = text.strip()
    return "\n" not in word and (word.startswith("/") or "://" in word.partition(" ")[0])


def split(text: str) -> tuple[str, str]:
    """Place and SHA-256, "" if there is none."""
    where, _, digest = text.strip().partition(MARK)
    return where, digest.lower()


def shown(text: str) -> str:
    """A place without its checksum and without a login."""
    from k3os.errors import discreet

    return discreet(split(text)[0], whole=True)


def check_sum(data: bytes, wanted: str) -> None:
    """Raises ValueError unless data has this SHA-256; "" accepts anything."""
    if not wanted:
        return
    from hashlib import sha256

    found = sha256(data).hexdigest()
    if found != wanted:
        raise ValueError(f"wrong checksum: expected sha256 {wanted}, got {found}")


def check(node: Node, text: str) -> str:
    """The text, if it can be fetched. Raises Wrong."""
    word = text.strip()
    where, digest = split(word)
    if "#" in word and (len(digest) != DIGITS or set(digest) - set("0123456789abcdef")):
        hint = f"write {MARK}HEX with the 64 digits that `sha256sum` prints"
        raise Wrong(node.place, "has no SHA-256 behind its `#`", hint)
    if " " in where:
        raise Wrong(node.place, f"`{where}` has a blank in it", "write %20 in a URL")
    if not where.isprintable():
        raise Wrong(node.place, "has a control character in it", "type it again")
    if where.startswith("/"):
        if ".." in where.split("/") or where.endswith("/"):
            raise Wrong(node.place, f"`{where}` is not a file path", "write where it is")
        return word
    scheme, _, rest = where.partition("://")
    scheme = scheme.lower()
    if scheme not in ("http", "https"):
        raise Wrong(node.place, f"nothing is fetched by {scheme}", "write https://, or a path")
    if not rest.partition("/")[0].rpartition("@")[2].partition(":")[0]:
        raise Wrong(node.place, "names no server", "write e.g. `https://server/file`")
    if scheme == "http" and not digest:
        hint = f"write https://, or {MARK}HEX behind the address"
        raise Wrong(node.place, "comes over plain http without a SHA-256", hint)
    return word
