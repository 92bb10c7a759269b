"""The state of a node as one value: `k3os status --json` prints it, and the node's report to the
cluster is made from it.

It reads nothing; k3os.node.status collects it. `as_dict` is the format of --json.
"""

from __future__ import annotations

from k3os.system.frozen import Frozen, field
from k3os.system.numbers import are_digits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

# topic of a failure that belongs to no phase
DISK, EXTENSION, K3S, VERIFY = "disk", "extension", "k3s", "verify"


class Failure(Frozen):
    """Something that is wrong. topic: a phase, or one of these; source: the configuration file
    that asked for what failed, "" if none did."""

    topic: str
    text: str
    source: str = ""

    def __str__(self) -> str:
        return f"{self.topic}: {self.text}"


class Memory(Frozen):
    """In kB; short: the reasons why memory is short (/usr/lib/k3os/memory)."""

    total: int = 0
    available: int = 0
    swap_total: int = 0
    swap_free: int = 0
    short: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return {
            "MemTotal": self.total,
            "MemAvailable": self.available,
            "SwapTotal": self.swap_total,
            "SwapFree": self.swap_free,
            "short": list(self.short),
        }


class Disk(Frozen):
    """MiB of /var; level: "low", "full" or "", with its message (/usr/lib/k3os/disk)."""

    size: int = 0
    free: int = 0
    level: str = ""
    words: str = ""
    errors: str = ""

    @property
    def is_full(self) -> bool:
        return self.level == "full"

    def as_dict(self) -> dict[str, Any]:
        return {
            "size": self.size,
            "free": self.free,
            "level": self.level,
            "words": self.words,
            "errors": self.errors,
        }


class K3sUnit(Frozen):
    """What systemd says about k3s' unit, or about the one that fetches a missing k3s.

    restarts: "" if systemd does not say. waits_for: in words, "" if it is not about to start.
    """

    there: bool
    unit: str
    load: str = ""
    active: str = ""
    sub: str = ""
    restarts: str = ""
    waits_for: str = ""
    last_words: str = ""

    @property
    def is_in_trouble(self) -> bool:
        """It keeps exiting and being restarted. While it starts, it is not in trouble."""
        return self.active != "active" and self.restarts not in ("", "0")

    def as_dict(self) -> dict[str, Any]:
        return {
            "there": self.there,
            "unit": self.unit,
            "LoadState": self.load,
            "ActiveState": self.active,
            "SubState": self.sub,
            "NRestarts": self.restarts,
            "waits_for": self.waits_for,
            "last_words": self.last_words,
        }


class Record(Frozen):
    """A JSON object that another part of k3OS left in a file; false if there is none. It may have
    been edited: missing names are empty."""

    record: Mapping[str, Any] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.record)

    def _text(self, name: str) -> str:
        value = self.record.get(name)
        return "" if value is None else str(value)

    def _map(self, name: str) -> dict[str, str]:
        value = self.record.get(name)
        return value if isinstance(value, dict) else {}

    def as_dict(self) -> dict[str, Any]:
        return dict(self.record)


class Ready(Record):
    """The Node's condition Ready, as k3os.cluster.readiness keeps it."""

    @property
    def is_ready(self) -> bool:
        return self._text("status") == "True"

    @property
    def since(self) -> str:
        return self._text("since")

    @property
    def message(self) -> str:
        return self._text("message")


class Rollback(Record):
    """What k3os.generation.trial left when a new version did not come up."""

    @property
    def when(self) -> str:
        return self._text("when")

    @property
    def reason(self) -> str:
        return self._text("reason")

    @property
    def failed(self) -> dict[str, str]:
        """Component to version."""
        return self._map("failed")

    @property
    def kernel_args(self) -> str:
        """The kernel arguments that were rolled back with it, "" if they stayed the same."""
        from k3os.generation.kernel_args import of

        return " ".join(of(self.record))

    @property
    def extensions(self) -> str:
        """The system extensions of what failed, "" where they stayed the same."""
        return self._text("extensions")


class TakenBack(Record):
    """What k3os.cluster.config_trial left of a fragment that did not prove itself."""

    @property
    def request(self) -> str:
        return self._text("request")

    @property
    def restored(self) -> str:
        return self._text("restored")

    @property
    def reason(self) -> str:
        return self._text("reason")


class Verified(Record):
    """What k3os.generation.damage found when it last read the files."""

    @property
    def when(self) -> str:
        return self._text("when")

    @property
    def files(self) -> str:
        return self._text("files")

    @property
    def damaged(self) -> dict[str, str]:
        """Path below /k3os/system to what is wrong with it."""
        return self._map("damaged")


class Extensions(Record):
    """What the boot made of each system extension (k3os.boot.extensions). lines: what is said of
    each, also of those that wait for a boot."""

    lines: tuple[str, ...] = ()

    @property
    def active(self) -> dict[str, str]:
        """Name to version of those that are as they should be."""
        return {
            str(name): str(entry.get("version") or "")
            for name, entry in sorted(self.record.items())
            if isinstance(entry, dict) and not entry.get("reason")
        }

    @property
    def wrong(self) -> dict[str, str]:
        """Name to what is wrong with it."""
        from k3os.generation.extensions import failures

        return failures(self.record)


class ActionOutcome(Frozen):
    """The result of an action (phases.phase_report.ActionResult). place: `file:line:column`."""

    key: str
    what: str
    place: str
    result: str
    reason: str

    @property
    def source(self) -> str:
        """The file of its place, without line and column."""
        words = self.place.rsplit(":", 2)
        is_exact = len(words) == 3 and all(map(are_digits, words[1:]))
        return words[0] if is_exact else self.place


class ReportedProblem(Frozen):
    """A problem of a source (config.value.Problem.as_dict)."""

    source: str
    line: int
    column: int
    key: str
    message: str
    hint: str
    is_error: bool

    def __str__(self) -> str:
        where = f"{self.source}:{self.line}:{self.column}" if self.line else self.source
        hint = f"; {self.hint}" if self.hint else ""
        return f"{where}: {self.key}: {self.message}{hint}"


class PhaseOutcome(Frozen):
    """What one phase did."""

    when: str
    seconds: float
    actions: tuple[ActionOutcome, ...]
    problems: tuple[ReportedProblem, ...]


def phase_outcome(record: Mapping[str, Any]) -> PhaseOutcome:
    """From an entry below "phases" in /run/k3os/status.json."""
    return PhaseOutcome(
        record["when"],
        record["seconds"],
        tuple(
            ActionOutcome(*(each[name] for name in ("key", "what", "from", "result", "reason")))
            for each in record["actions"]
        ),
        tuple(
            ReportedProblem(
                each["source"],
                each["line"],
                each["column"],
                each["key"],
                each["message"],
                each["hint"],
                each["level"] == "error",
            )
            for each in record["problems"]
        ),
    )


class NodeStatus(Frozen):
    """phases_file: /run/k3os/status.json as the phases left it. versions: "running", "current" and
    "previous" to component to version. loaders: of k3os.generation.boot_loaders.compare.
    kernel_args: "running", "current": lists; "refused": of k3os.generation.kernel_args.
    k3s_address: why k3s does not use the address that the node has now; k3s_moved_to: the address
    for which k3s was restarted in this boot."""

    phases_file: Mapping[str, Any] = field(default_factory=dict)
    hostname: str = ""
    node_name: str = ""
    versions: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    k3s: K3sUnit | None = None
    refused: str = ""
    k3s_address: str = ""
    k3s_moved_to: str = ""
    ready: Ready = field(default_factory=Ready)
    k3s_given: Mapping[str, list[str]] = field(default_factory=dict)
    not_in_k3s: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)
    memory: Memory = field(default_factory=Memory)
    disk: Disk | None = None
    loaders: Mapping[str, Any] = field(default_factory=dict)
    kernel_args: Mapping[str, Any] = field(default_factory=dict)
    extensions: Extensions = field(default_factory=Extensions)
    rollback: Rollback = field(default_factory=Rollback)
    taken_back: TakenBack = field(default_factory=TakenBack)
    verified: Verified = field(default_factory=Verified)
    boot_id: str = ""
    on_trial: bool = False
    clock_in_doubt: str = ""

    @property
    def mode(self) -> str:
        """ "" if no phase has reported."""
        return str(self.phases_file.get("mode", ""))

    @property
    def running(self) -> Mapping[str, str]:
        """Component to version of the running system."""
        return self.versions["running"]

    @property
    def phases(self) -> dict[str, PhaseOutcome]:
        records = self.phases_file.get("phases", {})
        return {name: phase_outcome(record) for name, record in records.items()}

    def as_dict(self) -> dict[str, Any]:
        return {
            **self.phases_file,
            "hostname": self.hostname,
            "node_name": self.node_name,
            "versions": {name: dict(parts) for name, parts in self.versions.items()},
            "k3s": self.k3s.as_dict() if self.k3s else {},
            "refused": self.refused,
            "k3s_address": self.k3s_address,
            "k3s_moved_to": self.k3s_moved_to,
            "ready": self.ready.as_dict(),
            "k3s_given": dict(self.k3s_given),
            "not_in_k3s": self.not_in_k3s,
            "addresses": self.addresses,
            "memory": self.memory.as_dict(),
            "disk": self.disk.as_dict() if self.disk else {},
            "loaders": dict(self.loaders),
            "kernel_args": dict(self.kernel_args),
            "extensions": self.extensions.as_dict(),
            "rollback": self.rollback.as_dict(),
            "taken_back": self.taken_back.as_dict(),
            "verified": self.verified.as_dict(),
            "boot_id": self.boot_id,
            "on_trial": self.on_trial,
            "clock_in_doubt": self.clock_in_doubt,
        }
