"""The user's scripts at the end of the boot and at shutdown: /etc/rc.local, /etc/local.d.

rc.local comes first, then *.start in the order of their names; at shutdown *.stop. Called by
k3os-local.service; it must not wait for k3s. A failing one is reported, and the next still runs.
"""

from __future__ import annotations

import os
import time

from k3os.config.value import Place
from k3os.phases.actions import Action, Refused
from k3os.phases.run_command import RunCommand

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.phases.node import Node
    from k3os.phases.phase_report import PhaseReport
    from k3os.system.console import Say

LOCAL = "local"
RC_LOCAL, DIRECTORY = "/etc/rc.local", "/etc/local.d"
# seconds for each script; the unit's TimeoutStopSec= limits all of stop
LIMITS = {"start": 900, "stop": 30}


def run_scripts(verb: str, *, mode: str, say: Say, root: str = "/") -> PhaseReport:
    """Run the scripts of "start" or "stop" with k3os.environment; the report is LOCAL."""
    from k3os.config.load import load_config
    from k3os.phases import environment
    from k3os.phases.apply import discreetly, perform, publish, secrets_of, to_journal
    from k3os.phases.node import Node
    from k3os.phases.phase_report import PhaseReport

    started = time.monotonic()
    config, _ = load_config(root, cloud=True)  # the runtime phase has reported its problems
    secrets = secrets_of(config)
    node = Node(root, LOCAL, mode, discreetly(to_journal, secrets), say)
    node.environment = environment.read(config)[0]
    report = PhaseReport(LOCAL, mode, [])
    report.results = [perform(action, node, secrets) for action in plan(verb, node)]
    report.seconds = time.monotonic() - started
    publish(report, node, report.lines())
    return report


def plan(verb: str, node: Node) -> list[Action]:
    """An action for each script."""
    return [_script(path, verb, node) for path in scripts(verb, node)]


def scripts(verb: str, node: Node) -> list[str]:
    """The scripts of "start" or "stop" in order, without hidden files, which editors leave."""
    found = [RC_LOCAL] if verb == "start" and node.exists(RC_LOCAL) else []
    directory = node.path(DIRECTORY)
    names = sorted(os.listdir(directory)) if os.path.isdir(directory) else []
    found += [
        f"{DIRECTORY}/{name}"
        for name in names
        if name.endswith(f".{verb}") and not name.startswith(".")
    ]
    return found


def _script(path: str, verb: str, node: Node) -> Action:
    name = path.rpartition("/")[2]
    place = Place(path)
    where = node.path(path)
    if not os.path.isfile(where):
        return Refused(LOCAL, place, f"run {name}", "is not a file")
    if not os.stat(where).st_mode & 0o111:
        hint = "write it with permissions: '0755'"
        return Refused(LOCAL, place, f"run {name}", "is not executable", hint)
    words = [path, verb] if path == RC_LOCAL else [path]
    try:
        with open(where, "rb") as file:
            head = file.read(4)
    except OSError as error:
        return Refused(LOCAL, place, f"run {name}", f"cannot be read: {error.strerror}")
    if not head.startswith((b"#!", b"\x7fELF")):
        words = ["/bin/sh", *words]  # as in OpenRC's local.d, for which users wrote such scripts
    return RunCommand(LOCAL, place, name, words, LIMITS[verb])
