"""Values that mean something else here than their author meant. Imported where one may be."""

from __future__ import annotations

from k3os.config.scalars import Wrong

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from k3os.config.value import Node

# what templates leave behind where nobody filled them in: Terraform, Jinja and Helm, Packer, ERB
MARKS = ("${", "{{", "{%", "%{", "<%")
TEMPLATE, FILL_IN = "is a template that nobody filled in", "fill it in before k3OS reads it"


def cause(wrong: Wrong, node: Node) -> Wrong:
    """The same, or the reason why something that looks like it cannot be used."""
    for each in _scalars(node):
        if each.place is wrong.place and any(mark in each.text for mark in MARKS):
            return Wrong(wrong.place, TEMPLATE, FILL_IN)
        if each.place is wrong.place and "$(" in each.text:
            return Wrong(wrong.place, wrong.message, "no shell reads it: write the value itself")
    return wrong


def _scalars(node: Node) -> Iterator[Node]:
    todo = [node]
    while todo:
        node = todo.pop()
        todo += [*node.items, *(value for _, value in node.pairs)]
        if node.kind == "scalar":
            yield node


def refuse_colon(item: Node) -> None:
    """`- echo a: b` is a map to YAML."""
    name, value = item.pairs[0]
    if {name.kind, value.kind} == {"scalar"} and len(name.text) < 40 and "'" not in name.text:
        hint = f"put the line in quotes: `- '{name.text}: …'`"
        raise Wrong(item.place, "is a map because of its `: `", hint)


def refuse_source(node: Node) -> None:
    """cloud-init fetches `source`; without it the file would be empty."""
    for name, _ in node.pairs:
        if name.text == "source":
            hint = "give its content, or fetch it in run_cmd"
            raise Wrong(name.place, "is left out: k3OS fetches no file from a source", hint)
