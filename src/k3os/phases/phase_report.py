"""What a phase did, for people and for /run/k3os/status.json (format: `Report.as_dict`)."""

from __future__ import annotations

from k3os.config.value import Place, Problem
from k3os.errors import discreet
from k3os.phases.actions import FAILED
from k3os.system.stamps import utc

STATUS = "/run/k3os/status.json"
VERSION = 1


TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class ActionResult:
    """One action's result: done, unchanged, later or failed (then with a reason). is_bug: it failed
    with an unexpected exception."""

    __slots__ = ("is_bug", "key", "place", "reason", "result", "what")

    def __init__(
        self,
        key: str,
        what: str,
        place: Place,
        result: str,
        reason: str = "",
        *,
        is_bug: bool = False,
    ) -> None:
        self.is_bug = is_bug
        self.key = key
        self.what = discreet(what)
        self.place = place
        self.result = result
        self.reason = discreet(reason)

    def as_dict(self) -> dict[str, str]:
        return {
            "key": self.key,
            "what": self.what,
            "from": str(self.place),
            "result": self.result,
            "reason": self.reason,
        }


class PhaseReport:
    """The results of one phase, or of what follows the phases (local.py, READY)."""

    __slots__ = ("mode", "phase", "problems", "results", "seconds", "when")

    def __init__(self, phase: str, mode: str, problems: list[Problem]) -> None:
        self.phase = phase
        self.mode = mode
        self.problems = problems
        self.results: list[ActionResult] = []
        self.when = utc()
        self.seconds = 0.0

    @property
    def failed(self) -> list[ActionResult]:
        return [result for result in self.results if result.result == FAILED]

    @property
    def is_fine(self) -> bool:
        """No failed action, no error in a source."""
        return not self.failed and not any(problem.is_error for problem in self.problems)

    def lines(self) -> list[str]:
        """One line for every problem and every failed action."""
        lines = [str(problem) for problem in self.problems]
        lines += [f"{each.place}: {each.key}: {each.what}: {each.reason}" for each in self.failed]
        return lines

    def as_dict(self) -> dict[str, object]:
        return {
            "when": self.when,
            "seconds": round(self.seconds, 3),
            "actions": [result.as_dict() for result in self.results],
            "problems": [problem.as_dict() for problem in self.problems],
        }


def write_status(path: str, report: PhaseReport) -> None:
    """Write a phase to the status file; other phases' reports stay. Raises OSError."""
    import json
    import os

    from k3os.system.files import atomic_write

    status = read_status(path)
    phases = status.get("phases")
    phases = dict(phases) if isinstance(phases, dict) else {}
    phases[report.phase] = report.as_dict()
    status = {"version": VERSION, "mode": report.mode, "phases": phases}
    os.makedirs(os.path.dirname(path), exist_ok=True)
    atomic_write(path, json.dumps(status, indent=1, ensure_ascii=True).encode() + b"\n")


def read_status(path: str) -> dict[str, Any]:
    """The current status; {} if it is missing or unreadable."""
    from k3os.system.files import read_object

    return read_object(path)


def booted_mode(root: str = "/") -> str:
    """The mode the node was booted in, from the report of the boot."""
    return str(read_status(root.rstrip("/") + STATUS).get("mode") or "live")


def problems_of(path: str, phase: str) -> list[object]:
    """A phase's problems in the status file, in the form of Problem.as_dict()."""
    phases = read_status(path).get("phases")
    report = phases.get(phase) if isinstance(phases, dict) else None
    problems = report.get("problems") if isinstance(report, dict) else None
    return problems if isinstance(problems, list) else []
