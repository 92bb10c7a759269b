"""What the operator sees of a node's pods and of its own Jobs, as records of few fields.

Parsing of API objects (kubernetes.io, "API reference"); nothing is asked and nothing decided.
Nodes are read by cluster/node.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from k3os import names
from k3os.cluster.objects import inside, mapping, maps, text, texts

MIRROR = "kubernetes.io/config.mirror"
# what belongs to this operator in its namespace: no drain evicts it
OWN_APP = ("app.kubernetes.io/name", "k3os-operator")
REQUEST_LABEL = f"{names.GROUP}/request"


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
    meta = mapping(body.get("metadata"))
    owners = [each for each in maps(meta.get("ownerReferences")) if each.get("controller") is True]
    labels = texts(meta.get("labels"))
    namespace = text(meta.get("namespace"))
    return PodView(
        namespace=namespace,
        name=text(meta.get("name")),
        owner=text(owners[0].get("kind")) if owners else "",
        mirror=MIRROR in mapping(meta.get("annotations")),
        finished=inside(body, "status", "phase") in ("Succeeded", "Failed"),
        leaving=bool(meta.get("deletionTimestamp")),
        empty_dir=any("emptyDir" in each for each in maps(inside(body, "spec", "volumes"))),
        ours=namespace == names.NAMESPACE
        and (REQUEST_LABEL in labels or labels.get(OWN_APP[0]) == OWN_APP[1]),
    )


@dataclass(frozen=True)
class JobView:
    """done: None while it runs, else whether it succeeded. state, message: the node's answer;
    told: whether there is one. leaving: it is being deleted. note: what a person should know."""

    request: str
    done: bool | None = None
    message: str = ""
    state: str = ""
    told: bool = False
    leaving: bool = False
    note: str = ""
