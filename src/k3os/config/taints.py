"""k3os.taints: `key=value:Effect`, as k3s' --node-taint takes them.

kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration
"""

from __future__ import annotations

from k3os.config.kinds import Check, each_of
from k3os.config.scalars import one_line
from k3os.config.value import Node, Value, Wrong

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.key import Key

EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
FORM = f"write `key=value:Effect`; effects: {', '.join(EFFECTS)}"


def taints(check: Check, key: Key, node: Node, path: str) -> Value:
    seen: dict[tuple[str, str], Value] = {}

    def one(item: Node, item_path: str) -> Value:
        if item.kind == "map":
            raise Wrong(item.place, "must be a text, not a map", _of_map(item))
        word = one_line(item, "a taint")
        name, _, effect = word.rpartition(":")
        if "," in word:
            raise Wrong(item.place, f"`{word}` is not a taint", "write each as an item of the list")
        if not name.partition("=")[0] or effect not in EFFECTS:
            raise Wrong(item.place, f"`{word}` is not a taint", _meant(name, effect))
        value = Value(word, item.place)
        first = seen.setdefault((name.partition("=")[0], effect), value)
        if first is not value:
            message = f"repeats the key and effect of another{first.place.as_first()}"
            check.warn(item.place, item_path, f"{message}; a node has one, this", "remove one")
        return value

    return each_of(check, node, path, one)


def _meant(name: str, effect: str) -> str:
    known = next((each for each in EFFECTS if each.lower() == effect.lower()), "")
    return f"write `{name}:{known}`" if known and name.partition("=")[0] else FORM


def _of_map(node: Node) -> str:
    """The text form of a taint that is written as in a Node object."""
    fields = {name.text: value.text for name, value in node.pairs}
    if not fields.get("key") or not fields.get("effect"):
        return FORM
    value = f"={fields['value']}" if fields.get("value") else ""
    return _meant(f"{fields['key']}{value}", fields["effect"])
