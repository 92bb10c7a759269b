"""The part of the configuration that a NodePool's new one replaced, until that has proved itself.

A new fragment is on trial as a new version is: what it changed at once must work, and the boot
that it asks for must be healthy. Else the one before it comes back. FRAGMENT_TRIAL, for root alone,
is a JSON object; `former` is the text of that fragment, null for none:

    {"request": "…", "former": "…", "attempts": 3, "seconds": 600, "reason": ""}
    {"request": "…", "restored": "2026-01-02T03:04:05Z", "reason": "…"}

root is what stands before /var: "" on the running node, <medium>/k3os/data in the early boot.
"""

import json
import os

from k3os.paths import FRAGMENT_TRIAL, STATE
from k3os.system.files import atomic_write, durable_remove, read_object
from k3os.system.stamps import utc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FRAGMENT = f"{STATE}/config.d/80-nodepool.yaml"
ATTEMPTS = 3
UNKNOWN = "no boot with it came to its end: a panic, a hang, or no power"
LONGEST = 2000


def begin(request: str, seconds: float, root: str = "") -> None:
    """Before a new fragment is written. Raises OSError.

    What a change that never came to its end kept stays what is gone back to.
    """
    record = _known(root)
    former = record["former"] if record else _text(root + FRAGMENT)
    _write(root, request, former=former, attempts=ATTEMPTS, seconds=int(seconds), reason="")


def is_on_trial(root: str = "") -> bool:
    return _known(root) is not None


def _known(root: str) -> dict[str, "Any"] | None:
    """The record of a trial; one that somebody changed is none: it must not stop a boot."""
    record = read_object(root + FRAGMENT_TRIAL)
    kinds = {"request": str, "attempts": int, "seconds": int, "reason": str}
    if not all(isinstance(record.get(name), kind) for name, kind in kinds.items()):
        return None
    return record if "former" in record and isinstance(record["former"], str | None) else None


def taken_back(root: str = "") -> dict[str, "Any"]:
    """request, restored (RFC 3339) and reason of a fragment that did not prove itself, or {}."""
    record = read_object(root + FRAGMENT_TRIAL)
    return record if "restored" in record else {}


def attempt(root: str) -> int:
    """Count a boot of a fragment on trial: in how many seconds it must be healthy.

    0: nothing is on trial; or no attempt was left, and the former one is back. Raises OSError.
    """
    record = _known(root)
    if record is None:
        return 0
    if record["attempts"] <= 0:
        restore(record["reason"] or UNKNOWN, root)
        return 0
    _write(root, **{**record, "attempts": record["attempts"] - 1})
    return int(record["seconds"])


def fail(reason: str, root: str = "") -> None:
    """Let the next boot take the former one, whatever attempts are left. Raises OSError."""
    record = _known(root)
    if record is not None:
        _write(root, **{**record, "attempts": 0, "reason": reason[:LONGEST]})


def restore(reason: str, root: str = "") -> None:
    """Bring the former one back, if one is kept. Raises OSError; called again it goes on."""
    record = _known(root)
    if record is None:
        return
    text = record["former"]
    put(None if text is None else text.encode(errors="replace"), root + FRAGMENT)
    when = utc()
    _write(root, record["request"], restored=when, reason=reason[:LONGEST])


def confirm(root: str = "") -> None:
    """It has proved itself, or is as wanted: there is nothing to remember. Raises OSError."""
    durable_remove(root + FRAGMENT_TRIAL)


def put(data: bytes | None, path: str) -> None:
    """Write a fragment, or remove it for None. Raises OSError."""
    if data is None:
        durable_remove(path)
        return
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    atomic_write(path, data, mode=0o600, sync=True)


def _text(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return None


def _write(root: str, request: str, **more: object) -> None:
    data = json.dumps({"request": request, **more}).encode() + b"\n"
    os.makedirs(os.path.dirname(root + FRAGMENT_TRIAL), exist_ok=True)
    atomic_write(root + FRAGMENT_TRIAL, data, mode=0o600, sync=True)
