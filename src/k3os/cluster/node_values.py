"""What of a node itself may stand in its configuration: `$(node.name)`, `$(node.labels['KEY'])` and
`$(node.annotations['KEY'])` in the texts of a NodePool's `config`.

`$$(node.` is `$(node.` as it is; every other `$(` belongs to whoever reads the text, a shell for
example. Labels are written as in Kubernetes' field paths (kubernetes.io, "Downward API"). Texts
in, texts out: nothing is asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from k3os import names
from k3os.cluster.node import NodeView

# the name of a label or an annotation (kubernetes.io, "Labels and Selectors")
_KEY = r"(?:[A-Za-z0-9.-]{1,253}/)?[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
_VALUE = re.compile(
    rf"""\$(?P<plain>\$\(node\.)
    | \$\(node\.(?:(?P<name>name)
      | (?P<map>labels|annotations)\[(?P<quote>['"])(?P<key>{_KEY})(?P=quote)\])\)
    | (?P<wrong>\$\(node\.[^)\s]{{0,100}}\)?)""",
    re.VERBOSE,
)
FORMS = "$(node.name), $(node.labels['KEY']), $(node.annotations['KEY'])"
KINDS = {"labels": "label", "annotations": "annotation"}


class NoValue(Exception):
    """A node has no such label or annotation. The message names it, `where` the key of the
    configuration."""

    def __init__(self, message: str, where: str) -> None:
        super().__init__(message)
        self.where = where


def replaced(tree: Any, node: NodeView) -> Any:
    """A configuration for a node. Raises NoValue."""
    return _with_texts(tree, lambda text, where: _VALUE.sub(_of(node, where), text), "")


def _of(node: NodeView, where: str) -> Callable[[re.Match[str]], str]:
    def value(match: re.Match[str]) -> str:
        if match["plain"]:
            return match["plain"]
        if match["name"]:
            return node.name
        if not match["map"]:
            return match[0]  # `wrong` says so; nothing is rolled out
        found = getattr(node, match["map"]).get(match["key"])
        if found is None:
            raise NoValue(f"node {node.name} has no {KINDS[match['map']]} {match['key']}", where)
        return str(found)

    return value


def without(tree: Any) -> Any:
    """A configuration in which each text that holds a value of the node is null: what is wrong
    with it whatever the node says."""
    return _with_texts(tree, lambda text, _: None if has_values(text) else text, "")


def has_values(tree: Any) -> bool:
    """Whether it depends on the node, or holds an escape."""
    return any(_VALUE.search(text) for _, text, _ in _texts(tree, ""))


def shown(tree: Any) -> dict[str, str]:
    """By key, the values of a node in a configuration; the rest of such a text is not shown."""
    found = {}
    for where, text, is_name in _texts(tree, ""):
        parts = [match[0] for match in _VALUE.finditer(text) if not is_name and not match["plain"]]
        if parts:
            rest = _VALUE.sub("", text)
            found[where] = " ".join([*parts, *(["…"] if rest else [])])
    return found


def wrong(tree: Any) -> Iterator[tuple[str, str]]:
    """What cannot be a value of a node: its key, and a message."""
    for where, text, is_name in _texts(tree, ""):
        for match in _VALUE.finditer(text):
            if match["plain"]:
                continue
            if is_name:
                yield where, f"`{match[0]}` stands in a name; only values take it"
            elif match["wrong"]:
                yield where, f"`{match[0]}` is no value of a node; write one of {FORMS}"
            elif match["map"] == "annotations" and match["key"].startswith(f"{names.GROUP}/"):
                yield where, f"`{match['key']}` changes by the rollout itself; take another one"


def _with_texts(tree: Any, change: Callable[[str, str], Any], where: str) -> Any:
    if isinstance(tree, dict):
        return {
            name: _with_texts(each, change, f"{where}.{name}" if where else str(name))
            for name, each in tree.items()
        }
    if isinstance(tree, list):
        return [_with_texts(each, change, f"{where}[{n}]") for n, each in enumerate(tree)]
    return change(tree, where) if isinstance(tree, str) else tree


def _texts(tree: Any, where: str) -> Iterator[tuple[str, str, bool]]:
    """Key, text, and whether it is the name in a map."""
    if isinstance(tree, dict):
        for name, each in tree.items():
            here = f"{where}.{name}" if where else str(name)
            yield here, str(name), True
            yield from _texts(each, here)
    elif isinstance(tree, list):
        for number, each in enumerate(tree):
            yield from _texts(each, f"{where}[{number}]")
    elif isinstance(tree, str):
        yield where, tree, False
