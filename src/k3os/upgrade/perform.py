"""Carrying out an upgrade: the only place that writes to a disk k3OS runs from.

The order makes a power cut harmless: new files beside the old ones, read back from the disk, then
the new generation, then one rename(2) of `current`. Everything before that can be repeated.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from k3os.errors import UserError
from k3os.generation import switching
from k3os.generation.adding import add_generation
from k3os.generation.installed import Installed
from k3os.generation.layout import DOWNLOADS
from k3os.system.console import Say
from k3os.system.digest import digest_of, forget
from k3os.system.files import sync_directory
from k3os.upgrade.plan import Plan


def perform(
    plan: Plan, installed: Installed, say: Say, before_switch: Callable[[], None] = lambda: None
) -> None:
    """Write what is new, then switch. Raises UserError, OSError; until the switch, nothing that
    boots has changed. before_switch: called when everything else is done."""
    system = installed.system
    switching.remove(system, plan.early_removals)
    for step in plan.steps:
        say(f"writing {step.path} ({step.file.size / 10**6:.1f} MB)")
        os.makedirs(os.path.dirname(f"{system}/{step.path}"), exist_ok=True)
        step.write(step.file, f"{system}/{step.path}")
        sync_directory(os.path.dirname(f"{system}/{step.path}"))
    for step in plan.steps:
        forget(f"{system}/{step.path}")
        if digest_of(f"{system}/{step.path}") != step.file.sha256:
            raise UserError(
                f"{system}/{step.path} was not written correctly: it reads back differently",
                "the disk may be failing; nothing was switched",
            )
    generation = add_generation(system, plan.number, plan.manifest, plan.links)
    before_switch()
    switching.switch(system, generation, plan.previous)
    say("the new generation is the current one now")
    switching.remove(system, plan.removals)
    os.sync()


def rollback(installed: Installed, say: Say, end_trial: Callable[[], None] = lambda: None) -> None:
    """Exchange current and previous, and end a trial. Raises UserError if there is no previous
    one."""
    versions = " ".join(installed.previous_versions.values())
    switching.exchange(installed.system, installed.previous, installed.current, end_trial)
    say(f"{installed.previous} is the current one again: {versions}")


def scratch(system: str) -> str:
    """An empty directory for a download until it is unpacked."""
    path = f"{system}/{DOWNLOADS}"
    os.makedirs(path, mode=0o700, exist_ok=True)
    return path
