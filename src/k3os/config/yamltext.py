"""YAML text to nodes with places. Creates strings, lists and maps, never objects.

It uses the parser's events (https://yaml.org/spec/1.1/) instead of PyYAML's loaders: scalars keep
the text that the user wrote, depth and aliases are limited while reading, and nothing recurses.
"""

from __future__ import annotations

from k3os.config.value import Node, Place, Problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LARGEST = 8 << 20
DEEPEST = 32
TOO_DEEP = f"lists and maps nested more than {DEEPEST} levels deep"
MOST_NODES = 200_000  # counting every alias as often as it is used
# how other kinds of files may begin: pages, scripts, UTF-16, gzip, HTTP errors, manifests
OTHERS = (b"<", b"#!/", b"\xff\xfe", b"\xfe\xff", b"\x1f\x8b", b"4", b"apiVersion:")
NULLS = ("", "~", "null", "Null", "NULL")
TAG = "tag:yaml.org,2002:"
HARMLESS = ("str", "int", "float", "bool", "null", "map", "seq", "timestamp")
HARMLESS_TAGS = tuple(TAG + name for name in HARMLESS)


class _Refused(Exception):
    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self.problem = problem


def read(data: bytes, source: str) -> tuple[Node | None, list[Problem]]:
    """The top-level map of a text; None if it is empty or unusable. Never raises."""
    problems: list[Problem] = []
    try:
        _refuse(data, source)
        text = _decode(data, source)
        if not text.strip():
            return None, problems
        return _compose(text, source, problems), problems
    except _Refused as refused:
        return None, [*problems, refused.problem]


def texts_in(data: bytes, source: str) -> dict[str, Any]:
    """The top-level map of another program's file, such as a kubeconfig, as maps and lists of
    texts; {} if it is empty. Raises ValueError."""
    try:
        root = _compose(_decode(data, source), source, [])
    except _Refused as refused:
        raise ValueError(str(refused.problem)) from None
    return _texts(root) if root is not None else {}


def _texts(node: Node) -> Any:
    if node.kind == "map":
        return {key.text: _texts(value) for key, value in node.pairs}
    return [_texts(item) for item in node.items] if node.kind == "list" else node.text


def _refuse(data: bytes, source: str) -> None:
    """Raise _Refused if it is a file of another kind."""
    start = data[:64].lstrip()
    if start.startswith(OTHERS) or b"\0" in start or b"\napiVersion:" in data:
        from k3os.config.not_a_config import what_it_is

        what, hint = what_it_is(data)
        if what:
            raise _Refused(Problem(Place(source, 1, 1), "", what, hint))


def _decode(data: bytes, source: str) -> str:
    if len(data) > LARGEST:
        message = f"the file has {len(data)} bytes, more than the {LARGEST} that are read"
        raise _Refused(Problem(Place(source), "", message, "move large contents into the image"))
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        message = "this byte is not UTF-8 text"
        hint = "save the file as UTF-8; put binary contents in as base64 (`encoding: b64`)"
        raise _Refused(Problem(Place(source, line, column), "", message, hint)) from None


def _compose(text: str, source: str, problems: list[Problem]) -> Node | None:
    from k3os.config import libyaml  # only if there is a text

    builder = _Builder(source, problems)
    try:
        for event in libyaml.events(text):
            if not builder.take(event):
                break
    except libyaml.error_class() as error:
        from k3os.config.yaml_causes import explain

        raise _Refused(explain(error, text, source, TOO_DEEP)) from None
    root = builder.root
    if root is None or root.kind == "null":
        return None
    if root.kind == "tag":
        message = f"the tag {root.text} is not allowed"
        raise _Refused(Problem(root.place, "", message, "write the file without it"))
    if root.kind != "map":
        what = "a list" if root.kind == "list" else "a text"
        from k3os.config.unknown import hidden_in

        strange = hidden_in(root.text)
        hint = "write `key: value` lines, e.g. `hostname: node1`"
        hint = f"there is {strange} in it: type the line again" if strange else hint
        raise _Refused(Problem(root.place, "", f"the file is {what}, not a map of keys", hint))
    return root


class _Builder:
    """Events in, nodes out. A map collects keys and values alternately in its `items`."""

    def __init__(self, source: str, problems: list[Problem]) -> None:
        self.source = source
        self.problems = problems
        self.root: Node | None = None
        self.stack: list[Node] = []
        self.starts: list[tuple[str | None, int, str]] = []
        self.anchors: dict[str, tuple[Node, int]] = {}
        self.count = 0

    def take(self, event: Any) -> bool:
        """Use one event; False if the rest of the stream does not matter."""
        kind = type(event).__name__
        if kind == "ScalarEvent":
            self._count(event, 1)
            node = self._scalar(event)
            if event.anchor:
                self.anchors[event.anchor] = (node, 1)
            self._add(node)
        elif kind in ("MappingStartEvent", "SequenceStartEvent"):
            self._open(event, "map" if kind[0] == "M" else "list")
        elif kind in ("MappingEndEvent", "SequenceEndEvent"):
            self._close()
        elif kind == "AliasEvent":
            self._alias(event)
        elif kind == "DocumentStartEvent" and self.root is not None and self.root.kind != "null":
            message = "a second document begins here and is not read"
            hint = "put everything above the first `---`"
            place = self._place(event)
            self.problems.append(Problem(place, "", message, hint, is_error=False))
            return False
        return True

    def _place(self, event: Any) -> Place:
        mark = event.start_mark
        return Place(self.source, mark.line + 1, mark.column + 1)

    def _scalar(self, event: Any) -> Node:
        tag, text = event.tag, event.value
        is_plain = not event.style and (tag is None or tag != TAG + "str")
        place = self._place(event)
        if is_plain and text in NULLS:
            return Node("null", place)
        node = Node("scalar", place, text, is_plain)
        if tag == TAG + "binary":
            node.binary = True
            node.plain = False
        elif unknown := _unknown_tag(event):
            return Node("tag", place, unknown)
        return node

    def _count(self, event: Any, nodes: int) -> None:
        self.count += nodes
        if self.count > MOST_NODES:
            what, hint = "the file has", "put large contents into the image"
            if nodes > 1:
                what, hint = "the aliases (*name) unfold to", "write the values themselves"
            message = f"{what} more than {MOST_NODES} values"
            raise _Refused(Problem(self._place(event), "", message, hint))

    def _open(self, event: Any, kind: str) -> None:
        self._count(event, 1)
        if len(self.stack) >= DEEPEST:
            raise _Refused(Problem(self._place(event), "", TOO_DEEP))
        self.stack.append(Node(kind, self._place(event)))
        self.starts.append((event.anchor, self.count, _unknown_tag(event)))

    def _close(self) -> None:
        node = self.stack.pop()
        anchor, start, unknown = self.starts.pop()
        if unknown:
            node = Node("tag", node.place, unknown)
        for index, item in enumerate(node.items if node.kind == "list" else []):
            item.place.number = index
        if node.kind == "map":
            flat, node.items = node.items, []
            node.pairs = self._merged(list(zip(flat[::2], flat[1::2], strict=True)))
        if anchor:
            self.anchors[anchor] = (node, self.count - start + 1)
        self._add(node)

    def _alias(self, event: Any) -> None:
        place = self._place(event)
        known = self.anchors.get(event.anchor)
        if known is None:
            message = f"*{event.anchor} stands for nothing: there is no &{event.anchor} above"
            raise _Refused(Problem(place, "", message, "put a text that begins with * in quotes"))
        self._count(event, known[1])
        self._add(known[0])

    def _add(self, node: Node) -> None:
        if self.stack:
            self.stack[-1].items.append(node)
        else:
            self.root = node

    def _merged(self, pairs: list[tuple[Node, Node]]) -> list[tuple[Node, Node]]:
        """Resolve `<<: *other` (https://yaml.org/type/merge.html); own keys take precedence."""
        if not any(key.text == "<<" and key.plain for key, _ in pairs):
            return pairs
        own = [(key, value) for key, value in pairs if not (key.text == "<<" and key.plain)]
        names = {key.text for key, _ in own}
        merged = []
        for key, value in pairs:
            if key.text == "<<" and key.plain:
                for other in value.items if value.kind == "list" else [value]:
                    if other.kind not in ("map", "null"):
                        message, hint = (
                            "`<<` takes the keys of a map, and this is not one",
                            "write *NAME",
                        )
                        self.problems.append(Problem(other.place, "<<", message, hint))
                    fresh = [pair for pair in other.pairs if pair[0].text not in names]
                    names |= {pair[0].text for pair in fresh}
                    merged += fresh
        return merged + own


def _unknown_tag(event: Any) -> str:
    """The tag of a value with an unsupported type; "" for any other."""
    tag = event.tag or "!"
    return "" if tag == "!" or tag in HARMLESS_TAGS else str(tag.replace(TAG, "!!"))
