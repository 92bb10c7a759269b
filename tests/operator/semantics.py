"""How an API server treats merge patches and selectors, for both of its stubs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def merged(old: Any, change: Any) -> Any:
    """A JSON merge patch, RFC 7386."""
    if not isinstance(change, Mapping):
        return change
    found = dict(old) if isinstance(old, Mapping) else {}
    for name, value in change.items():
        if value is None:
            found.pop(name, None)
        else:
            found[name] = merged(found.get(name), value)
    return found


def fits(body: Mapping[str, Any], namespace: str = "", labels: str = "", fields: str = "") -> bool:
    """labels, fields: selectors (kubernetes.io, "Labels and Selectors"), "" for none."""
    meta = body["metadata"]
    if namespace and meta.get("namespace", "") != namespace:
        return False
    known = meta.get("labels") or {}
    for term in filter(None, labels.split(",")):
        name, equals, value = term.partition("=")
        if known.get(name) != value.lstrip("=") if equals else name not in known:
            return False
    for term in filter(None, fields.split(",")):
        path, _, value = term.partition("=")
        found: Any = body
        for part in path.split("."):
            found = (found or {}).get(part)
        if found != value.lstrip("="):
            return False
    return True
