"""`k3os upgrade --kernel-args`: a generation of the same versions with the kernel arguments of
k3os.kernel_args.

It is on trial at the next boot, like a new version (k3os.generation.trial). Nothing is copied: the
links of the new generation lead to the files of the old one.
"""

from __future__ import annotations

import os
import time

from k3os.config.kernel_args import KEY
from k3os.errors import UserError
from k3os.generation import kernel_args
from k3os.node import upgrade
from k3os.paths import BASE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.value import Problem
    from k3os.generation.installed import Installed

# keys of problems with a source that could not be read, or not below k3os
WHOLE = ("", "k3os")


def renew(options: dict[str, str]) -> int:
    """Returns the exit code after saying what was done. options: of `k3os upgrade`, which has made
    the state partition writable. Raises UserError, OSError."""
    from k3os.generation import grub, switching, trial
    from k3os.generation.layout import GENERATIONS
    from k3os.k3s.source import machine_arch
    from k3os.upgrade import perform
    from k3os.upgrade.plan import make_plan

    upgrade.refuse_on_trial()
    _refuse_foreign_kernel()
    wanted, installed = asked(), upgrade.look()
    dry = "--dry-run" in options
    if not dry:
        kernel_args.forget_refusal(BASE)
    if wanted == installed.arguments(installed.current):
        upgrade.say(f"nothing to do, the next boot has {kernel_args.shown(wanted)}")
        return 0
    upgrade.say(f"the kernel's arguments: {kernel_args.shown(wanted)}")
    if dry:
        upgrade.say("nothing was written")
        return 0
    if back := undone(installed, wanted):
        switching.switch(installed.system, back, back)
        trial.confirm(BASE)
        upgrade.say("what runs has them: nothing is left to be done")
        return 0
    if wanted:
        grub.pass_arguments(BASE, upgrade.say)
    decided = make_plan(
        installed,
        {},
        arch=machine_arch(os.uname().machine),
        created=int(time.time()),
        arguments=wanted,
    )
    generation = f"{GENERATIONS}/{decided.number}"
    perform.perform(decided, installed, upgrade.say, lambda: begin(generation))
    restart(options)
    return 0


def begin(generation: str) -> None:
    """Start the trial in GRUB's environment before the generation becomes current."""
    from k3os.generation import switching

    upgrade.begin_trial(generation)
    switching.flush_journal(upgrade.ON_DISK)


def restart(options: dict[str, str]) -> None:
    from k3os.system.run import run

    if "--reboot" in options:
        upgrade.say("rebooting")
        run(["systemctl", "--no-block", "reboot"])
    elif "--no-reboot" in options:
        upgrade.say("the kernel has them after the next boot")
    else:
        upgrade.say("the kernel has them after the next boot: `sudo reboot`")


def asked() -> tuple[str, ...]:
    """What this node's configuration asks for. Raises UserError if that is not certain: then the
    arguments stay as they are."""
    from k3os.config.load import load_config

    config, problems = load_config(cloud=True)
    if found := in_doubt(problems):
        hint = "correct it; until then the kernel's arguments stay as they are"
        raise UserError(f"what {KEY} asks for cannot be told: {found}", hint)
    return tuple(config.texts(KEY))


def in_doubt(problems: list[Problem]) -> str:
    """The first error in arguments, or in a whole source that may contain some; "" for none."""
    for problem in problems:
        about = problem.key in WHOLE or problem.key.partition("[")[0] == KEY
        if problem.is_error and about:
            return str(problem)
    return ""


def undone(installed: Installed, wanted: tuple[str, ...]) -> str:
    """The running generation, if it is what is asked for and only arguments that never booted are
    undone; "" otherwise."""
    from k3os.generation.layout import have_same

    kept, current = installed.kept, installed.current
    same = kept != current and have_same(installed.system, kept, current)
    same = same and installed.extensions(kept) == installed.extensions(current)
    return kept if same and installed.arguments(kept) == wanted else ""


def _refuse_foreign_kernel() -> None:
    from k3os.phases.phase_report import booted_mode

    if booted_mode() == "overlay":
        raise UserError(
            "the kernel of this node is that of the system below k3OS",
            "give the arguments to that system's boot loader; nothing was changed",
            KEY,
        )
