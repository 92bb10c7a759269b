"""Carrying an upgrade out: the only place that writes to a disk k3OS runs from.

The order makes a power cut cheap: new files beside the old ones, read back from the disk, then
the new generation, then one rename(2) of `current`. Whatever comes before it can be done again.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable

from k3os.errors import UserError
from k3os.install.perform import add_generation
from k3os.install.source import forget
from k3os.system.files import atomic_symlink, sync_directory
from k3os.system.run import run
from k3os.upgrade.plan import DOWNLOADS, Installed, Plan, digest_of

Say = Callable[[str], None]
# include/uapi/linux/fs.h
FIFREEZE, FITHAW = 0xC0045877, 0xC0045878


def perform(
    plan: Plan, installed: Installed, say: Say, before_switch: Callable[[], None] = lambda: None
) -> None:
    """Write what is new, then switch. Raises UserError, OSError; until the switch nothing that
    boots has changed. before_switch: called when all else is done."""
    system = installed.system
    remove(system, plan.early_removals)
    for step in plan.steps:
        say(f"writing {step.path} ({step.file.size / 10**6:.1f} MB)")
        os.makedirs(os.path.dirname(f"{system}/{step.path}"), exist_ok=True)
        step.write(step.file, f"{system}/{step.path}")
        sync_directory(os.path.dirname(f"{system}/{step.path}"))
    for step in plan.steps:
        forget(f"{system}/{step.path}")
        if digest_of(f"{system}/{step.path}") != step.file.sha256:
            raise UserError(
                f"{system}/{step.path} was not written correctly: it reads back otherwise",
                "the disk may be failing; nothing was switched",
            )
    generation = add_generation(system, plan.number, plan.manifest, plan.links)
    before_switch()
    switch(system, generation, plan.previous)
    say("the new generation is the current one now")
    remove(system, plan.removals)
    os.sync()


def switch(system: str, current: str, previous: str) -> None:
    """Point both links, for an upgrade. Power cut between the two: the old system is both."""
    atomic_symlink(previous, f"{system}/previous", sync=True)
    atomic_symlink(current, f"{system}/current", sync=True)
    settle(system)


def exchange(system: str, current: str, previous: str) -> None:
    """Point both links, for a way back: power cut between the two: the good system is both."""
    atomic_symlink(current, f"{system}/current", sync=True)
    atomic_symlink(previous, f"{system}/previous", sync=True)
    settle(system)


def settle(system: str) -> None:
    """Bring what the journal holds to its place: GRUB reads ext4 without replaying the journal.

    fsync(2) is content with the journal; freezing the file system is not (ioctl_fsfreeze(2)).
    """
    os.sync()
    descriptor = os.open(system, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.ioctl(descriptor, FIFREEZE, 0)
    except OSError:
        return  # a file system that cannot be frozen; GRUB replays or needs nothing
    else:
        fcntl.ioctl(descriptor, FITHAW, 0)
    finally:
        os.close(descriptor)


def remove(system: str, paths: tuple[str, ...]) -> None:
    """Remove generations and components; a generation's manifest goes first, so that half of it
    is none."""
    for path in paths:
        full = f"{system}/{path}"
        if os.path.exists(f"{full}/manifest.json"):
            os.unlink(f"{full}/manifest.json")
            sync_directory(full)
        run(["rm", "-rf", "--one-file-system", full])


def rollback(installed: Installed, say: Say) -> None:
    """Exchange current and previous. Raises UserError when there is no previous one."""
    found = " ".join(installed.previous_versions.values())
    exchange(installed.system, installed.previous, installed.current)
    say(f"{installed.previous} is the current one again: {found}")


def scratch(system: str) -> str:
    """Where a download lies until it is unpacked; empty."""
    path = f"{system}/{DOWNLOADS}"
    os.makedirs(path, mode=0o700, exist_ok=True)
    return path
