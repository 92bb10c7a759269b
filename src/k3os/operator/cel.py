"""Builds CEL expressions as texts: literals, choices, variables, lists.

It evaluates nothing. Language: cel.dev; the part an API server supports: kubernetes.io, "Common
Expression Language in Kubernetes". It only uses what Kubernetes 1.30 has: `[x].map(n, …)[0]`
stands for a binding, a list of numbers for an index.
"""

from __future__ import annotations

import json
import re

ITEMS = 64  # how many items of a list are checked
INDICES = "variables.indices"


def literal(text: str) -> str:
    """A string literal; JSON's escapes are valid in CEL, too."""
    return json.dumps(text)


def listed(texts: tuple[str, ...] | list[str]) -> str:
    return f"[{', '.join(map(literal, texts))}]"


def said(template: str) -> str:
    """A text in which `{name}` stands for a string variable."""
    parts = re.split(r"\{(\w+)\}", template)
    found = [
        part if number % 2 else literal(part)
        for number, part in enumerate(parts)
        if part or number % 2
    ]
    return " + ".join(found) or '""'


def choose(*cases: tuple[str, str], other: str = '""') -> str:
    """The value of the first case whose condition holds."""
    found = other
    for condition, value in reversed(cases):
        found = f"({condition} ? {value} : {found})"
    return found


def bound(name: str, value: str, body: str) -> str:
    """body, with name bound to value, which is evaluated once."""
    return f"[{value}].map({name}, {body})[0]"


def each(name: str, items: str, body: str, *, where: str = "true") -> str:
    """The texts that body makes of a list's items, without empty ones. In body, i is the item's
    index."""
    index = f"{INDICES}.filter(i, i < size({items}))"
    picked = f"{index}.map(i, {bound(name, f'{items}[i]', choose((where, body)))})"
    return f'{picked}.filter(m, m != "")'


def text_of(value: str) -> str:
    """A scalar as YAML would show it."""
    return (
        f"(type({value}) == string ? {value} : "
        f'type({value}) == bool ? ({value} ? "true" : "false") : string({value}))'
    )


def is_unset(value: str) -> str:
    """null, a blank text, or a list of only these."""
    one = "({0} == null || type({0}) == string && {0}.matches('^\\\\s*$'))"
    alike = one.format("u")
    return (
        f"({one.format(value)} || "
        f"type({value}) == list && size({value}) > 0 && {value}.all(u, {alike}))"
    )


def matches(value: str, pattern: str) -> str:
    """Whether the whole text matches a pattern (RE2)."""
    return f"{value}.matches({literal(f'^({pattern})$')})"
