"""A new generation is on trial until a boot of it was healthy; else the previous one comes back.

GRUB counts the attempts in its environment block (grub.menu), and tells each boot on the kernel
command line that it is on trial, or that the previous generation should become the current one. On
top of another system (mode overlay) the first stage does the same, with the same block. This
module keeps the record of both; `root` is where the state partition is mounted, writable.
"""

from __future__ import annotations

import json

from k3os.errors import UserError
from k3os.generation import extensions, grubenv, kernel_args, switching
from k3os.generation.layout import GENERATIONS, LINKS, SYSTEM, link
from k3os.generation.manifest import read_record, versions_of
from k3os.system.files import atomic_write, durable_remove, text_of
from k3os.system.stamps import utc

GENERATION, TRIES, SECONDS = "k3os_trial", "k3os_tries", "k3os_timeout"
DEFAULT_SECONDS = 600
ATTEMPTS = 3
# kernel parameters that GRUB adds
ON_TRIAL, GO_BACK = "k3os.trial", "k3os.rollback"
FAILURE, ROLLBACK = f"{SYSTEM}/trial-failure", f"{SYSTEM}/rollback.json"
UNKNOWN = "it never came to its end: a panic, a hang, or no power"
LONGEST = 2000


def begin(root: str, generation: str, seconds: float) -> None:
    """From the next boot on, a generation ("generations/2") is on trial.

    seconds: how long a boot of it has to become healthy.
    """
    forget_failure(root)
    durable_remove(f"{root}/{ROLLBACK}")
    number = generation.rpartition("/")[2]
    variables = {GENERATION: number, TRIES: str(ATTEMPTS), SECONDS: f"{seconds:.0f}"}
    grubenv.write(root, variables)


def on_trial(root: str) -> str:
    """The generation on trial, "generations/2", or ""."""
    number = grubenv.read(root).get(GENERATION, "")
    return f"{GENERATIONS}/{number}" if number else ""


def waits(root: str, running: str) -> bool:
    """Whether the generation on trial boots next, but does not run: after a power cut, GRUB had not
    seen it yet."""
    tried = on_trial(root)
    return bool(tried) and running not in ("", tried) and link(f"{root}/{SYSTEM}/current") == tried


def confirm(root: str) -> None:
    """It is healthy and boots from now on."""
    if grubenv.write(root, {GENERATION: "", TRIES: "", SECONDS: ""}):
        switching.flush_journal(root)  # else GRUB may count in a block that was freed
    forget_failure(root)


def fail(root: str, reason: str) -> None:
    """Make GRUB start the previous generation at the next boot, whatever attempts are left."""
    atomic_write(f"{root}/{FAILURE}", reason[:LONGEST].encode() + b"\n", sync=True)
    grubenv.write(root, {TRIES: "0"})
    switching.flush_journal(root)  # the machine may restart without unmounting


def go_back(root: str) -> str:
    """Make the previous generation the current one and record it; returns a message.

    Raises UserError if there is nothing to go back to.
    """
    system = f"{root}/{SYSTEM}"
    current, previous = (link(f"{system}/{name}") for name in LINKS)
    failed = on_trial(root) or current
    # after a power cut between the two links, `current` is right already
    good = previous if current == failed else current
    if good in ("", failed):
        raise UserError(
            f"{failed} did not come up, and there is nothing to go back to",
            "boot the ISO and install again with no_format, which keeps the data",
        )
    reason = text_of(f"{root}/{FAILURE}") or UNKNOWN
    bad, back_to = (read_record(f"{system}/{each}") for each in (failed, good))
    record = {
        "when": utc(),
        "failed": versions_of(bad),
        "back_to": versions_of(back_to),
        "reason": reason,
    }
    if (arguments := kernel_args.of(bad)) != kernel_args.of(back_to):
        # they may be the reason: else the next boot would create the same generation again
        kernel_args.refuse(root, arguments, reason)
        record[kernel_args.RECORD] = list(arguments)
    if (gone := extensions.of(bad)) != extensions.of(back_to):
        record[extensions.PLACE] = extensions.shown(gone)
    atomic_write(f"{root}/{ROLLBACK}", json.dumps(record, indent=1).encode() + b"\n", sync=True)
    switching.exchange(system, good, failed, lambda: confirm(root))
    return f"{failed} did not come up, back to {good}: {reason}"


def forget_failure(root: str) -> None:
    durable_remove(f"{root}/{FAILURE}")
