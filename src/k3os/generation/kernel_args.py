"""The kernel's arguments of a generation (k3os.kernel_args): in its manifest, and for GRUB.

GRUB reads them from ARGUMENTS in the generation's directory, an environment block (grubenv.py) of
any size: the menu uses one variable of it, and nothing in it is executed. The last word is the
number of the generation, so that the boot knows whose arguments it has (k3os.boot.init). What an
argument may be is decided elsewhere: k3os.config.kernel_args.
"""

from __future__ import annotations

import json
import os

from k3os.config.kernel_args import KEY
from k3os.generation import grubenv, manifest
from k3os.generation.layout import ARGUMENTS, ARGUMENTS_OF, SYSTEM
from k3os.system.files import atomic_write, durable_remove, read_object
from k3os.system.stamps import utc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

# in a manifest; in GRUB
RECORD, VARIABLE = "kernel_args", "k3os_args"
# arguments that did not come up, or that a user went back from: {kernel_args, when, reason}
REFUSED = "kernel-args-refused.json"
LONGEST = 2000


def of(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Those in a generation's manifest."""
    given = record.get(RECORD)
    return tuple(map(str, given)) if isinstance(given, list) else ()


def of_next_and_running(system: str, running: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Of the generation below a /k3os/system that boots next, and of the running one
    ("generations/3", "" if unknown)."""
    following, now = (
        of(manifest.read_record(f"{system}/{each}")) for each in ("current", running or "current")
    )
    return following, now


def shown(arguments: Iterable[str]) -> str:
    return " ".join(arguments) or f"none of {KEY}"


def of_config(text: bytes) -> tuple[str, ...]:
    """What a config.yaml asks for."""
    from k3os.config.check import check_text
    from k3os.config.load import Config

    return tuple(Config(check_text(text, "config.yaml")[0]).texts(KEY))


def into(record: Mapping[str, Any], arguments: Iterable[str]) -> dict[str, Any]:
    """A manifest with exactly these arguments."""
    rest = {name: value for name, value in record.items() if name != RECORD}
    return {**rest, **({RECORD: listed} if (listed := list(arguments)) else {})}


def write(directory: str, number: int, arguments: tuple[str, ...]) -> None:
    """Write the file that GRUB reads, in the directory of a generation that nothing points to yet;
    without arguments, none. Raises OSError."""
    if arguments:
        words = " ".join((*arguments, f"{ARGUMENTS_OF}={number}"))
        data = grubenv.HEADER + f"{VARIABLE}={words}\n".encode()
        atomic_write(f"{directory}/{ARGUMENTS}", data, sync=True)


def has_file(directory: str) -> bool:
    """Whether GRUB finds arguments in the directory of a generation."""
    return os.path.exists(f"{directory}/{ARGUMENTS}")


def refuse(root: str, arguments: tuple[str, ...], reason: str) -> None:
    """Remember on the writable state partition at root not to try these again."""
    record = {RECORD: list(arguments), "when": utc(), "reason": reason[:LONGEST]}
    path = f"{root}/{SYSTEM}/{REFUSED}"
    atomic_write(path, json.dumps(record, indent=1).encode() + b"\n", sync=True)


def refused(system: str) -> dict[str, Any]:
    """That record below a /k3os/system, {} for none."""
    record = read_object(f"{system}/{REFUSED}")
    return record if isinstance(record.get(RECORD), list) else {}


def forget_refusal(root: str) -> None:
    """Call this if other arguments are asked for, or the user wants to try these again."""
    durable_remove(f"{root}/{SYSTEM}/{REFUSED}")
