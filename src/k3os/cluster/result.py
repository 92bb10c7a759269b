"""The result of a request: kept over the reboot, and completed from the node's state after it.

The record is RESULT, a JSON object; `k3os report` publishes it. wanted: component to version;
boot: id of the boot it was written in.
"""

from __future__ import annotations

import json
import os

from k3os import names
from k3os.paths import STATE
from k3os.system.files import atomic_write, read_object
from k3os.system.stamps import utc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from k3os.cluster.node_status import NodeStatus

RESULT = f"{STATE}/last-result.json"
LONGEST = 1000


def record(
    request: str, state: str, message: str, boot: str, wanted: dict[str, str] | None = None
) -> dict[str, Any]:
    return {
        "request": request,
        "state": state,
        "message": message[:LONGEST],
        "when": utc(),
        "boot": boot,
        "wanted": wanted or {},
    }


def read(path: str = RESULT) -> dict[str, Any]:
    """{} if there is none, or it was tampered with."""
    record = read_object(path)
    wanted = record.get("wanted")
    return record if isinstance(wanted, dict) and _are_texts(record) and _are_texts(wanted) else {}


def _are_texts(record: dict[str, Any]) -> bool:
    return all(isinstance(text, str) for name, text in record.items() if name != "wanted")


def write(record: dict[str, Any], path: str = RESULT) -> None:
    """Raises OSError."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    atomic_write(path, json.dumps(record).encode() + b"\n", mode=0o600, sync=True)


def completed(before: dict[str, Any], status: NodeStatus, boot: str) -> dict[str, Any]:
    """The same record, or after the announced reboot a new one that says how it went.

    While the new version is on trial, the result is open.
    """
    known = before.get("state") == names.REBOOTING and "request" in before
    if not known or before.get("boot") == boot or status.on_trial:
        return before
    running, wanted = status.running, before.get("wanted") or {}
    missing = {name: text for name, text in wanted.items() if running.get(name) != text}
    rollback, taken = status.rollback, status.taken_back
    if taken and taken.request == before["request"]:
        state, message = names.ROLLED_BACK, taken.reason
    elif not missing:
        state, message = names.SUCCEEDED, "it runs after the reboot"
    elif rollback and rollback.when >= before.get("when", ""):
        state, message = names.ROLLED_BACK, rollback.reason
    else:
        listed = ", ".join(
            f"{name} is {running.get(name, 'unknown')}, not {text}"
            for name, text in missing.items()
        )
        state, message = names.FAILED, f"after the reboot {listed}"
    return record(before["request"], state, message, boot, wanted)
