"""A stub of `helm template`, with just the template features that our chart uses.

Helm uses Go's text/template with functions of its own. This stub only supports values by path,
`toYaml`, `nindent`, `with`, `else` and `end`, and refuses anything else, so that a test fails if
the chart needs more than a reader understands at once.
"""

import copy
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

ACTION = re.compile(r"\{\{(-?) ?(.*?) ?(-?)\}\}")
PIPED = re.compile(r"toYaml (\S+) \| nindent (\d+)")
QUOTED = re.compile(r'"([^"\\]*)"')
Token = tuple[str, str]  # kind: text or action; what


def rendered(files: Mapping[str, str], values: Mapping[str, Any] | None = None) -> list[Any]:
    """The objects that a chart makes. files: path -> text. values: override the chart's own."""
    (own,) = (text for path, text in files.items() if path.endswith("/values.yaml"))
    given = {"Values": coalesced(yaml.safe_load(own), values or {})}
    found: list[Any] = []
    for path, text in sorted(files.items()):
        if "/templates/" in path:
            found += yaml.safe_load_all(template(text, given))
    return found


def coalesced(own: Any, given: Mapping[str, Any]) -> Any:
    """Helm, "Values Files": maps are merged, everything else is replaced, null removes a key."""
    merged = copy.deepcopy(own)
    for name, value in given.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, Mapping) and isinstance(merged.get(name), Mapping):
            merged[name] = coalesced(merged[name], value)
        else:
            merged[name] = value
    return merged


def template(text: str, dot: Any) -> str:
    tokens = list(_tokens(text))
    made, rest = _block(tokens, dot, dot)
    assert not rest, f"`end` without a beginning: {rest[0]}"
    return made


def _tokens(text: str) -> Iterator[Token]:
    """Tokens, without the whitespace that `{{-` and `-}}` trim."""
    at, trims = 0, False
    for found in ACTION.finditer(text):
        before = text[at : found.start()]
        before = before.lstrip() if trims else before
        yield "text", before.rstrip() if found[1] else before
        yield "action", found[2]
        at, trims = found.end(), bool(found[3])
    yield "text", text[at:].lstrip() if trims else text[at:]


def _block(tokens: list[Token], dot: Any, root: Any) -> tuple[str, list[Token]]:
    """Evaluate tokens up to `else` or `end`, which comes first in the returned rest."""
    made = ""
    while tokens:
        (kind, what), *tokens = tokens
        if kind == "text":
            made += what
        elif what in ("else", "end"):
            return made, [(kind, what), *tokens]
        elif what.startswith("with "):
            text, tokens = _with(tokens, _value(what[5:], dot), dot, root)
            made += text
        else:
            made += _printed(what, dot)
    return made, []


def _with(tokens: list[Token], value: Any, dot: Any, root: Any) -> tuple[str, list[Token]]:
    full, tokens = _block(tokens, value, root)
    empty = ""
    assert tokens, "`with` without its `end`"
    if tokens[0][1] == "else":
        empty, tokens = _block(tokens[1:], dot, root)
    assert tokens and tokens[0][1] == "end", "`with` without its `end`"
    return (full if value else empty), tokens[1:]


def _printed(what: str, dot: Any) -> str:
    if found := QUOTED.fullmatch(what):
        return found[1]
    if found := PIPED.fullmatch(what):
        text = yaml.safe_dump(_value(found[1], dot)).strip()
        return "\n" + "\n".join(" " * int(found[2]) + line for line in text.splitlines())
    value = _value(what, dot)
    assert isinstance(value, str), f"{what} is no text"
    return value


def _value(path: str, dot: Any) -> Any:
    assert re.fullmatch(r"\.|(\.\w+)+", path), f"the stub does not know {path!r}"
    for name in filter(None, path.split(".")):
        dot = dot[name]
    return dot
