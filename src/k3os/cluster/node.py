"""A Node as its reports and the operator's annotation describe it: a record of few fields.

Parsing of API objects (kubernetes.io, "API reference"); it asks and decides nothing. The operator
and `kubectl k3os` use the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from k3os import names
from k3os.cluster.objects import LONGEST, conditions, inside, text, texts
from k3os.cluster.pulled_image import Pulled
from k3os.cluster.workloads import Record, parse_record
from k3os.system.json_text import an_object

CONTROL_PLANE = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
ETCD = "node-role.kubernetes.io/etcd"

# the steps of a node, in order; FAILED stays until the target changes
CHECKING, DRAINING, CHANGING, WAITING, SOAKING, FAILED = STEPS = (
    *("Checking", "Draining", "Changing", "Waiting", "Soaking", "Failed"),
)

# seconds since 1970, a few thousand years from now: time.localtime() still accepts it
LATEST = 10**11
LONGEST_VERSION = 256
# an image by its digest: no other image can have that name
IMAGE = r"sha256:[0-9a-f]{64}"
_OURS = f"{names.GROUP}/"
# becomes part of a Job's name
REQUEST = r"[a-z0-9]([-.a-z0-9]{0,400}[a-z0-9])?"
# of a node's name as part of a request: a node accepts 253 characters (cluster/request.py)
LONGEST_NAME = 180


@dataclass(frozen=True)
class State:
    """The annotation names.ROLLOUT: the change of a node in progress. Times: seconds since 1970.

    request: names the Job and its result. cordoned: by us. reboot: whether it is allowed.
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
        """The request whose Job this step waits for, "" for none. A check has a request name of its
        own."""
        return {CHECKING: f"{self.request}-check", CHANGING: self.request}.get(self.step, "")

    def as_json(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))


_TYPES = {
    each.name: {"str": str, "int": int, "bool": bool}[str(each.type)] for each in fields(State)
}


def parse_state(annotation: str | None) -> State | None:
    """None if invalid: a node may write its own annotations, and nothing in them may stop the
    operator."""
    if len(annotation or "") > LONGEST:
        return None
    try:
        state = State(**an_object(annotation or ""))
    except (ValueError, TypeError):
        return None
    is_one = (
        all(type(value) is _TYPES[name] for name, value in asdict(state).items())
        and state.step in STEPS
        and re.fullmatch(REQUEST, state.request)
        and all(0 <= each <= LATEST for each in (state.started, state.since))
    )
    return state if is_one else None


@dataclass(frozen=True)
class ByHand:
    """The annotation names.BY_HAND: `kubectl k3os COMMAND` is working on the node. until: when it
    gives up at the latest, in seconds since 1970. token: identifies this call."""

    command: str
    until: int
    token: str

    def as_json(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))


def parse_by_hand(annotation: str) -> ByHand | None:
    """None if invalid: then it blocks nobody."""
    if len(annotation) > LONGEST:
        return None
    try:
        found = ByHand(**an_object(annotation))
    except (ValueError, TypeError):
        return None
    texts_only = type(found.command) is str and type(found.token) is str
    fits = texts_only and type(found.until) is int and 0 <= found.until <= LATEST
    return found if fits and re.fullmatch(r"[a-z]{1,20}", found.command) else None


@dataclass(frozen=True)
class RequestResult:
    """What a node reports about a request."""

    request: str
    state: str
    message: str = ""
    when: str = ""


@dataclass(frozen=True)
class NodeView:
    """healthy: K3OSHealthy, None while unknown. trial: its version is not confirmed yet. image:
    the operator's image for its pods, "" for none; pulled: how the node gets it, None if it has it.
    unreadable: why no change of it is started. annotations: without those about the node or what is
    done to it (k3os.io/…)."""

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
    last: RequestResult | None = None
    state: State | None = None
    image: str = ""
    pulled: Pulled | None = None
    unreadable: str = ""
    by_hand: ByHand | None = None
    workloads: Record | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def control_plane(self) -> bool:
        return any(label in self.labels for label in CONTROL_PLANE)

    @property
    def etcd(self) -> bool:
        return ETCD in self.labels


def parse_node(body: Mapping[str, Any], other: Pulled | None = None) -> NodeView:
    """Never raises: an invalid field counts as missing, or makes the node unreadable. other: the
    image for a node that names none of its own."""
    name, labels = text(inside(body, "metadata", "name")), texts(inside(body, "metadata", "labels"))
    notes = texts(inside(body, "metadata", "annotations"))
    known = conditions(body)
    health = known.get(names.CONDITION, {})
    state, unreadable = _state(name, notes.get(names.ROLLOUT, ""))
    own = _image(notes.get(names.IMAGE, ""))
    pulled = None if own else other
    return NodeView(
        name=name,
        labels=labels,
        ready=known.get("Ready", {}).get("status") == "True",
        unschedulable=inside(body, "spec", "unschedulable") is True,
        k3os=text(notes.get(names.K3OS), LONGEST_VERSION),
        k3s=text(notes.get(names.K3S), LONGEST_VERSION),
        config_hash=text(notes.get(names.CONFIG_HASH), LONGEST_VERSION),
        boot_id=text(notes.get(names.BOOT_ID), LONGEST_VERSION),
        trial=notes.get(names.TRIAL) == "true",
        healthy={"True": True, "False": False}.get(text(health.get("status"))),
        health=text(health.get("message")),
        health_reason=text(health.get("reason")),
        kernel=text(notes.get(names.KERNEL), LONGEST_VERSION),
        mode=labels.get(names.MODE_LABEL, ""),
        last=_result(notes.get(names.LAST_RESULT)),
        state=state,
        image=pulled.name if pulled else own,
        pulled=pulled,
        unreadable=unreadable,
        by_hand=parse_by_hand(notes.get(names.BY_HAND, "")),
        workloads=parse_record(notes.get(names.WORKLOADS, "")),
        annotations={name: each for name, each in notes.items() if not name.startswith(_OURS)},
    )


def _state(name: str, annotation: str) -> tuple[State | None, str]:
    """A node's state, and what is wrong with it. Its request must contain its own full name: with
    the request of another node, worker-1-gpu for worker-1, it could end that node's Job."""
    state = parse_state(annotation)
    own = rf"[0-9a-z]+-{re.escape(name_in_requests(name))}-[0-9]+(-boot)*"  # operator/rollout.py
    if state is not None and re.fullmatch(own, state.request):
        return state, ""
    return (
        None,
        f"its annotation {names.ROLLOUT} was not written by the operator: remove it"
        if annotation
        else "",
    )


def name_in_requests(name: str) -> str:
    """A node's name, shortened with a hash if it is too long."""
    if len(name) <= LONGEST_NAME:
        return name
    import hashlib

    return f"{name[:LONGEST_NAME]}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def _image(annotation: str) -> str:
    return annotation if re.fullmatch(IMAGE, annotation) else ""


def _result(annotation: str | None) -> RequestResult | None:
    if len(annotation or "") > LONGEST:
        return None
    try:
        fields = an_object(annotation or "")
    except ValueError:
        return None
    if not {"request", "state"} <= set(fields):
        return None
    return RequestResult(
        *(str(fields.get(name, "")) for name in ("request", "state", "message", "when"))
    )
