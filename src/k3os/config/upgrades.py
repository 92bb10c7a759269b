"""Remains of the original k3OS' upgrades: labels that select nodes, and Plans of its controller.

Only warnings: nothing reads them here. A NodePool replaces them.
"""

from __future__ import annotations

from k3os import names
from k3os.config.value import Problem, field_text, numbered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from k3os.config.value import Value

LABELS, FILES = "k3os.labels", "write_files"
PLANS = "plan.upgrade.cattle.io/"
# what selects the nodes, and the versions that they get
SPEC = (
    "nodeSelector: {matchLabels: {}}",
    "k3os: {channel: latest, url: ADDRESS-OF-THE-RELEASES}",
    "k3s: {channel: https://update.k3s.io/v1-release/channels/stable}",
)
NODEPOOL = (
    *(
        f"apiVersion: {names.GROUP}/{names.VERSION}",
        f"kind: {names.KIND}",
        "metadata: {name: all}",
        "spec:",
    ),
    *(f"  {line}" for line in SPEC),
)
HINT = f"a NodePool does this: spec: {{{', '.join(SPEC)}}}"


def is_for_upgrades(label: str) -> bool:
    """Whether a label was meant for the upgrade controller."""
    return label == f"{names.GROUP}/upgrade" or label.startswith(PLANS)


def leftovers(values: dict[str, Value]) -> Iterator[Problem]:
    """A warning for each such label and Plan."""
    labels = values[LABELS].data if LABELS in values else {}
    for name, value in labels.items() if isinstance(labels, dict) else ():
        if is_for_upgrades(name):
            message = (
                "is a label for the upgrade controller of the original k3OS; nothing reads it here"
            )
            yield Problem(value.place, f"{LABELS}.{name}", message, HINT, is_error=False)
    for index, item in numbered(values.get(FILES)):
        entry = item.data if isinstance(item.data, dict) else {}
        text = field_text(entry, "content")
        if "upgrade.cattle.io/" in text and "kind: Plan" in text:
            message = (
                "is a Plan of the upgrade controller, which can change no k3OS and no k3s here"
            )
            place = entry["content"].place
            yield Problem(place, f"{FILES}[{index}].content", message, HINT, is_error=False)
