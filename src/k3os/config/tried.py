"""A configuration that somebody tries on a node: unless it is kept, the former one comes back.

TRIED, readable by root only, is a JSON object; `former` is what was at `place`, one character per
byte, null if it did not exist:

    {"place": "/var/lib/rancher/k3os/config.yaml", "former": "…", "restart": false}

root is the prefix of /var: "" on the running node, <medium>/k3os/data in the early boot.
"""

import json
import os

from k3os.paths import TRIED
from k3os.system.files import atomic_write, durable_remove, read_object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

BYTES = "latin-1"  # can represent any bytes


def known(root: str = "") -> dict[str, "Any"]:
    """The record, {} if there is none or it is damaged: that must not stop a boot."""
    record = read_object(root + TRIED)
    place, former = record.get("place"), record.get("former", 0)
    return record if isinstance(place, str) and isinstance(former, str | None) else {}


def begin(place: str, data: bytes, *, restart: bool = False) -> None:
    """Put data at place. restart: restart k3s for it, and again when it is taken back. Raises
    OSError; a power cut at any moment leaves a record of the former file, or no change at all."""
    try:
        with open(place, "rb") as file:
            former = file.read().decode(BYTES)
    except FileNotFoundError:
        former = None
    record = json.dumps({"place": place, "former": former, "restart": restart})
    os.makedirs(os.path.dirname(TRIED), exist_ok=True)
    atomic_write(TRIED, record.encode() + b"\n", mode=0o600, sync=True)
    os.makedirs(os.path.dirname(place), mode=0o700, exist_ok=True)
    atomic_write(place, data, mode=0o600, sync=True)


def restore(root: str = "") -> str:
    """Bring the former file back; returns its place, "" if nothing is tried. Raises OSError; call
    it again to continue."""
    record = known(root)
    if not record:
        return ""
    place, former = record["place"], record["former"]
    if former is None:
        durable_remove(root + place)
    else:
        atomic_write(root + place, former.encode(BYTES, "replace"), mode=0o600, sync=True)
    durable_remove(root + TRIED)
    return str(place)


def keep() -> str:
    """Keep what is tried; returns its place, "" if nothing is tried. Raises OSError."""
    place = str(known().get("place", ""))
    durable_remove(TRIED)
    return place
