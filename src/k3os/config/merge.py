"""Merge sources, weakest first, by each key's rule in the schema. Associative."""

from __future__ import annotations

from k3os.config.key import ADD, ADD_BY, KEYS
from k3os.config.schema import BY_PATH
from k3os.config.value import Value, plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from k3os.config.key import Key


def merge(weaker: dict[str, Value], stronger: dict[str, Value]) -> dict[str, Value]:
    """A new map; its order does not matter: the dump uses the schema's."""
    merged = dict(weaker)
    for path, value in stronger.items():
        if path in merged:
            key = BY_PATH[path]
            merged[path] = RULES.get(key.merge, _replace)(key, merged[path], value)
        else:
            merged[path] = value
    return merged


def _replace(key: Key, weak: Value, strong: Value) -> Value:
    return strong


def _add(key: Key, weak: Value, strong: Value) -> Value:
    assert isinstance(weak.data, list) and isinstance(strong.data, list)
    known = {_identity(item) for item in weak.data}
    fresh = [item for item in strong.data if _identity(item) not in known]
    return Value(weak.data + fresh, strong.place if fresh else weak.place)


def _identity(item: Value) -> object:
    data = plain(item)
    return tuple(map(str, data)) if isinstance(data, list) else data


def _add_by(key: Key, weak: Value, strong: Value) -> Value:
    assert isinstance(weak.data, list) and isinstance(strong.data, list)
    entries: dict[str, Value] = {}
    for item in weak.data + strong.data:
        assert isinstance(item.data, dict)
        entries[key.identity_of(item.data)] = item
    return Value(list(entries.values()), strong.place)


def _by_key(key: Key, weak: Value, strong: Value) -> Value:
    assert isinstance(weak.data, dict) and isinstance(strong.data, dict)
    merged = dict(weak.data)
    for name, value in strong.data.items():
        old = merged.get(name)
        nested = old is not None and isinstance(old.data, dict) and isinstance(value.data, dict)
        merged[name] = _by_key(key, old, value) if nested and old is not None else value
    return Value(merged, strong.place)


RULES: dict[str, Callable[[Key, Value, Value], Value]] = {
    ADD: _add,
    ADD_BY: _add_by,
    KEYS: _by_key,
}
