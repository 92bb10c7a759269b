"""What values look like: a function per kind of schema.TABLE, from a node to a checked value.
Kinds of a single text are in scalars.py.

A function returns a Value or raises Wrong; it may add warnings. Texts stay as the user wrote them.
"""

from __future__ import annotations

from k3os.config import scalars
from k3os.config.fields import fields_by_fold
from k3os.config.scalars import KIND_WORDS, items_in, one_line, refuse_form, scalar_text
from k3os.config.value import Node, Place, Problem, Value, Wrong

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from k3os.config.key import Key


class Check:
    """Collects the warnings and errors of one source."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def warn(self, place: Place, path: str, message: str, hint: str = "") -> None:
        self.problems.append(Problem(place, path, message, hint, is_error=False))

    def error(self, path: str, wrong: Wrong, node: Node | None = None) -> None:
        """node: the wrong value, whose text may show the cause."""
        if node is not None:
            from k3os.config.unmeant import cause

            wrong = cause(wrong, node)
        self.problems.append(Problem(wrong.place, path, wrong.message, wrong.hint))

    def value(self, key: Key, node: Node, path: str) -> Value | None:
        """The checked value of a key; None if it is wrong or not set."""
        if is_unset(key, node):
            return None
        try:
            value = KINDS[key.kind](self, key, node, path)
            if key.further:
                from k3os.config.further import apply

                value = apply(key.further, self, value, path)
            if key.kind in EXPANDED:
                expansions(self, key, value, path)
            return value
        except Wrong as wrong:
            self.error(path, wrong, node)
            return None
        except Exception as error:  # a bug in one key must not lose the others
            from k3os.system.bug import report

            self.error(path, Wrong(node.place, f"cannot be looked at: {report(error)}"))
            return None


def is_unset(key: Key, node: Node) -> bool:
    """Whether a node sets nothing. (The content of a file may be empty.)"""
    return node.kind == "null" or (key.kind != "lines" and node.is_unset())


def items_of(node: Node) -> list[Node]:
    """The items of a list that are set; a scalar counts as a list of one."""
    return [item for _, item in items_in(node)]


def each_of(
    check: Check, node: Node, path: str, convert: Callable[[Node, str], Value | None]
) -> Value:
    values = []
    for index, item in items_in(node):
        try:
            refuse_form(item)
            value = convert(item, f"{path}[{index}]")
        except Wrong as wrong:
            check.error(f"{path}[{index}]", wrong, item)
            continue
        if value is not None:
            values.append(value)
    return Value(values, node.place)


def texts(check: Check, key: Key, node: Node, path: str) -> Value:
    def one(item: Node, _path: str) -> Value | None:
        word = one_line(item, "a text").strip()
        return Value(word, item.place) if word else None

    return each_of(check, node, path, one)


def choices(check: Check, key: Key, node: Node, path: str) -> Value:
    """Names from a fixed set; others are left out, with the most similar name as a hint."""

    def one(item: Node, _path: str) -> Value:
        from k3os.config.spelling import nearest

        word = scalar_text(item, "a name").strip().lower()
        if word not in key.values:
            likely = nearest(word, key.values)
            known = f"known: {', '.join(key.values)}"
            likely = "" if set(word) & set(", ;") else likely
            known = known if likely or word.isalnum() else "write each as an item of the list"
            raise Wrong(
                item.place, f"`{word}` is unknown", f"did you mean {likely}?" if likely else known
            )
        return Value(word, item.place)

    return each_of(check, node, path, one)


TYPOGRAPHIC = {ord(bad): good for bad, good in zip("“”„‘’‚–—", "\"\"\"'''--", strict=True)}


def arguments(check: Check, key: Key, node: Node, path: str) -> Value:
    """Texts; apparent slips are kept as written, with a warning."""
    from k3os.config.arguments import separate
    from k3os.config.k3s_flags import masked

    value = texts(check, key, separate(check, node, path), path)
    assert isinstance(value.data, list)
    words = [str(item.data) for item in value.data]
    right = [word.translate(TYPOGRAPHIC) for word in words]
    shown = masked(right)  # everybody can see a hint
    for index, item in enumerate(value.data):
        better = right[index]
        where = f"{path}[{item.place.number}]"
        if better != words[index]:
            message = "has typographic quotes or dashes"
            check.warn(item.place, where, message, f"write `{shown[index]}`")
    return value


def commands(check: Check, key: Key, node: Node, path: str) -> Value:
    def one(item: Node, item_path: str) -> Value | None:
        if item.kind == "list":
            words = [Value(scalar_text(word, "a text"), word.place) for word in item.items]
            return Value(list(words), item.place) if words else None
        word = scalar_text(item, "a command: a text, or a list of words")
        return Value(word, item.place) if word.strip() else None

    return each_of(check, node, path, one)


def text_map(check: Check, key: Key, node: Node, path: str) -> Value:
    entries: dict[str, Value] = {}
    for name, value in _map_pairs(check, node, path):
        entry_path = f"{path}.{name.text}"
        if name.text in entries:
            message = f"is given twice{entries[name.text].place.as_first()}; this one counts"
            check.warn(name.place, entry_path, message, "remove one")
        try:
            entries[name.text] = Value(_entry_text(value), value.place)
        except Wrong as wrong:
            check.error(entry_path, wrong, value)
    return Value(entries, node.place)


def _entry_text(value: Node) -> str:
    return "" if value.kind == "null" else one_line(value, "a text")


def _map_pairs(check: Check, node: Node, path: str) -> list[tuple[Node, Node]]:
    """The pairs of a map, or of `a=b` texts. A wrong pair does not affect the others."""
    scalars.refuse_template(node)
    pairs: list[tuple[Node, Node]] = []
    for index, item in enumerate(node.items):
        try:
            pairs += [] if item.is_unset() else _map_pairs(check, item, f"{path}[{index}]")
        except Wrong as wrong:
            check.error(f"{path}[{index}]", wrong)
    for pair in node.pairs:
        try:
            pairs += [pair] if _is_name(pair[0]) else []
        except Wrong as wrong:
            check.error(path, wrong)
    if node.kind in ("list", "map"):
        return pairs
    from k3os.config.pairs import of_text

    return of_text(check, node, path)


def _is_name(node: Node) -> bool:
    if node.kind != "scalar" or not node.text:
        what = KIND_WORDS[node.kind] if node.kind != "scalar" else "an empty one"
        raise Wrong(node.place, f"a key must be a text, not {what}")
    one_line(node, "a name")
    return True


def one_map(check: Check, key: Key, node: Node, path: str, *, strict: bool = False) -> Value:
    """A map with the key's fields. strict: an unknown key makes the whole map wrong."""
    if node.kind != "map":
        hint = f"write `{key.fields[0].name}: …` and so on"
        raise Wrong(node.place, f"must be a map, not {KIND_WORDS[node.kind]}", hint)
    known = {fold_: field.name for fold_, field in fields_by_fold(key).items()}
    if strict:
        _refuse_unknown(node, known)
    nodes = resolve(check, node, known, path)
    if "content" not in nodes and key.identity == "path":
        from k3os.config.unmeant import refuse_source

        refuse_source(node)
    by_name = {field.name: field for field in key.fields}
    entries: dict[str, Value] = {}
    wrong: list[tuple[str, Node]] = []
    for name, value in nodes.items():
        checked = check.value(by_name[name], value, f"{path}.{name}")
        if checked is not None:
            entries[name] = checked
        elif not is_unset(by_name[name], value):
            wrong.append((name, value))
    if wrong:  # half a file or half a network is worse than none
        names = ", ".join(name for name, _ in wrong)
        raise Wrong(wrong[-1][1].place, f"is left out because of its {names}")
    _binary(entries, nodes)
    for field in key.fields:
        if field.required and field.name not in entries:
            raise Wrong(node.place, f"has no {field.name}", f"write `{field.name}: …`")
    return Value(entries, node.place)


def _refuse_unknown(node: Node, known: dict[str, str]) -> None:
    from k3os.config.spelling import fold, nearest

    for name, _ in node.pairs:
        if name.kind == "scalar" and fold(name.text) not in known:
            from k3os.config.unknown import FIELDS

            likely = nearest(name.text, list(known.values()))
            message = f"is left out because of its unknown key {name.text}"
            listed = ", ".join(dict.fromkeys(known.values()))
            hint = f"did you mean {likely}?" if likely else f"it takes {listed}"
            hint = FIELDS.get(name.text.lower(), hint)
            raise Wrong(name.place, message, hint)


def _binary(entries: dict[str, Value], found: dict[str, Node]) -> None:
    """!!binary content is base64: set the encoding accordingly, so that one decoder does it all."""
    if "content" in found and found["content"].binary and "content" in entries:
        inner = str(entries["encoding"].data) if "encoding" in entries else ""
        if inner.startswith(("gz", "gzip")) or not inner:
            zipped = "gz+" if inner else ""
            entries["encoding"] = Value(f"{zipped}b64", found["content"].place)


def maps(check: Check, key: Key, node: Node, path: str) -> Value:
    """A list of maps. Of two with the same identity, the later one counts."""
    by_identity: dict[str, Value] = {}
    for index, item in [(0, node)] if node.kind == "map" else items_in(node):
        item_path = f"{path}[{index}]"
        if item.is_unset() or (item.pairs and all(each.is_unset() for _, each in item.pairs)):
            continue
        try:
            value = one_map(check, key, item, item_path)
        except Wrong as wrong:
            check.error(item_path, wrong)
            continue
        assert isinstance(value.data, dict)
        identity = key.identity_of(value.data)
        if identity in by_identity:
            name = value.data[key.identity].data
            first = by_identity[identity].place.as_first()
            message = f"{key.identity} {name} is given twice{first}; this one counts"
            check.warn(item.place, item_path, message, "remove one")
        by_identity[identity] = value
    return Value(list(by_identity.values()), node.place)


def map_named(
    check: Check, key: Key, node: Node, path: str, canonical: Callable[[Node], str]
) -> dict[str, Value]:
    """A map with names chosen by the user, each with a map of the key's fields."""
    if node.kind != "map":
        raise Wrong(node.place, f"must be a map, not {KIND_WORDS[node.kind]}")
    entries: dict[str, Value] = {}
    for name, item in node.pairs:
        entry_path = f"{path}.{name.text}"
        try:
            if _is_name(name):
                short = canonical(name)
                if short in entries:
                    message = f"is given twice{entries[short].place.as_first()}; this one counts"
                    check.warn(name.place, entry_path, message, "remove one")
                entries[short] = one_map(check, key, item, entry_path, strict=True)
        except Wrong as wrong:
            check.error(entry_path, wrong)
    return entries


def map_of_fields(check: Check, key: Key, node: Node, path: str) -> Value:
    """A map with the key's fields only."""
    return one_map(check, key, node, path, strict=True)


# kinds of keys in which users may expect a shell
EXPANDED = (
    *("arguments", "text map", "text", "texts", "taints", "url", "location", "path", "file path"),
    "owner",
)


def expansions(check: Check, key: Key, value: Value, path: str) -> None:
    from k3os.config.value import texts_of

    if any("$" in text or "`" in text for text, _ in texts_of(value)):
        from k3os.config.expansions import warn

        warn(check, key, value, path)


def _of(module: str, function: str) -> Callable[[Check, Key, Node, str], Value]:
    """A kind in a module that is imported only if a source has such a key."""

    def kind(check: Check, key: Key, node: Node, path: str) -> Value:
        source = __import__(f"k3os.config.{module}", fromlist=[function])
        value: Value = getattr(source, function)(check, key, node, path)
        return value

    return kind


def resolve(check: Check, node: Node, known: dict[str, str], path: str) -> dict[str, Node]:
    """Canonical name -> node, for the pairs of a map. Warns of unknown and duplicate keys."""
    from k3os.config.spelling import fold

    found: dict[str, Node] = {}
    spelled: dict[str, Node] = {}
    prefix = f"{path}." if path else ""
    for key, value in node.pairs:
        if key.kind != "scalar":
            check.error(path, Wrong(key.place, f"a key must be a text, not {KIND_WORDS[key.kind]}"))
            continue
        name = known.get(fold(key.text))
        if name is None:
            from k3os.config.unknown import explain

            message, hint = explain(key, path, node, known)
            check.warn(key.place, prefix + key.text, message, hint)
            continue
        if name in found:
            first = spelled[name]
            line = f" in line {first.place.line}" if first.place.line else ""
            message = f"is written twice ({first.text}{line}, {key.text}); this one counts"
            short = name.rpartition(".")[2]
            check.warn(key.place, prefix + short, message, "remove one")
        found[name] = value
        spelled[name] = key
    return found


KINDS: dict[str, Callable[[Check, Key, Node, str], Value]] = {
    "text": scalars.text,
    "lines": scalars.lines,
    "console": scalars.console,
    "boolean": scalars.boolean,
    "number": scalars.number,
    "duration": scalars.duration,
    "swap size": scalars.swap_size,
    "choice": scalars.choice,
    "path": scalars.path_text,
    "file path": scalars.file_path,
    "url": scalars.url,
    "location": scalars.location,
    "owner": scalars.owner,
    "permissions": scalars.permissions,
    "hostname": scalars.hostname,
    "texts": texts,
    "choices": choices,
    "taints": _of("taints", "taints"),
    "arguments": arguments,
    "commands": commands,
    "text map": text_map,
    "maps": maps,
    "map": map_of_fields,
    "registry configs": _of("registries", "configs"),
    **{kind: _of("registries", kind) for kind in ("mirrors", "endpoints", "rewrites")},
    **{kind: _of(kind, kind) for kind in ("manifests", "images", "kubelet")},
    "toml": _of("containerd", "toml"),
    "mount options": _of("storage", "options"),
    "networks": _of("network", "networks"),
    "addresses": _of("addresses", "addresses"),
    **{kind: _of("addresses", kind) for kind in ("hosts", "interface")},
    "fixed address": _of("learned", "fixed_address"),
    "interfaces": _of("made", "interfaces"),
    **{kind: _of("routes", kind) for kind in ("routes", "network", "router")},
    "certificates": _of("certificates", "certificates"),
    "certificate": _of("wireless", "certificate"),
    "private key": _of("wireless", "private_key"),
    "ssh keys": _of("ssh_keys", "keys"),
}
