"""A Node as its reports and the operator's annotation describe it: a record of few fields.

Parsing of API objects (kubernetes.io, "API reference"); nothing is asked and nothing decided.
The operator and `kubectl k3os` read the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from k3os.cluster import names

CONTROL_PLANE = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
ETCD = "node-role.kubernetes.io/etcd"

# the steps of one node, in their order; FAILED stays until the target changes
CHECKING, DRAINING, CHANGING, WAITING, FAILED = STEPS = (
    *("Checking", "Draining", "Changing", "Waiting", "Failed"),
)


# bytes of an annotation of ours, with room to spare
LONGEST = 16384
# seconds since 1970, a few thousand years from now: what time.localtime() takes
LATEST = 10**11
# becomes part of a Job's name
REQUEST = r"[a-z0-9]([-.a-z0-9]{0,400}[a-z0-9])?"


@dataclass(frozen=True)
class State:
    """The annotation names.ROLLOUT: what was begun with a node. Times: seconds since 1970.

    request: names the Job and its result. cordoned: by us. reboot: whether it may.
    """

    pool: str
    target: str
    step: str
    request: str
    started: int
    since: int
    cordoned: bool = False
    reboot: bool = True
    boot_id: str = ""
    reason: str = ""
    message: str = ""

    @property
    def job(self) -> str:
        """The request whose Job this step waits for, "" for none. One that only checks has a
        name of its own."""
        return {CHECKING: f"{self.request}-check", CHANGING: self.request}.get(self.step, "")

    def as_json(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))


_TYPES = {
    each.name: {"str": str, "int": int, "bool": bool}[str(each.type)] for each in fields(State)
}


def parse_state(text: str | None) -> State | None:
    """None for what is no state: a node may write its own annotations, and nothing that stands
    there may stop the operator."""
    if len(text or "") > LONGEST:
        return None
    try:
        found = State(**json.loads(text or ""))
    except (ValueError, TypeError, RecursionError):
        return None
    is_one = (
        all(type(value) is _TYPES[name] for name, value in asdict(found).items())
        and found.step in STEPS
        and re.fullmatch(REQUEST, found.request)
        and all(0 <= each <= LATEST for each in (found.started, found.since))
    )
    return found if is_one else None


@dataclass(frozen=True)
class Result:
    """What a node says of a request."""

    request: str
    state: str
    message: str = ""
    when: str = ""


@dataclass(frozen=True)
class NodeView:
    """healthy: K3OSHealthy, None while unknown. trial: its version is not confirmed yet."""

    name: str
    labels: Mapping[str, str]
    ready: bool
    unschedulable: bool
    k3os: str = ""
    k3s: str = ""
    config_hash: str = ""
    boot_id: str = ""
    trial: bool = False
    healthy: bool | None = None
    health: str = ""
    health_reason: str = ""
    kernel: str = ""
    mode: str = ""
    last: Result | None = None
    state: State | None = None

    @property
    def control_plane(self) -> bool:
        return any(label in self.labels for label in CONTROL_PLANE)

    @property
    def etcd(self) -> bool:
        return ETCD in self.labels


def parse_node(body: Mapping[str, Any]) -> NodeView:
    meta = body["metadata"]
    notes = meta.get("annotations") or {}
    conditions = {each["type"]: each for each in body.get("status", {}).get("conditions", [])}
    health = conditions.get(names.CONDITION, {})
    return NodeView(
        name=meta["name"],
        labels=meta.get("labels") or {},
        ready=conditions.get("Ready", {}).get("status") == "True",
        unschedulable=bool(body.get("spec", {}).get("unschedulable")),
        k3os=notes.get(names.K3OS, ""),
        k3s=notes.get(names.K3S, ""),
        config_hash=notes.get(names.CONFIG_HASH, ""),
        boot_id=notes.get(names.BOOT_ID, ""),
        trial=notes.get(names.TRIAL) == "true",
        healthy={"True": True, "False": False}.get(health.get("status", "")),
        health=health.get("message", ""),
        health_reason=health.get("reason", ""),
        kernel=notes.get(names.KERNEL, ""),
        mode=(meta.get("labels") or {}).get(names.MODE_LABEL, ""),
        last=_result(notes.get(names.LAST_RESULT)),
        state=parse_state(notes.get(names.ROLLOUT)),
    )


def _result(text: str | None) -> Result | None:
    if len(text or "") > LONGEST:
        return None
    try:
        found = json.loads(text or "")
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not {"request", "state"} <= set(found):
        return None
    return Result(*(str(found.get(name, "")) for name in ("request", "state", "message", "when")))
