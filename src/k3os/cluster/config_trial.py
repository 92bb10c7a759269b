"""Keeps the fragment that a NodePool's new one replaced, until the new one has proved itself.

A new fragment is on trial like a new version: what takes effect at once must work, and if it needs
a reboot, that boot must be healthy. Otherwise the former one comes back. FRAGMENT_TRIAL, readable
only for root, is a JSON object; `former` is the text of the former fragment, null for none:

    {"request": "…", "former": "…", "attempts": 3, "seconds": 600, "reason": ""}
    {"request": "…", "restored": "2026-01-02T03:04:05Z", "reason": "…"}

root is the path prefix of /var: "" on the running node, <medium>/k3os/data in the early boot.
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
    """Call this before writing a new fragment. Raises OSError.

    If an earlier change was never completed, the former fragment it kept stays the one to restore.
    """
    record = _known(root)
    former = record["former"] if record else _text(root + FRAGMENT)
    _write(root, request, former=former, attempts=ATTEMPTS, seconds=int(seconds), reason="")


def is_on_trial(root: str = "") -> bool:
    return _known(root) is not None


def _known(root: str) -> dict[str, "Any"] | None:
    """The record of a trial; None if it was tampered with: that must not stop a boot."""
    record = read_object(root + FRAGMENT_TRIAL)
    kinds = {"request": str, "attempts": int, "seconds": int, "reason": str}
    if not all(isinstance(record.get(name), kind) for name, kind in kinds.items()):
        return None
    return record if "former" in record and isinstance(record["former"], str | None) else None


def taken_back(root: str = "") -> dict[str, "Any"]:
    """request, restored (RFC 3339) and reason of a fragment that was taken back, or {}."""
    record = read_object(root + FRAGMENT_TRIAL)
    return record if "restored" in record else {}


def attempt(root: str) -> int:
    """Count a boot with a fragment on trial; returns the seconds it has to become healthy.

    0: nothing is on trial, or no attempt was left and the former one is back. Raises OSError.
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
    """Let the next boot restore the former one, whatever attempts are left. Raises OSError."""
    record = _known(root)
    if record is not None:
        _write(root, **{**record, "attempts": 0, "reason": reason[:LONGEST]})


def restore(reason: str, root: str = "") -> None:
    """Restore the former one, if one is kept; can be repeated if interrupted. Raises OSError."""
    record = _known(root)
    if record is None:
        return
    text = record["former"]
    put(None if text is None else text.encode(errors="replace"), root + FRAGMENT)
    when = utc()
    _write(root, record["request"], restored=when, reason=reason[:LONGEST])


def confirm(root: str = "") -> None:
    """It has proved itself, or is as wanted: forget the former one. Raises OSError."""
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
