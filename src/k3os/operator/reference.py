"""The table of fields in docs/reference/nodepool.md, in Markdown, from crd.schema()."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from k3os.operator.crd import DURATION, schema

Rows = Iterator[tuple[str, ...]]


def markdown() -> str:
    """The fields of spec, in the order of the schema."""
    lines = ["| field | type | default | what |", "|---|---|---|---|"]
    lines += [f"| {' | '.join(row)} |" for row in _rows("", schema()["properties"]["spec"])]
    return "\n".join(lines)


def _rows(path: str, parent: dict[str, Any]) -> Rows:
    required = parent.get("required", [])
    for name, field in parent["properties"].items():
        here = f"{path}{name}"
        what = field.get("description", "").rstrip(".")
        what += ", required" if name in required else ""
        yield f"`{here}`", _kind(field), _default(field), what
        if field.get("properties"):
            yield from _rows(f"{here}.", field)


def _kind(field: dict[str, Any]) -> str:
    if field.get("x-kubernetes-int-or-string"):
        return "number or percentage"
    if field.get("pattern") == DURATION:
        return "duration"
    if field["type"] == "array":
        values = field["items"].get("enum")
        return f"list of {', '.join(f'`{value}`' for value in values)}" if values else "list"
    kind = str(field["type"])
    return {"object": "map", "string": "text", "integer": "number"}.get(kind, kind)


def _default(field: dict[str, Any]) -> str:
    value = field.get("default")
    if value is None or value == {}:
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"
