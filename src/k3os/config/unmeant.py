"""Values that mean something else here than their author meant. Imported where one may be."""

from __future__ import annotations

from k3os.config.scalars import Wrong

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.value import Node


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
