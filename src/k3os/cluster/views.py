"""The operator's view of a node's pods and volumes, and of its Jobs, as records of few fields.

Parsing of API objects (kubernetes.io, "API reference"); it asks and decides nothing. Nodes are read
by cluster/node.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from k3os import names
from k3os.cluster.objects import conditions, inside, mapping, maps, text, texts

MIRROR = "kubernetes.io/config.mirror"
DAEMON_SET = "DaemonSet"
# values of a pod's annotation names.DRAIN
SKIP, EVICT = "skip", "evict"
# this operator's own pods in its namespace: no drain evicts them
OWN_APP = ("app.kubernetes.io/name", "k3os-operator")
REQUEST_LABEL = f"{names.GROUP}/request"


@dataclass(frozen=True)
class PodView:
    """owner: the kind of its controller, owner_name: its name, "" for a bare pod. drain: SKIP or
    EVICT. created, ends: seconds since 1970; ends: end of the grace period of a leaving pod.
    claims: its volumes' PVCs, as namespace/name."""

    namespace: str
    name: str
    owner: str = ""
    mirror: bool = False
    finished: bool = False
    leaving: bool = False
    empty_dir: bool = False
    ours: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    priority: int = 0
    drain: str = ""
    created: float = 0.0
    ends: float = 0.0
    pending: bool = False
    ready: bool = True
    claims: tuple[str, ...] = ()
    owner_name: str = ""

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def owner(body: Mapping[str, Any]) -> tuple[str, str]:
    """Kind and name of an object's controller, "" and "" for none."""
    for each in maps(inside(body, "metadata", "ownerReferences")):
        if each.get("controller") is True:
            return text(each.get("kind")), text(each.get("name"))
    return "", ""


def parse_pod(body: Mapping[str, Any]) -> PodView:
    meta = mapping(body.get("metadata"))
    kind, owner_name = owner(body)
    labels, notes = texts(meta.get("labels")), texts(meta.get("annotations"))
    namespace, name = text(meta.get("namespace")), text(meta.get("name"))
    phase = inside(body, "status", "phase")
    priority = inside(body, "spec", "priority")
    return PodView(
        namespace=namespace,
        name=name,
        owner=kind,
        mirror=MIRROR in notes,
        finished=phase in ("Succeeded", "Failed"),
        leaving=bool(meta.get("deletionTimestamp")),
        empty_dir=any("emptyDir" in each for each in maps(inside(body, "spec", "volumes"))),
        ours=namespace == names.NAMESPACE
        and (REQUEST_LABEL in labels or labels.get(OWN_APP[0]) == OWN_APP[1]),
        labels=labels,
        priority=priority if type(priority) is int else 0,
        drain=notes.get(names.DRAIN, ""),
        created=_seconds(meta.get("creationTimestamp")),
        ends=_seconds(meta.get("deletionTimestamp")),
        pending=phase == "Pending",
        ready=conditions(body).get("Ready", {}).get("status") == "True",
        claims=tuple(_claims(body, namespace, name)),
        owner_name=owner_name,
    )


def _seconds(stamp: object) -> float:
    """A time of the API (RFC 3339) in seconds since 1970, 0 for anything else."""
    try:
        return datetime.fromisoformat(text(stamp)).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def _claims(body: Mapping[str, Any], namespace: str, pod: str) -> Iterator[str]:
    """kubernetes.io, "Ephemeral Volumes": the claim of a generic one is named after the pod and
    the volume."""
    for each in maps(inside(body, "spec", "volumes")):
        if claim := text(inside(each, "persistentVolumeClaim", "claimName")):
            yield f"{namespace}/{claim}"
        elif "ephemeral" in each:
            yield f"{namespace}/{pod}-{text(each.get('name'))}"


@dataclass(frozen=True)
class AttachmentView:
    """A VolumeAttachment (storage.k8s.io/v1). volume: a PersistentVolume, "" for an inline one.
    claim: of that volume, as namespace/name, None while unknown."""

    name: str
    node: str
    volume: str = ""
    driver: str = ""
    claim: str | None = None

    def __str__(self) -> str:
        return f"{self.volume or self.name} ({self.driver})"


def parse_attachment(body: Mapping[str, Any]) -> AttachmentView:
    spec = mapping(body.get("spec"))
    volume = text(inside(spec, "source", "persistentVolumeName"))
    return AttachmentView(
        name=text(inside(body, "metadata", "name")),
        node=text(spec.get("nodeName")),
        volume=volume,
        driver=text(spec.get("attacher")),
        claim=None if volume else "",
    )


def parse_claim(volume: Mapping[str, Any]) -> str:
    """The PersistentVolumeClaim that a PersistentVolume is bound to, as namespace/name, "" for
    none."""
    found = mapping(inside(volume, "spec", "claimRef"))
    return f"{text(found.get('namespace'))}/{text(found.get('name'))}" if found else ""


@dataclass(frozen=True)
class JobView:
    """done: None while it runs, else whether it succeeded. state, message: the node's answer;
    told: whether there is one. leaving: it is being deleted. note: for the user. waits: why its pod
    cannot run, in the kubelet's words."""

    request: str
    done: bool | None = None
    message: str = ""
    state: str = ""
    told: bool = False
    leaving: bool = False
    note: str = ""
    waits: str = ""
