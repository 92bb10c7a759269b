"""Runs one phase: load, plan, perform, report. The only place that performs actions.

A failing applier or action is reported and the others still run; nothing that a user can write
makes `apply_phase` raise. Which applier runs in which phase is defined by table.py and by `phases`
in schema.TABLE.
"""

from __future__ import annotations

import time

from k3os.config.key import BOOT, INITRD, READY, RUNTIME
from k3os.config.load import Config, load_config
from k3os.config.schema import BY_PATH
from k3os.config.value import Place, Problem
from k3os.paths import OWN_SYSTEM
from k3os.phases.actions import DONE, FAILED, LATER, UNCHANGED, Action
from k3os.phases.node import Node
from k3os.phases.phase_report import (
    STATUS,
    ActionResult,
    PhaseReport,
    problems_of,
    read_status,
    write_status,
)
from k3os.phases.table import APPLIERS, DATA_SOURCES, Applier
from k3os.system.collector import uncollected

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from k3os.system.console import Say

# phases that see what the data sources found
AFTER_DATA_SOURCES = (RUNTIME, READY)


@uncollected
def apply_phase(
    phase: str,
    *,
    mode: str,
    root: str = "/",
    system_dir: str = OWN_SYSTEM,
    cmdline: str | None = None,
    say: Say | None = None,
    wait: Callable[[], None] | None = None,
    data_sources: Callable[[Config, Node], list[ActionResult]] | None = None,
    again: bool = False,
) -> PhaseReport:
    """Apply a phase (or READY) below root and update /run/k3os/status.json there.

    cmdline None: the running kernel's. say gets one line per problem and failed action.
    wait: returns when the phase may be applied; called when everything that it needs has been read.
    data_sources: asks k3os.data_sources before the runtime phase; the results are merged.
    again: commands that succeeded in this phase of this boot do not run again.
    """
    started = time.monotonic()
    config, problems = load_config(root, system_dir, cmdline)
    if wait is not None:
        import_appliers(phase, config)
        ready = time.monotonic()
        wait()
        started += time.monotonic() - ready
    output = to_kernel_log if phase in (INITRD, BOOT) else to_journal
    node = Node(root, phase, mode, output, say or _to_nobody)
    secrets = secrets_of(config)
    node.output = discreetly(output, secrets)
    if again:
        node.ran = succeeded(node.path(STATUS), phase)
    asked: list[ActionResult] = []
    if phase == RUNTIME and data_sources is not None and config.items(DATA_SOURCES):
        asked = _ask(data_sources, config, node)
    if phase in AFTER_DATA_SOURCES and config.items(DATA_SOURCES):
        config, problems = load_config(root, system_dir, cmdline, cloud=True)
        secrets = secrets_of(config)
        node.output = discreetly(output, secrets)
    report = PhaseReport(phase, mode, problems)
    report.results += asked
    node.ours.unsure = sources_with_errors(problems)
    _perform_all(config, node, report, secrets)
    report.seconds = time.monotonic() - started
    lines = report.lines()
    if phase == BOOT:  # the initrd phase has already shown the problems of these sources
        said = problems_of(node.path(STATUS), INITRD)
        lines = [str(each) for each in problems if each.as_dict() not in said]
        lines += report.lines()[len(problems) :]
    publish(report, node, lines)
    return report


def succeeded(path: str, phase: str) -> frozenset[str]:
    """The descriptions of a phase's successful actions, from the status file."""
    from k3os.system.json_text import WRONG_SHAPE

    try:
        actions = read_status(path)["phases"][phase]["actions"]
        return frozenset(each["what"] for each in actions if each["result"] in (DONE, UNCHANGED))
    except WRONG_SHAPE:
        return frozenset()


def publish(report: PhaseReport, node: Node, lines: list[str]) -> None:
    """Write a report to the status file, and say the lines."""
    try:
        write_status(node.path(STATUS), report)
    except OSError as error:
        lines = [*lines, f"{STATUS}: cannot be written: {error.strerror}"]
    except Exception as error:  # the lines are shown in any case
        from k3os.system.bug import report as bug

        lines = [*lines, f"{STATUS}: cannot be written: {bug(error)}"]
    for line in lines:
        node.say(line)


def _to_nobody(line: str) -> None:
    """For callers that use the report instead."""


def preload() -> None:
    """Import what every boot phase needs while modules still come from the initrd's memory."""
    import json  # noqa: F401  # the report's

    from k3os.system import run

    run.preload()  # for modprobe and the like
    for name, applier in APPLIERS.items():
        if applier.always and not applier.phases:
            __import__(f"k3os.phases.{name}")


def import_appliers(phase: str, config: Config) -> None:
    """Import what a phase needs while the caller has to wait anyway."""
    import json  # noqa: F401  # the report's

    from k3os.phases import ours, redact  # noqa: F401
    from k3os.system import run

    run.preload()
    for name, applier in APPLIERS.items():
        if _has_work(applier, phase, config):
            try:
                __import__(f"k3os.phases.{name}")
            except Exception:  # `plan_applier` reports it later
                continue


def _has_work(applier: Applier, phase: str, config: Config) -> bool:
    keys = [path for path in applier.keys if phase in BY_PATH[path].phases]
    if phase not in applier.phases and not keys:
        return False
    return applier.always or any(path in config.values for path in keys)


def _ask(
    data_sources: Callable[[Config, Node], list[ActionResult]], config: Config, node: Node
) -> list[ActionResult]:
    try:
        return data_sources(config, node)
    except Exception as error:  # a bug there must not stop the phase
        place = config.values[DATA_SOURCES].place
        return [_unexpected(error, DATA_SOURCES, "ask the data sources", place)]


def _unexpected(
    error: Exception, key: str, what: str, place: Place, secrets: list[str] | None = None
) -> ActionResult:
    """A failed result; the traceback goes to the log."""
    from k3os.phases.redact import redact
    from k3os.system.bug import report

    words = redact(str(error), secrets) if secrets is not None else ""
    return ActionResult(key, what, place, FAILED, report(error, words), is_bug=True)


def _perform_all(config: Config, node: Node, report: PhaseReport, secrets: list[str]) -> None:
    for name in APPLIERS:
        actions, broken = plan_applier(name, config, node)
        if broken is not None:
            report.results.append(broken)
        report.results += _remember(node, node.ours.expect, actions)
        for action in actions:
            report.results.append(perform(action, node, secrets))
    report.results += _remember(node, node.ours.save)


def secrets_of(config: Config) -> list[str]:
    """The texts that no report may contain; all texts if the secrets cannot be determined."""
    try:
        return config.secrets()
    except Exception as error:
        from k3os.config.value import texts_of
        from k3os.system.bug import report

        report(error)
        return [text for value in config.values.values() for text, _ in texts_of(value)]


def _remember(node: Node, step: Callable[..., None], *given: object) -> list[ActionResult]:
    """If a record cannot be written (a disk may be full), only this step fails."""
    what = "remember what the configuration has left"
    try:
        step(*given)
    except OSError as error:
        return [ActionResult("k3os", what, Place(node.mode), FAILED, str(error))]
    except Exception as error:
        return [_unexpected(error, "k3os", what, Place(node.mode))]
    return []


def sources_with_errors(problems: list[Problem]) -> set[str]:
    """The sources whose contents are not fully known."""
    return {problem.place.source for problem in problems if problem.is_error}


def plan_phase(config: Config, node: Node) -> list[Action]:
    """All actions of the node's phase in order: what --dry-run shows. Changes nothing."""
    return [action for name in APPLIERS for action in plan_applier(name, config, node)[0]]


def plan_applier(name: str, config: Config, node: Node) -> tuple[list[Action], ActionResult | None]:
    """One applier's actions, or a failed result instead."""
    applier = APPLIERS[name]
    if not _has_work(applier, node.phase, config):
        return [], None  # do not import it
    try:
        module = __import__(f"k3os.phases.{name}", fromlist=["plan"])
        actions: list[Action] = module.plan(config, node)
        node.ours.plan(actions)
        return actions, None
    except Exception as error:  # one broken applier must not stop the others
        node.ours.broken.add(name)
        key = applier.keys[0] if applier.keys else "k3os"
        return [], _unexpected(error, key, f"plan {name}", Place("k3os"), secrets_of(config))


def perform(action: Action, node: Node, secrets: list[str]) -> ActionResult:
    """Perform one action; any error is in the result."""
    from k3os.phases.redact import redact

    try:
        result, reason = _performed(action, node)
        action.result = result
        if action.thing:
            node.ours.keep(action, result)
        what = action.describe()
    except Exception as error:  # one broken action must not stop the others
        action.result = FAILED
        return _unexpected(error, action.key, type(action).__name__, action.place, secrets)
    return ActionResult(
        action.key, what, action.place, result, redact(reason, secrets) if reason else ""
    )


def _performed(action: Action, node: Node) -> tuple[str, str]:
    """Result and reason; what a machine or a person can cause is not a bug."""
    from k3os.errors import UserError

    try:
        if node.awaited and (place := _awaited(action, node)):
            return LATER, f"nothing is mounted at {place} yet"
        return action.perform(node), action.note
    except UserError as error:
        return FAILED, str(error)
    except OSError as error:
        return FAILED, f"{error.filename or ''}: {error.strerror}".removeprefix(": ")


def _awaited(action: Action, node: Node) -> str:
    """The missing mount point that an action would write below; "" for none."""
    from k3os.phases.disks import place_of

    path = getattr(action, "path", "")
    return place_of(path, node.awaited) if isinstance(path, str) else ""


def discreetly(output: Say, secrets: list[str]) -> Say:
    """For output of commands, which may repeat secrets that they were given."""
    from k3os.errors import discreet
    from k3os.phases.redact import redact

    return lambda line: output(discreet(redact(line, secrets)))


def to_journal(line: str) -> None:
    """Output of commands in a service: each line at once, unbuffered."""
    print(line, flush=True)


def to_kernel_log(line: str) -> None:
    """Output of commands before journald runs, which later reads the kernel's log."""
    import os

    try:
        descriptor = os.open("/dev/kmsg", os.O_WRONLY | os.O_CLOEXEC)  # without O_CREAT
        try:
            os.write(descriptor, f"<6>k3os: {line}".encode(errors="replace")[:900])
        finally:
            os.close(descriptor)
    except OSError:
        print(line)
