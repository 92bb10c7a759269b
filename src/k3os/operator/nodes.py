"""What the operator sees of the cluster: nodes, their pods, its Jobs, as records of few fields.

Parsing of API objects (kubernetes.io, "API reference"); nothing is asked and nothing decided.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from k3os.cluster import names

CONTROL_PLANE = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
ETCD = "node-role.kubernetes.io/etcd"
MIRROR = "kubernetes.io/config.mirror"

# the steps of one node, in their order; FAILED stays until the target changes
CHECKING, DRAINING, CHANGING, WAITING, FAILED = STEPS = (
    *("Checking", "Draining", "Changing", "Waiting", "Failed"),
)
# what belongs to this operator in its namespace: no drain evicts it
OWN_APP = ("app.kubernetes.io/name", "k3os-operator")
REQUEST_LABEL = f"{names.GROUP}/request"


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

    def as_json(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))


def parse_state(text: str | None) -> State | None:
    """None for what is no state: somebody's edit must not stop a rollout for good."""
    try:
        found = State(**json.loads(text or ""))
    except (ValueError, TypeError):
        return None
    return found if found.step in STEPS else None


@dataclass(frozen=True)
class Result:
    """What a node says of a request."""

    request: str
    state: str
    message: str = ""


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
        last=_result(notes.get(names.LAST_RESULT)),
        state=parse_state(notes.get(names.ROLLOUT)),
    )


def _result(text: str | None) -> Result | None:
    try:
        found = json.loads(text or "")
        return Result(str(found["request"]), str(found["state"]), str(found.get("message", "")))
    except (ValueError, TypeError, KeyError):
        return None


@dataclass(frozen=True)
class PodView:
    """owner: the kind of its controller, "" for a bare pod."""

    namespace: str
    name: str
    owner: str = ""
    mirror: bool = False
    finished: bool = False
    leaving: bool = False
    empty_dir: bool = False
    ours: bool = False

    @property
    def stays(self) -> bool:
        """A drain leaves it alone."""
        return self.mirror or self.finished or self.owner == "DaemonSet" or self.ours

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def parse_pod(body: Mapping[str, Any]) -> PodView:
    meta = body["metadata"]
    owners = [each for each in meta.get("ownerReferences") or [] if each.get("controller")]
    labels = meta.get("labels") or {}
    return PodView(
        namespace=meta["namespace"],
        name=meta["name"],
        owner=owners[0]["kind"] if owners else "",
        mirror=MIRROR in (meta.get("annotations") or {}),
        finished=body.get("status", {}).get("phase") in ("Succeeded", "Failed"),
        leaving=bool(meta.get("deletionTimestamp")),
        empty_dir=any("emptyDir" in each for each in body.get("spec", {}).get("volumes") or []),
        ours=meta["namespace"] == names.NAMESPACE
        and (REQUEST_LABEL in labels or labels.get(OWN_APP[0]) == OWN_APP[1]),
    )


@dataclass(frozen=True)
class JobView:
    """done: None while it runs, else whether it succeeded. result: the node's last line."""

    request: str
    done: bool | None = None
    message: str = ""
    state: str = ""
