"""Entries of k3os.network whose `match` has fitted no interface so far: waits for one before
connman starts, and looks again when one appears.

Does nothing if each entry has one. k3os.phases.network plans what to do, as in a phase.
"""

from __future__ import annotations

import time

from k3os.phases.network_plan import PLAN, is_awaited, plan_at

WAIT_SECONDS = 10.0
POLL_SECONDS = 0.2
CONNMAN = "connman.service"


def look_again(wait: float = WAIT_SECONDS) -> list[str]:
    """What was done, and what failed, in words; [] if nothing is awaited. Raises CommandError,
    OSError.

    wait: seconds for an interface to appear, if connman has not started.
    """
    if not any(is_awaited(each["device"]) for each in plan_at(PLAN) or []):
        return []
    from k3os.config.load import load_config
    from k3os.phases.actions import DONE, FAILED
    from k3os.phases.apply import perform, secrets_of
    from k3os.phases.network import asked_for, plan
    from k3os.phases.node import Node

    config, _ = load_config("/", cloud=True)
    node = Node("/", "runtime" if _is_running() else "boot")
    end = time.monotonic() + (wait if node.phase == "boot" else 0)
    while any(is_awaited(each.name) for each in asked_for(config, node)[1]):
        if time.monotonic() >= end:
            break
        time.sleep(POLL_SECONDS)
    secrets = secrets_of(config)
    results = [perform(action, node, secrets) for action in plan(config, node)]
    return [
        f"{each.what}: {each.reason or each.result}"
        for each in results
        if each.result in (DONE, FAILED)
    ]


def _is_running() -> bool:
    from k3os.system.run import CommandError, run

    try:
        run(["systemctl", "is-active", "--quiet", CONNMAN], timeout=10)
    except CommandError:
        return False
    return True
