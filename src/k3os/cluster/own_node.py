"""What a node reports to the cluster: labels, annotations, the condition K3OSHealthy.

Built from what `k3os status` collects. It sends nothing.
"""

from __future__ import annotations

import json
import os

from k3os import names
from k3os.cluster.config_trial import FRAGMENT
from k3os.cluster.impact import canonical, fragment_hash
from k3os.cluster.node_status import DISK
from k3os.paths import STATE
from k3os.system.files import text_of
from k3os.system.json_text import an_object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from k3os.cluster.node_status import Failure, NodeStatus

# first line of a fragment with secrets: the hash by which the cluster knows it, and its own hash
HASH_COMMENT = "# config-hash: "
EDITED = "edited"  # instead of a hash: somebody edited the fragment
LONGEST = 1000
# the parts of a result that others may see
TOLD = ("request", "state", "message", "when")
# our labels that do not come from the configuration
TOLD_LABELS = (names.MODE_LABEL, names.VERSION_LABEL, names.OPERATOR_LABEL)
# names of k3os.labels that we set on the Node, one per line
LABELS = f"{STATE}/labels"


def fragment(root: str = "") -> dict[str, Any]:
    """The part of the configuration that a NodePool gave this node, {} for none."""
    return _split(root)[1]


def fragment_text(config: dict[str, Any], given: str) -> bytes:
    """The contents of a fragment's file. given: the hash by which the cluster knows it, "" for its
    own; with secrets in it, its own hash would let others guess them."""
    head = f"{HASH_COMMENT}{given} {fragment_hash(config)}\n" if given else ""
    return head.encode() + canonical(config)


def hash_of_fragment(root: str = "") -> str:
    """The hash by which the cluster knows the fragment, "" for none."""
    given, found = _split(root)
    own = fragment_hash(found)
    if not given:
        return own
    name, _, content = given.partition(" ")
    return name if content == own else EDITED


def _split(root: str) -> tuple[str, dict[str, Any]]:
    """The content of the first line, "" if there is none, and the fragment."""
    text = text_of(root + FRAGMENT)
    first, _, rest = text.partition("\n")
    given = first.removeprefix(HASH_COMMENT) if first.startswith(HASH_COMMENT) else ""
    try:
        return given, an_object(rest if given else text)
    except ValueError:
        return "", {}


def labels(own: dict[str, str], *, sure: bool = True, root: str = "") -> dict[str, str | None]:
    """k3os.labels for a merge patch; labels that left the configuration are removed, since k3s
    removes none. sure: the configuration has no error, so a missing label was really removed."""
    try:
        with open(root + LABELS, errors="replace") as file:
            known = file.read().split()
    except FileNotFoundError:
        known = []
    gone: dict[str, str | None] = dict.fromkeys(known) if sure else {}
    return {**gone, **own}


def remember_labels(sent: dict[str, str | None], root: str = "") -> None:
    """Call it after the API server has accepted these. Raises OSError."""
    from k3os.system.files import atomic_write

    before = set(labels({}, root=root))
    own = {name for name in sent if name not in TOLD_LABELS}
    wanted = {name for name in before | own if sent.get(name, "") is not None}
    if wanted != before:
        os.makedirs(os.path.dirname(root + LABELS), exist_ok=True)
        atomic_write(root + LABELS, "".join(f"{name}\n" for name in sorted(wanted)).encode())


def image(root: str = "") -> str | None:
    """The operator's image in this node's k3s, by digest; None for none, "" for not yet: k3s may
    still have the one of an earlier boot, which the Node names."""
    from k3os.phases.operator import IMAGE_ID
    from k3os.phases.operator_room import IMPORTED, LINK

    try:
        with open(root + IMAGE_ID, errors="replace") as file:
            known = file.read().strip()
    except FileNotFoundError:
        return None
    if not os.path.islink(root + LINK):
        return None
    return known if text_of(root + IMPORTED) == known else ""


def _of_operator(root: str) -> dict[str, str | None]:
    """Whether pods of the operator may run here; k3s sets the label only when it starts."""
    from k3os.phases.operator import IMAGE_ID
    from k3os.phases.operator_room import LINK

    if not os.path.exists(root + IMAGE_ID):
        return {}
    return {names.OPERATOR_LABEL: "true" if os.path.islink(root + LINK) else "false"}


def metadata(
    status: NodeStatus,
    own_labels: dict[str, str | None],
    result: dict[str, Any],
    root: str = "",
) -> dict[str, Any]:
    """A merge patch of the Node. own_labels: of `labels`; k3s sets them only when it registers.

    result: of the last request, {} for none.
    """
    from k3os.phases.k3s import label_value

    running, has_image = status.running, image(root)
    told_labels = {
        **_of_operator(root),
        **own_labels,
        names.MODE_LABEL: label_value(status.mode or "unknown"),
        names.VERSION_LABEL: label_value(running["k3os"]),
    }
    notes = {
        names.K3OS: running["k3os"],
        names.KERNEL: running["kernel"],
        names.K3S: running.get("k3s", ""),
        names.CONFIG_HASH: hash_of_fragment(root),
        names.BOOT_ID: status.boot_id,
        names.TRIAL: "true" if status.on_trial else "false",
        names.EXTENSIONS: _extensions(status.extensions.active),
        **({names.IMAGE: has_image} if has_image != "" else {}),
    }
    if result:
        told = {name: result.get(name, "") for name in TOLD}
        notes[names.LAST_RESULT] = json.dumps(told)
    return {"metadata": {"labels": told_labels, "annotations": notes}}


def _extensions(active: dict[str, str]) -> str | None:
    """None takes the annotation away."""
    listed = (f"{name}={version}" if version else name for name, version in active.items())
    return ",".join(listed)[:LONGEST] or None


def condition(
    status: NodeStatus, failures: list[Failure], now: str, before: dict[str, str]
) -> dict[str, str]:
    """K3OSHealthy. failures: of `k3os status`; now: RFC 3339; before: the last one sent."""
    reason, text = _reason(status, failures)
    state = "True" if reason == "AsConfigured" else "False"
    since = before.get("lastTransitionTime") if before.get("status") == state else None
    return {
        "type": names.CONDITION,
        "status": state,
        "reason": reason,
        "message": text[:LONGEST],
        "lastHeartbeatTime": now,
        "lastTransitionTime": since or now,
    }


def _reason(status: NodeStatus, failures: list[Failure]) -> tuple[str, str]:
    """A reason of the condition, and its message."""
    first = failures[:3]
    others = [str(each) for each in first if each.topic != DISK]
    disk = status.disk
    if disk and disk.errors:
        return "DiskErrors", "; ".join([disk.errors, *others])
    if disk and disk.is_full:
        return "DiskFull", "; ".join([disk.words, *others])
    if failures:
        more = f" (and {len(failures) - 3} more)" if len(failures) > 3 else ""
        text = "; ".join(map(str, first)) + more
        return "Damaged" if status.verified.damaged else "NotApplied", text
    if rollback := status.rollback:
        listed = " ".join(f"{part} {version}" for part, version in rollback.failed.items())
        return "RolledBack", f"{listed} did not come up: {rollback.reason}"
    if status.clock_in_doubt:
        return "ClockInDoubt", "no time server has answered since the boot"
    low = f", but {disk.words}" if disk and disk.level else ""
    return "AsConfigured", f"everything was applied{low}"
