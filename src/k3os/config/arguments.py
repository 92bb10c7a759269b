"""Arguments of k3s of which several stand in one text: each is taken for itself, with a warning.

The service script of the k3OS of old was a shell's, which split them.
"""

from __future__ import annotations

from k3os.config.k3s_flags import masked
from k3os.config.kinds import Check, items_of
from k3os.config.value import Node


def separate(check: Check, node: Node, path: str) -> Node:
    """The arguments of which several stand in one text, each for itself."""
    separate = Node("list", node.place)
    for index, item in enumerate(items_of(node)):
        words = several(item.text) if item.kind == "scalar" else []
        separate.items += [Node("scalar", item.place, word) for word in words] or [item]
        if words:
            message = "holds several arguments in one text; each is taken for itself"
            listed = ", ".join(f'"{word}"' for word in masked(words))
            check.warn(item.place, f"{path}[{index}]", message, f"write [{listed}]")
    return separate


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text


def several(text: str) -> list[str]:
    """The arguments of a text that holds more than one, split as a shell does; [] when it is one.

    What is in $(…) or `…` stays together: it is no argument, and the check says so.
    """
    text = text.replace("\\\n", " ").strip()
    first, _, rest = text.partition(" ")
    if "\n" not in text and (" --" not in text or "extraArgs=" in text):
        if first.startswith("-") and "=" not in first and rest:
            return [first, _unquoted(rest.strip())]  # its value may have blanks
        if first not in ("server", "agent", "k3s") or not rest:
            return []
    import re
    import shlex

    kept: list[str] = []

    def keep(found: re.Match[str]) -> str:
        kept.append(found[0])
        return f"\0{len(kept) - 1}\0"

    closed = re.sub(r"\$\([^()]*\)|`[^`]*`", keep, text.replace("\0", ""))
    try:
        words = shlex.split(closed)
    except ValueError:  # a quote that is not closed
        words = closed.split()
    words = [re.sub("\0([0-9]+)\0", lambda found: kept[int(found[1])], word) for word in words]
    return words[1:] if words[:1] == ["k3s"] else words
