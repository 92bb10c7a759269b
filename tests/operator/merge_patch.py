"""What an API server makes of an object and a merge patch, for both that stand in for one."""

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
