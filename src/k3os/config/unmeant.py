"""Values that mean something else here than their author meant. Imported where one may be."""

from __future__ import annotations

from k3os.config.unknown import hidden_in
from k3os.config.value import Wrong

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from k3os.config.value import Node

# what templates leave behind where nobody filled them in: Terraform, Jinja and Helm, Packer, ERB
MARKS = ("${", "{{", "{%", "%{", "<%")
# of a variable in a shell, and what may stand behind it; those of templates are in small letters
NAME = r"[A-Z_][A-Z0-9_]*(:?[-=+?].*)?"
# what ssh_authorized_keys names an account of
FORGES = ("github", "gh", "gitlab")
TEMPLATE, FILL_IN = "is a template that nobody filled in", "fill it in before k3OS reads it"


def cause(wrong: Wrong, node: Node) -> Wrong:
    """The same, or the reason why something that looks like it cannot be used."""
    for each in _scalars(node):
        if each.place is not wrong.place or "no shell" in wrong.hint or "/home" in wrong.hint:
            continue
        if any(mark in each.text for mark in MARKS[1:]) or is_template(each.text):
            return Wrong(wrong.place, TEMPLATE, FILL_IN)
        if "$(" in each.text or "${" in each.text:
            return Wrong(wrong.place, wrong.message, "no shell reads it: write the value itself")
        if hidden := hidden_in(each.text):
            return Wrong(wrong.place, wrong.message, f"there is {hidden} in it: type it again")
    return wrong


def is_template(text: str) -> bool:
    """Whether a program was to replace a `${…}`, rather than a shell."""
    import re

    match = re.search(r"\$\{([^}]*)\}", text)
    return match is not None and not re.fullmatch(NAME, match[1])


def _scalars(node: Node) -> Iterator[Node]:
    todo = [node]
    while todo:
        node = todo.pop()
        todo += [*node.items, *(value for _, value in node.pairs)]
        if node.kind == "scalar":
            yield node


def refuse(item: Node) -> None:
    """`- echo a: b` is a map to YAML, and `'["a", "b"]'` a text."""
    if item.kind == "scalar" and item.text.rstrip().endswith("]"):
        raise Wrong(item.place, "is a list in quotes", "write it without the quotes")
    if len(item.pairs) != 1:
        return
    name, value = item.pairs[0]
    if name.kind != "scalar" or value.kind not in ("scalar", "null"):
        return
    hint = "put the line in quotes"
    if name.text.startswith("-"):
        hint = f"write `{name.text}=…`"
    elif name.text.lower() in FORGES:
        hint = f"write `{name.text}:{value.text or 'NAME'}`, without a blank"
    elif len(name.text) < 40 and "'" not in name.text:
        hint = f"put the line in quotes: `- '{name.text}: …'`"
    raise Wrong(item.place, "is a map because of its `: `", hint)


def refuse_source(node: Node) -> None:
    """cloud-init fetches `source`; without it the file would be empty."""
    for name, _ in node.pairs:
        if name.text == "source":
            hint = "give its content, or fetch it in run_cmd"
            raise Wrong(name.place, "is left out: k3OS fetches no file from a source", hint)
