"""Placeholders in the texts of a NodePool's `config`: `$(node.name)`, `$(node.labels['KEY'])`,
`$(node.annotations['KEY'])`, and `$(secret.NAME)` from spec.secrets.

`$$(node.` stands for a literal `$(node.`; any other `$(` is left for the reader of the text, such
as a shell. Labels are written as in Kubernetes' field paths (kubernetes.io, "Downward API"). A text
is replaced in one pass, so that values of a node are never expanded: they could name a secret.
Texts in, texts out: nothing is asked.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from k3os import names
from k3os.cluster.node import NodeView
from k3os.config.spelling import fold

# name of a secret in spec.secrets
NAME = r"[A-Za-z_][A-Za-z0-9_-]{0,62}"
# name of a label or an annotation (kubernetes.io, "Labels and Selectors")
_KEY = r"(?:[A-Za-z0-9.-]{1,253}/)?[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
_PLACE = re.compile(
    rf"""\$(?P<plain>\$\((?:node|secret)\.)
    | \$\(node\.(?:(?P<name>name)
      | (?P<map>labels|annotations)\[(?P<quote>['"])(?P<key>{_KEY})(?P=quote)\])\)
    | \$\(secret\.(?P<secret>{NAME})\)
    | (?P<wrong>\$\((?P<of>node|secret)\.[^)\s]{{0,100}}\)?)""",
    re.VERBOSE,
)
FORMS = {
    "node": "not a value of a node; write one of $(node.name), $(node.labels['KEY']), "
    "$(node.annotations['KEY'])",
    "secret": "not a secret; write $(secret.NAME) with a name of spec.secrets",
}
KINDS = {"labels": "label", "annotations": "annotation"}
LONG = 64  # characters
_ONE_ARGUMENT = re.compile(r"[^\s\"'\\]*")
_MARK = re.compile(r"k3osSecret[0-9a-f]{10}")


class NoValue(Exception):
    """A node has no such label or annotation, or its value is not allowed there. The message names
    it, `where` is the key of the configuration."""

    def __init__(self, message: str, where: str) -> None:
        super().__init__(message)
        self.where = where


def replaced(tree: Any, node: NodeView, secrets: Mapping[str, str] | None = None) -> Any:
    """A configuration for a node. secrets: by name; None: a mark replaces each. Raises NoValue,
    KeyError for a missing secret."""
    return _with_texts(tree, lambda text, where: _PLACE.sub(_of(node, where, secrets), text), "")


def _of(
    node: NodeView, where: str, secrets: Mapping[str, str] | None
) -> Callable[[re.Match[str]], str]:
    def value(match: re.Match[str]) -> str:
        if match["plain"]:
            return match["plain"]
        if match["secret"]:
            return mark(match["secret"]) if secrets is None else secrets[match["secret"]]
        if match["name"]:
            return node.name
        if not match["map"]:
            return match[0]  # `wrong` reports it, and nothing is rolled out
        found = getattr(node, match["map"]).get(match["key"])
        which = f"{KINDS[match['map']]} {match['key']}"
        if found is None:
            raise NoValue(f"node {node.name} has no {which}", where)
        begins = match.string[: match.start()].rpartition(" ")[2] == ""
        dashes = begins and found.startswith("-")
        if _is_argument(where) and (dashes or not _ONE_ARGUMENT.fullmatch(found)):
            raise NoValue(f"{which} of node {node.name} would be an argument of its own", where)
        return str(found)

    return value


def _is_argument(where: str) -> bool:
    """Whether it is part of k3os.k3s_args, where a text may hold several arguments."""
    return fold(where.partition("[")[0].rpartition(".")[2]) == "k3sarg"


def mark(name: str) -> str:
    """Replaces a secret while its value is not needed: a text that is valid in most places, even
    as base64."""
    return f"k3osSecret{hashlib.sha256(name.encode()).hexdigest()[:10]}"


def marked(tree: Any) -> Any:
    """A configuration with marks for secrets; placeholders of the node stay."""
    return _with_texts(
        tree,
        lambda text, _: _PLACE.sub(
            lambda match: mark(match["secret"]) if match["secret"] else match[0], text
        ),
        "",
    )


def has_mark(text: str) -> bool:
    return _MARK.search(text) is not None


def secrets_in(tree: Any) -> dict[str, str]:
    """The names of the secrets in it, each with the first key that uses it."""
    found: dict[str, str] = {}
    for where, text, is_name in _texts(tree, ""):
        for match in _PLACE.finditer(text):
            if match["secret"] and not is_name:
                found.setdefault(match["secret"], where)
    return found


def of_node(tree: Any) -> set[tuple[str, str]]:
    """The values of a node that it uses: ("labels", KEY), ("annotations", KEY), ("name", "")."""
    return {
        (match["map"] or "name", match["key"] or "")
        for _, text, is_name in _texts(tree, "")
        for match in _PLACE.finditer(text)
        if (match["map"] or match["name"]) and not is_name
    }


def without(tree: Any) -> Any:
    """A configuration with null for each text that has a placeholder: its errors do not depend on
    their values."""
    return _with_texts(tree, lambda text, _: None if has_any(text) else text, "")


def has_any(tree: Any) -> bool:
    """Whether it differs between nodes, or contains a secret or an escape."""
    return any(_PLACE.search(text) for _, text, _ in _texts(tree, ""))


def mentions(tree: Any, words: Iterable[str]) -> bool:
    """Whether it contains one of these words outside of placeholders."""
    texts = [_PLACE.sub("", text) for _, text, _ in _texts(tree, "")]
    return any(word in text for word in words for text in texts)


def shown(tree: Any) -> dict[str, str]:
    """By key, the placeholders in a configuration; the rest of such a text is not shown."""
    found = {}
    for where, text, is_name in _texts(tree, ""):
        parts = [match[0] for match in _PLACE.finditer(text) if not is_name and not match["plain"]]
        if parts:
            rest = _PLACE.sub("", text)
            found[where] = " ".join([*parts, *(["…"] if rest else [])])
    return found


def wrong(tree: Any) -> Iterator[tuple[str, str]]:
    """Invalid placeholders: the key, and a message."""
    for where, text, is_name in _texts(tree, ""):
        for match in _PLACE.finditer(text):
            if match["plain"]:
                continue
            if is_name:
                yield where, f"`{match[0]}` is in a name; it works only in values"
            elif match["wrong"]:
                yield where, f"`{match[0]}` is {FORMS[match['of']]}"
            elif match["map"] == "annotations" and match["key"].startswith(f"{names.GROUP}/"):
                yield where, f"`{match['key']}` is changed by the rollout itself; use another one"


def long_texts(trees: Iterable[Any]) -> dict[str, str]:
    """The texts that are worth storing only once."""
    found = (text for tree in trees for _, text, is_name in _texts(tree, "") if not is_name)
    return {text: text for text in found if len(text) >= LONG}


def with_texts_of(tree: Any, known: Mapping[str, str]) -> Any:
    """The same configuration, sharing the objects of equal texts."""
    return _with_texts(tree, lambda text, _: known.get(text, text), "") if known else tree


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
