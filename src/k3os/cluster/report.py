"""What a node says of itself in the cluster: labels, annotations, the condition K3OSHealthy.

Built from what `k3os status` collects. It sends nothing.
"""

from __future__ import annotations

import json

from k3os.cluster import names
from k3os.cluster.former import FRAGMENT
from k3os.cluster.impact import fragment_hash
from k3os.system.files import read_object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LONGEST = 1000
# of a result, what others may see
TOLD = ("request", "state", "message", "when")


def fragment(root: str = "") -> dict[str, Any]:
    """The part of the configuration that a NodePool gave this node, {} for none."""
    return read_object(root + FRAGMENT)


def metadata(
    status: dict[str, Any], own_labels: dict[str, str], result: dict[str, Any], root: str = ""
) -> dict[str, Any]:
    """A merge patch of the Node. own_labels: k3os.labels, which k3s sets only when it registers.

    result: of the last request, {} for none.
    """
    from k3os.phases.k3s import label_value

    running = status["versions"]["running"]
    labels = {
        **own_labels,
        names.MODE_LABEL: label_value(str(status.get("mode", "unknown"))),
        names.VERSION_LABEL: label_value(running["k3os"]),
    }
    notes = {
        names.K3OS: running["k3os"],
        names.KERNEL: running["kernel"],
        names.K3S: running.get("k3s", ""),
        names.CONFIG_HASH: fragment_hash(fragment(root)),
        names.BOOT_ID: status["boot_id"],
        names.TRIAL: "true" if status["on_trial"] else "false",
    }
    if result:
        told = {name: result.get(name, "") for name in TOLD}
        notes[names.LAST_RESULT] = json.dumps(told)
    return {"metadata": {"labels": labels, "annotations": notes}}


def condition(
    status: dict[str, Any], failures: list[str], now: str, before: dict[str, str]
) -> dict[str, str]:
    """K3OSHealthy. failures: lines of `k3os status`; now: RFC 3339; before: the last one sent."""
    if failures:
        more = f" (and {len(failures) - 3} more)" if len(failures) > 3 else ""
        damaged = status.get("verified", {}).get("damaged")
        reason, text = "Damaged" if damaged else "NotApplied", "; ".join(failures[:3]) + more
    elif rollback := status.get("rollback"):
        listed = " ".join(f"{part} {version}" for part, version in rollback["failed"].items())
        reason, text = "RolledBack", f"{listed} did not come up: {rollback['reason']}"
    elif status.get("clock_in_doubt"):
        reason, text = "ClockInDoubt", "no time server has answered since the boot"
    else:
        reason, text = "AsConfigured", "everything was applied"
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
