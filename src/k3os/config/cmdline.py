"""The kernel's command line as a configuration source.

`parse` returns the nodes of our keys and ignores everything else; quoting follows the kernel
(lib/cmdline.c, next_arg). What follows ` -- ` belongs to init and is not read.
"""

from __future__ import annotations

from k3os.config.fields import fields_by_fold
from k3os.config.key import BY_NAME
from k3os.config.schema import BOOT_OPTIONS, BY_PATH, CHILDREN, SECTIONS
from k3os.config.spelling import fold
from k3os.config.value import Node, Place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    from k3os.config.key import Key

    _Leaf: TypeAlias = "tuple[list[str], Node]"  # the steps after the key, the value

SOURCE = "cmdline"


def split(text: str) -> list[tuple[str, str | None]]:
    """(name, value) of every parameter; the value is None without `=`."""
    options: list[tuple[str, str | None]] = []
    for word in _words(text):
        if word == "--":
            break
        quoted = word.startswith('"')
        bare = word[1:] if quoted else word
        name, separator, value = bare.partition("=")
        if quoted:
            if separator:
                value = value.removesuffix('"')
            else:
                name = name.removesuffix('"')
        elif value.startswith('"'):
            value = value[1:].removesuffix('"')
        options.append((name, value if separator else None))
    return options


def _words(text: str) -> list[str]:
    words: list[str] = []
    current: list[str] = []
    quoted = False
    for character in text:
        if character == '"':
            quoted = not quoted
        if character.isspace() and not quoted:
            if current:
                words.append("".join(current))
                current = []
        else:
            current.append(character)
    if current:
        words.append("".join(current))
    return words


def boot_options(text: str) -> dict[str, str]:
    """The options of the boot itself (BOOT_OPTIONS); a word without `=` has the value "true"."""
    return {
        name: "true" if value is None else value
        for name, value in split(text)
        if name in BOOT_OPTIONS
    }


def parse(text: str) -> Node | None:
    """The map of our keys on a command line, None if there are none. Never raises."""
    given: dict[str, list[_Leaf]] = {}
    root = Node("map", Place(SOURCE))
    for name, value in split(text):
        if name in BOOT_OPTIONS:
            continue
        steps = _steps(name)
        path, rest = _find(steps)
        place = Place(f"{SOURCE}: {name}")
        key = BY_PATH.get(path)
        if key is None or (rest and key.kind not in NESTED):
            if path:  # an unknown k3os key: the check reports it
                node = Node("map", place)
                node.pairs.append((Node("scalar", place, ".".join(steps[1:])), _null(place)))
                root.pairs.append((Node("scalar", place, "k3os"), node))
            continue
        bare = "true" if key.kind == "boolean" else ""
        leaf = Node("scalar", place, bare if value is None else value)
        if not leaf.text and not rest:
            continue  # `key=` sets nothing
        given.setdefault(path, []).append((rest, leaf))
    for path, leaves in given.items():
        node = _node(BY_PATH[path], leaves)
        root.pairs.append(_wrap(path.split("."), node))
    return _joined(root) if root.pairs else None


def key_of(name: str) -> str:
    """The key that a parameter's name refers to, "k3os.?" for an unknown one below k3os, "" for
    other names."""
    steps = _steps(name)
    return _find(steps)[0] or ("k3os.?" if steps[:1] == ["k3os"] else "")


# maps whose names the user chooses
MAPS = ("text map", "rewrites", "manifests", "kubelet", "map")
NESTED = (*MAPS, "maps", *BY_NAME)
LISTS = (
    *("texts", "ssh keys", "choices", "commands", "taints", "arguments", "addresses", "hosts"),
    *("certificates", "endpoints", "images", "interfaces", "mount options"),
)


def _null(place: Place) -> Node:
    return Node("null", place)


def _steps(name: str) -> list[str]:
    """`k3os.sysctl[kernel.printk]` -> k3os, sysctl, kernel.printk."""
    steps: list[str] = []
    rest = name
    while rest:
        if rest.startswith("["):
            inner, closed, rest = rest[1:].partition("]")
            if not closed:
                return [*steps, f"[{inner}"]
            steps.append(inner)
            rest = rest.removeprefix(".")
            continue
        end = min((rest.find(c) for c in ".[" if c in rest), default=len(rest))
        steps.append(rest[:end])
        rest = rest[end:].removeprefix(".")
    return steps


def _find(steps: list[str]) -> tuple[str, list[str]]:
    """The path of the key that steps begin with, and the steps after it; "" if not ours."""
    section = ""
    for index, step in enumerate(steps):
        path = CHILDREN[section].get(fold(step))
        if path is None:
            return (f"{section}.?" if section else ""), []
        if path not in CHILDREN:
            return path, steps[index + 1 :]
        section = path
    return "", []  # just `k3os`


def _node(key: Key, leaves: list[_Leaf]) -> Node:
    last = leaves[-1][1]
    if key.kind in LISTS:
        node = Node("list", last.place)
        node.items = _numbered([leaf for _, leaf in leaves])
        return node
    if key.kind in ("text map", "manifests", "kubelet"):
        return _text_map(leaves)
    if key.kind in NESTED:
        return _maps(key, leaves)
    return last


def _numbered(items: list[Node]) -> list[Node]:
    for index, item in enumerate(items):
        item.place.number = index
    return items


def _text_map(leaves: list[_Leaf]) -> Node:
    """`labels.a=b` and `labels=a=b`; later ones override earlier ones, without a warning."""
    latest: dict[str, tuple[Node, Node]] = {}
    for rest, leaf in leaves:
        name, value = ".".join(rest), leaf
        if not rest:
            name, _, text = leaf.text.partition("=")
            value = Node("scalar", leaf.place, text)
        latest[name] = (Node("scalar", leaf.place, name), value)
    node = Node("map", leaves[0][1].place)
    node.pairs = list(latest.values())
    return node


def _maps(key: Key, leaves: list[_Leaf]) -> Node:
    """`wifi[0].name=…`; without an index it is the first. Maps of maps have a name as index."""
    fields = fields_by_fold(key)
    groups: dict[str, Node] = {}
    for rest, leaf in leaves:
        steps = rest if len(rest) > 1 or key.kind in BY_NAME else ["0", *rest]
        group = groups.setdefault(steps[0] if steps else "", Node("map", leaf.place))
        field = ".".join(steps[1:])
        known = fields.get(fold(field))
        inner = fields.get(fold(steps[1])) if len(steps) > 2 else None
        if inner is not None and inner.kind in MAPS:
            _inner(group, inner, ".".join(steps[2:]), leaf)
            continue
        if inner is not None and inner.kind == "routes":
            _inner_item(group, steps[1], steps[2:], leaf)
            continue
        same = [pair for pair in group.pairs if known and fields.get(fold(pair[0].text)) is known]
        if not same:
            group.pairs.append((Node("scalar", leaf.place, field), leaf))
        elif known is not None and known.kind in LISTS:
            _, old = same[0]
            node = old if old.kind == "list" else Node("list", old.place)
            node.items = _numbered([*(old.items or [old]), leaf])
            group.pairs[group.pairs.index(same[0])] = (same[0][0], node)
        else:
            group.pairs[group.pairs.index(same[0])] = (same[0][0], leaf)
    place = leaves[0][1].place
    if key.kind == "maps":
        node = Node("list", place)
        order = sorted(groups, key=lambda name: (len(name), name))  # [2] before [10]
        node.items = _numbered([groups[name] for name in order])
        return node
    node = Node("map", place)
    node.pairs = [(Node("scalar", place, name), group) for name, group in groups.items()]
    return node


def _inner(group: Node, key: Key, field: str, leaf: Node) -> None:
    """A value of the map under a field: `configs[host].auth.username=…`."""
    found = _under(group, key.name, "map", leaf)
    known = fields_by_fold(key).get(fold(field))
    if known is not None and known.kind in LISTS:
        listed = _under(found, field, "list", leaf)
        listed.items = _numbered([*listed.items, leaf])
        return
    found.pairs = [pair for pair in found.pairs if pair[0].text != field]
    found.pairs.append((Node("scalar", leaf.place, field), leaf))


def _under(group: Node, name: str, kind: str, leaf: Node) -> Node:
    """The map or list under a field; created if necessary."""
    found = next((value for key, value in group.pairs if fold(key.text) == fold(name)), None)
    if found is None or found.kind != kind:
        found = Node(kind, leaf.place)
        group.pairs.append((Node("scalar", leaf.place, name), found))
    return found


def _inner_item(group: Node, name: str, steps: list[str], leaf: Node) -> None:
    """A value of a map in the list under a field: `eth1.routes[0].to=…`; without an index it is
    the first."""
    index, *rest = steps if len(steps) > 1 else ["0", *steps]
    found = _under(group, name, "list", leaf)
    item = next((each for each in found.items if each.text == index), None)
    if item is None:
        item = Node("map", leaf.place, index)
        found.items.append(item)
        found.items = _numbered(sorted(found.items, key=lambda each: (len(each.text), each.text)))
    field = ".".join(rest)
    item.pairs = [pair for pair in item.pairs if fold(pair[0].text) != fold(field)]
    item.pairs.append((Node("scalar", leaf.place, field), leaf))


def _wrap(path: list[str], node: Node) -> tuple[Node, Node]:
    for step in reversed(path[1:]):
        outer = Node("map", node.place)
        outer.pairs.append((Node("scalar", node.place, step), node))
        node = outer
    return Node("scalar", node.place, path[0]), node


BRANCHES = tuple(section.rpartition(".")[2] for section in SECTIONS if section)


def _joined(node: Node) -> Node:
    """Merge pairs with the same name, as if they were in one map of a file."""
    by_name: dict[str, tuple[Node, Node]] = {}
    pairs: list[tuple[Node, Node]] = []
    for name, value in node.pairs:
        if name.text in BRANCHES and name.text in by_name:
            by_name[name.text][1].pairs += value.pairs
        else:
            by_name[name.text] = (name, value)
            pairs.append((name, value))
    node.pairs = pairs
    for name, value in pairs:
        if name.text == "k3os":
            _joined(value)
    return node
