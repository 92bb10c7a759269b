"""Values that do not mean what their author intended. Imported if there may be one."""

from __future__ import annotations

from k3os.config.unknown import hidden_in
from k3os.config.value import Wrong

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from k3os.config.value import Node

# traces of templates that were not filled in: Terraform, Jinja and Helm, Packer, ERB
MARKS = ("${", "{{", "{%", "%{", "<%")
# a shell variable and what may follow it; those of templates are in lower case
NAME = r"[A-Z_][A-Z0-9_]*(:?[-=+?].*)?"
# prefixes for accounts in ssh_authorized_keys
FORGES = ("github", "gh", "gitlab")
TEMPLATE, FILL_IN = "is a template that nobody filled in", "fill it in before k3OS reads it"


def cause(wrong: Wrong, node: Node) -> Wrong:
    """The same error, or the reason why a value that looks right cannot be used."""
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
    """Whether `${…}` was meant for a template program, not for a shell."""
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
    """For YAML, `- echo a: b` is a map, and `'["a", "b"]'` a text."""
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
    """cloud-init fetches `source`; here the file would be empty."""
    for name, _ in node.pairs:
        if name.text == "source":
            hint = "give its content, or fetch it in run_cmd"
            raise Wrong(name.place, "is left out: k3OS fetches no file from a source", hint)
