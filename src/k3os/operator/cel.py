"""Expressions of CEL as texts, put together in Python: literals, choices, names, lists.

It evaluates nothing. Language: cel.dev; what of it an API server has: kubernetes.io, "Common
Expression Language in Kubernetes". Only what Kubernetes 1.30 knows is used: `[x].map(n, …)[0]`
stands for a binding, a list of numbers for an index.
"""

from __future__ import annotations

import json
import re

ITEMS = 64  # of a list that is looked through
INDICES = "variables.indices"


def literal(text: str) -> str:
    """A string's literal; JSON's escapes are CEL's, too."""
    return json.dumps(text)


def listed(texts: tuple[str, ...] | list[str]) -> str:
    return f"[{', '.join(map(literal, texts))}]"


def said(template: str) -> str:
    """A text in which `{name}` stands for a variable that is a string."""
    parts = re.split(r"\{(\w+)\}", template)
    found = [
        part if number % 2 else literal(part)
        for number, part in enumerate(parts)
        if part or number % 2
    ]
    return " + ".join(found) or '""'


def choose(*cases: tuple[str, str], other: str = '""') -> str:
    """The second of the first pair whose first holds."""
    found = other
    for condition, value in reversed(cases):
        found = f"({condition} ? {value} : {found})"
    return found


def bound(name: str, value: str, body: str) -> str:
    """body, in which name is value; it is evaluated once."""
    return f"[{value}].map({name}, {body})[0]"


def each(name: str, items: str, body: str, *, where: str = "true") -> str:
    """The texts that body makes of the items of a list, without empty ones. In body, i is an
    item's number."""
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
    """null, or a text of nothing but blanks, or a list of such."""
    one = "({0} == null || type({0}) == string && {0}.matches('^\\\\s*$'))"
    alike = one.format("u")
    return (
        f"({one.format(value)} || "
        f"type({value}) == list && size({value}) > 0 && {value}.all(u, {alike}))"
    )


def matches(value: str, pattern: str) -> str:
    """Whether all of a text is of a pattern (RE2)."""
    return f"{value}.matches({literal(f'^({pattern})$')})"
