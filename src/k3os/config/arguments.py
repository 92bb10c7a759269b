"""Arguments of k3s with several in one text: they are split, with a warning.

The service script of the original k3OS was a shell script, which split them.
"""

from __future__ import annotations

from k3os.config.k3s_flags import masked
from k3os.config.scalars import items_in
from k3os.config.value import Node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.kinds import Check

NODE_NAME = "--node-name"
# how an argument begins, or what comes before the first one
FIRST = ("-", *(word + blank for word in ("server", "agent", "k3s") for blank in " \n"))
# what a shell would have replaced by the host name
HOSTNAME = r"\$HOSTNAME|\$\{HOSTNAME\}|\$\(hostname( -[a-z])?\)|`hostname( -[a-z])?`"
HOSTNAME += r"|\$\(cat /etc/hostname\)"


def separate(check: Check, node: Node, path: str) -> Node:
    """The arguments, with texts that contain several split into one item each."""
    separate = Node("list", node.place)
    before = ""
    for index, item in items_in(node):
        words = several(item.text, before) if item.kind == "scalar" else []
        before = (words or [item.text])[-1]
        nodes = [Node("scalar", item.place, word) for word in words] or [item]
        if words:
            message = "holds several arguments in one text; each is taken for itself"
            listed = ", ".join(f'"{word}"' for word in masked(words))
            check.warn(item.place, f"{path}[{index}]", message, f"write [{listed}]")
        separate.items += nodes
    if any("hostname" in item.text.lower() for item in separate.items):
        separate.items = _without_hostname(check, separate.items, path)
    return separate


def _without_hostname(check: Check, items: list[Node], path: str) -> list[Node]:
    """Drop `--node-name=$HOSTNAME`: no shell expands it, k3s refuses it, and it is the default."""
    import re

    kept: list[Node] = []
    for item in items:
        flag, equals, name = item.text.partition("=")
        pair = not equals and bool(kept) and kept[-1].text == NODE_NAME
        if not re.fullmatch(HOSTNAME, name if flag == NODE_NAME else item.text if pair else ""):
            kept.append(item)
            continue
        place, text = item.place, item.text
        if pair:
            place, text = kept.pop().place, f"{NODE_NAME} {text}"
        message = f"`{text}` is left out: the node is named after its host in any case"
        check.warn(place, path, message, "remove it")
    return kept


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text


def _kind(flag: str) -> str | None:
    """Flag.kind of k3s_table, which is imported only for texts with blanks; None: unknown."""
    from k3os.config.k3s_table import flags

    known = flags("server").get(flag.lstrip("-"))
    return known.kind if known is not None else None


def _takes(before: str, text: str) -> bool:
    """Whether a text is the value of the argument before it."""
    if not before.startswith("-") or text.startswith("-"):
        return False
    return _kind(before) in ("", "*")


def several(text: str, before: str = "") -> list[str]:
    """The arguments in a text that contains more than one, split as by a shell; [] if it is only
    one, or the value of the flag before it.

    $(…) and `…` stay in one piece: they are not valid arguments, and the check reports them.
    """
    text = text.replace("\\\n", " ").strip()
    if not text.startswith(FIRST) or _takes(before, text):
        return []  # a value, perhaps a secret
    first, _, rest = text.partition(" ")
    if "\n" not in text and (" --" not in text or "extraArgs=" in text):
        if first.startswith("-") and "=" not in first and rest:
            if _kind(first) == "?":
                return [first, *(several(rest) or rest.split())]
            return [first, _unquoted(rest.strip())]  # its value may contain blanks
        if first.startswith("-") or not rest:
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
    except ValueError:  # an unclosed quote
        words = closed.split()
    words = [re.sub("\0([0-9]+)\0", lambda found: kept[int(found[1])], word) for word in words]
    return words[1:] if words[:1] == ["k3s"] else words
