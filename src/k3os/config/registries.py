"""k3os.registries: k3s' settings for registries (docs.k3s.io, "Private Registry Configuration").

A wrong entry is left out completely: half a login is useless. k3s exits if it cannot read the
resulting file, so nothing unknown to it gets that far.
"""

from __future__ import annotations

from k3os.config.kinds import each_of, map_named, text_map
from k3os.config.scalars import one_line
from k3os.config.value import Node, Value, Wrong
from k3os.system.numbers import whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.key import Key
    from k3os.config.kinds import Check

ALL = "*"
LOGIN = "write the login into k3os.registries.configs"
# the name of its registry, whatever its address
HUB, HUBS = "docker.io", ("hub.docker.com", "index.docker.io", "registry-1.docker.io")


def mirrors(check: Check, key: Key, node: Node, path: str) -> Value:
    return _named(check, key, node, path)


def configs(check: Check, key: Key, node: Node, path: str) -> Value:
    value = _named(check, key, node, path)
    assert isinstance(value.data, dict)
    for name, entry in list(value.data.items()):
        wrong = _wrong_login(entry) or _wrong_certificate(entry)
        if wrong is not None:
            check.error(f"{path}.{name}", wrong)
            del value.data[name]
    return value


def _named(check: Check, key: Key, node: Node, path: str) -> Value:
    """A registry without settings counts, too: `docker.io:` alone."""
    if node.kind == "map":
        pairs = [(name, _empty(item) if item.is_unset() else item) for name, item in node.pairs]
        for name, _ in pairs:
            if "@" in name.text:  # it would be repeated as part of the key
                check.error(path, Wrong(name.place, "has a login in a name", LOGIN))
        node = _like(node, [pair for pair in pairs if "@" not in pair[0].text])
    return Value(dict(map_named(check, key, node, path, _registry)), node.place)


def _empty(node: Node) -> Node:
    return Node("map", node.place)


def _like(node: Node, pairs: list[tuple[Node, Node]]) -> Node:
    copy = Node(node.kind, node.place)
    copy.pairs = pairs
    return copy


def _registry(node: Node) -> str:
    """`host`, `host:port` or `*`, as in an image's name."""
    word = one_line(node, "a registry").strip()
    if word == ALL:
        return word
    _, separator, rest = word.partition("://")
    host = rest if separator else word
    name, slash, _ = host.partition("/")
    if separator or slash:
        raise Wrong(node.place, f"`{word}` is not the name of a registry", f"write `{name}`")
    if not _is_host(name):
        raise Wrong(
            node.place, f"`{word}` is not the name of a registry", "write `host` or `host:port`"
        )
    if name in HUBS:
        raise Wrong(node.place, f"images of `{name}` have another name", f"write `{HUB}`")
    return name


def _is_host(text: str) -> bool:
    host, colon, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
    host, port = (host, port) if colon else (text, port)
    if colon and whole(port, 1, 65535) is None:
        return False
    if host.startswith("[") and host.endswith("]"):
        return set(host[1:-1].lower()) <= set("0123456789abcdef:.")
    plain = host.replace(".", "").replace("-", "").replace("_", "")
    return plain.isascii() and plain.isalnum()


def endpoints(check: Check, key: Key, node: Node, path: str) -> Value:
    """URLs; a wrong one makes the whole mirror wrong."""

    def one(item: Node, _path: str) -> Value:
        word = one_line(item, "an address").strip()
        scheme, separator, rest = word.partition("://")
        host = rest.partition("/")[0]
        if not separator and _is_host(word.partition("/")[0]):
            raise Wrong(item.place, f"`{word}` is not a URL", f"write `https://{word}`")
        if "@" in (host or word):
            raise Wrong(item.place, "has a login in it, which k3s does not use", LOGIN)
        odd = " " in word or not _is_plain(word)
        if scheme.lower() not in ("http", "https") or not _is_host(host) or odd:
            hint = "write e.g. `https://registry.example:5000`"
            raise Wrong(item.place, f"`{word}` is not an http or https address", hint)
        return Value(word, item.place)

    before = len(check.problems)
    value = each_of(check, node, path, one)
    if len(check.problems) > before:
        last = check.problems.pop()
        raise Wrong(last.place, last.message, last.hint)
    return value


def rewrites(check: Check, key: Key, node: Node, path: str) -> Value:
    """Regular expressions (re2, syntax) and their replacements; `$1` is the first group, not a
    variable. k3s writes both unchanged between quotes into a file of containerd."""
    import re

    value = text_map(check, key, node, path)
    assert isinstance(value.data, dict)
    for name, item in value.data.items():
        for word in (name, str(item.data)):
            if not _is_plain(word.replace("\\\\", "")):
                message = f"containerd reads no file with `{word}` in it"
                raise Wrong(item.place, message, "write `[.]`, or two backslashes; and no quotes")
        if re.search(r"\(\?(<?[=!]|P=|>)", name):
            message = f"`{name}` looks ahead or behind"
            hint = "containerd's regular expressions look neither ahead nor behind"
            raise Wrong(item.place, message, hint)
        try:
            re.compile(name.replace("\\\\", "\\"))
        except (re.error, OverflowError, RecursionError) as error:
            message = f"`{name}` is not a regular expression: {error}"
            raise Wrong(item.place, message, "write e.g. `^library/(.*)`") from None
    return value


def _is_plain(word: str) -> bool:
    """Whether it needs no escapes between TOML quotes."""
    return word.isprintable() and '"' not in word and "\\" not in word


def _field(entry: Value, section: str) -> dict[str, Value]:
    inner = entry.data.get(section) if isinstance(entry.data, dict) else None
    return inner.data if inner is not None and isinstance(inner.data, dict) else {}


def _half(fields: dict[str, Value], section: str, one: str, two: str) -> Wrong | None:
    """An error if only one of the two is there."""
    for name, other in ((one, two), (two, one)):
        if name in fields and other not in fields:
            message = f"{section} has a {name} and no {other}"
            return Wrong(fields[name].place, message, f"write `{other}: …`, too")
    return None


def _wrong_login(entry: Value) -> Wrong | None:
    login = _field(entry, "auth")
    if half := _half(login, "auth", "username", "password"):
        return half
    if "auth" in login:
        from k3os.config.contents import decode

        if "password" in login:
            return Wrong(login["auth"].place, "auth says the login twice", "leave one out")
        try:
            text = decode(str(login["auth"].data), "b64")
        except ValueError:
            text = b""
        if b":" not in text:
            message = "auth is not base64 of `username:password`"
            return Wrong(login["auth"].place, message, "write username and password instead")
    return None


def _wrong_certificate(entry: Value) -> Wrong | None:
    tls = _field(entry, "tls")
    if half := _half(tls, "tls", "cert_file", "key_file"):
        return half
    for name in ("ca_file", "cert_file", "key_file"):
        if name in tls and not _is_plain(str(tls[name].data)):
            message = f"tls.{name} has a quote or a backslash in it"
            return Wrong(tls[name].place, message, "containerd reads no such path; rename it")
    return None
