"""A text instead of a map: `name=value`, or several of these. Imported if there is one.

Lines are taken one by one, as in the environment files of systemd and containers. Any other
separator may belong to a value, so such a text is kept whole, with a warning.
"""

from __future__ import annotations

from k3os.config.scalars import scalar_text
from k3os.config.value import Node, Wrong

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.kinds import Check

NAME = r"[A-Za-z_][A-Za-z0-9_./-]*"


def of_text(check: Check, node: Node, path: str) -> list[tuple[Node, Node]]:
    text = scalar_text(node, "a map")
    pairs = _lines(check, node, path) if text.count("=") > 1 else []
    name, separator, rest = text.partition("=")
    if not separator or not name:
        raise Wrong(node.place, "must be a map, not a text", "write `name: value` lines")
    return [
        (Node("scalar", node.place, name), Node("scalar", node.place, rest))
        for name, rest in pairs or [(name, rest)]
    ]


def _lines(check: Check, node: Node, path: str) -> list[tuple[str, str]]:
    """The pairs of a text with one pair per line; [] for any other."""
    import re  # not in every boot

    lines = [line.strip() for line in node.text.split("\n")]
    lines = [line for line in lines if line and not line.startswith("#")]
    pairs = [(line.partition("=")[0], line.partition("=")[2]) for line in lines if "=" in line]
    are_lines = len(lines) > 1 and len(pairs) == len(lines)
    if not are_lines or not all(re.fullmatch(NAME, name) for name, _ in pairs):
        pairs = []
    names = [name for name, _ in pairs] or re.findall(rf"(?:^|[\s,;])({NAME})=", node.text)
    if len(names) > 1:
        message = f"holds several values in one text ({', '.join(names)})"
        check.warn(node.place, path, message, "write a line `name: value` for each")
    return pairs
