"""A configuration that somebody tries on a node: what it replaced comes back unless it is kept.

TRIED, for root alone, is a JSON object; `former` is what was at `place`, a character for each byte,
null for none:

    {"place": "/var/lib/rancher/k3os/config.yaml", "former": "…", "restart": false}

root is what stands before /var: "" on the running node, <medium>/k3os/data in the early boot.
"""

import json
import os

from k3os.paths import TRIED
from k3os.system.files import atomic_write, durable_remove, read_object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

BYTES = "latin-1"  # any bytes are a text in it


def known(root: str = "") -> dict[str, "Any"]:
    """The record, {} for none; one that somebody changed is none: it must not stop a boot."""
    record = read_object(root + TRIED)
    place, former = record.get("place"), record.get("former", 0)
    return record if isinstance(place, str) and isinstance(former, str | None) else {}


def begin(place: str, data: bytes, *, restart: bool = False) -> None:
    """Put data at place. restart: k3s is restarted for it, and again when it goes. Raises OSError;
    a power cut at any moment leaves a record of what was there, or everything as it was."""
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
    """Bring back what was there: the place, "" when nothing is tried. Raises OSError; called again
    it goes on."""
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
    """What is tried stays: its place, "" when nothing is tried. Raises OSError."""
    place = str(known().get("place", ""))
    durable_remove(TRIED)
    return place
