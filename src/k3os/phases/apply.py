"""Runs one phase: load, plan, perform, report. The only place that performs actions.

A failing applier or action is reported and the others still run; nothing a user can write
makes `apply_phase` raise. Which applier runs in which phase stands in table.py and in the
`phases` of schema.TABLE.
"""

from __future__ import annotations

import time

from k3os.config.load import Config, load_config
from k3os.config.schema import BOOT, BY_PATH, INITRD, RUNTIME
from k3os.config.value import Place
from k3os.phases.actions import FAILED, Action
from k3os.phases.node import Node
from k3os.phases.report import STATUS, Report, Result, problems_of, write_status
from k3os.phases.table import APPLIERS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# in the schema, but without an applier yet: said in the report, never dropped silently
NOT_APPLIED = {"k3os.data_sources"}


def apply_phase(
    phase: str,
    *,
    mode: str,
    root: str = "/",
    system_dir: str = "/k3os/system",
    cmdline: str | None = None,
    say: Callable[[str], None] | None = None,
) -> Report:
    """Apply initrd, boot or runtime below root and update /run/k3os/status.json there.

    cmdline None: the running kernel's. say gets one line per problem and failed action.
    """
    started = time.monotonic()
    config, problems = load_config(root, system_dir, cmdline)
    node = Node(root, phase, mode, output=print if phase == RUNTIME else to_kernel_log)
    report = Report(phase, mode, problems)
    report.when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    _perform_all(config, node, report)
    report.seconds = time.monotonic() - started
    lines = report.lines()
    if phase == BOOT:  # the console has seen what the initrd phase found in the same sources
        said = problems_of(node.path(STATUS), INITRD)
        lines = [str(each) for each in problems if each.as_dict() not in said]
        lines += report.lines()[len(problems) :]
    try:
        write_status(node.path(STATUS), report)
    except OSError as error:
        lines.append(f"{STATUS}: cannot be written: {error.strerror}")
    if say is not None:
        for line in lines:
            say(line)
    return report


def preload() -> None:
    """Import what every boot phase needs while modules still come from the initrd's memory."""
    import json  # noqa: F401  # the report's

    from k3os.system import run

    run.preload()  # for modprobe and the like
    for name, applier in APPLIERS.items():
        if applier.always:
            __import__(f"k3os.phases.{name}")


def _perform_all(config: Config, node: Node, report: Report) -> None:
    secrets = config.secrets()
    for path in sorted(NOT_APPLIED & set(config.values)):
        if node.phase in BY_PATH[path].phases:
            reason = "this version of k3OS does not apply it yet"
            place = config.values[path].place
            report.results.append(Result(path, "not applied", place, FAILED, reason))
    for name in APPLIERS:
        actions, broken = plan_applier(name, config, node)
        if broken is not None:
            report.results.append(broken)
        for action in actions:
            report.results.append(_perform(action, node, secrets))


def plan_phase(config: Config, node: Node) -> list[Action]:
    """All actions of the node's phase in order: what --dry-run shows. Changes nothing."""
    return [action for name in APPLIERS for action in plan_applier(name, config, node)[0]]


def plan_applier(name: str, config: Config, node: Node) -> tuple[list[Action], Result | None]:
    """One applier's actions, or a failed result in their place."""
    applier = APPLIERS[name]
    if not any(node.phase in BY_PATH[path].phases for path in applier.keys):
        return [], None
    if not applier.always and not any(
        path in config.values and node.phase in BY_PATH[path].phases for path in applier.keys
    ):
        return [], None  # without the import
    try:
        module = __import__(f"k3os.phases.{name}", fromlist=["plan"])
        actions: list[Action] = module.plan(config, node)
        return actions, None
    except Exception as error:  # one broken applier must not take the others with it
        place = Place("k3os")
        reason = f"{type(error).__name__}: {error}"
        return [], Result(applier.keys[0], f"plan {name}", place, FAILED, reason)


def _perform(action: Action, node: Node, secrets: list[str]) -> Result:
    from k3os.errors import UserError

    try:
        result, reason = action.perform(node), action.note
    except UserError as error:
        result, reason = FAILED, str(error)
    except OSError as error:
        result, reason = FAILED, f"{error.filename or ''}: {error.strerror}".removeprefix(": ")
    except Exception as error:  # the same for one broken action
        result, reason = FAILED, f"{type(error).__name__}: {error}"
    action.result = result
    return Result(
        action.key,
        redact(action.describe(), secrets),
        action.place,
        result,
        redact(reason, secrets),
    )


def redact(text: str, secrets: list[str]) -> str:
    """text without any secret of the configuration."""
    for secret in secrets:
        text = text.replace(secret, "***")
    return text


def to_kernel_log(line: str) -> None:
    """Output of commands before journald runs: it picks the kernel's log up later."""
    import os

    try:
        descriptor = os.open("/dev/kmsg", os.O_WRONLY | os.O_CLOEXEC)  # never made when missing
        try:
            os.write(descriptor, f"<6>k3os: {line}".encode(errors="replace")[:900])
        finally:
            os.close(descriptor)
    except OSError:
        print(line)
