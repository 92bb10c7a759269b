"""Workloads across a node's upgrade: `spec.strategy.workloads`, and the annotation of a node.

A workload owns pods and has them replaced: a DaemonSet or a static pod (on the same node), a
Deployment, ReplicaSet or StatefulSet (on any node). The annotation names.WORKLOADS lists those that
had a Ready pod on the node before it was drained, and later those that did not come back. It only
parses; operator/soak.py decides, operator/workload_looks.py asks the API.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace

from k3os.cluster.canary_spec import PAUSE, ROLLBACK
from k3os.cluster.duration import seconds
from k3os.cluster.objects import LONGEST, mapping, number, text
from k3os.cluster.views import DAEMON_SET
from k3os.errors import UserError
from k3os.system.json_text import an_object
from k3os.system.plural import counted

IGNORE = "Ignore"
ON_FAILURE = (IGNORE, PAUSE, ROLLBACK)
SOAK = 120  # seconds
WHERE = "spec.strategy.workloads"

# the reason of the node's failure
SICK = "SickWorkloads"
STATIC_POD, STATEFUL_SET, REPLICA_SET, DEPLOYMENT = (
    *("Pod", "StatefulSet", "ReplicaSet", "Deployment"),
)
KINDS = (DAEMON_SET, STATIC_POD, STATEFUL_SET, REPLICA_SET, DEPLOYMENT)
ON_THE_NODE = (DAEMON_SET, STATIC_POD)
# even with names of maximum length the annotation stays below objects.LONGEST
MOST, MOST_SICK, LONGEST_WHY = 32, 8, 120
SHOWN = 3  # how many a message names
_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_NAME = r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?"
_KEY = rf"({'|'.join(KINDS)})/{_LABEL}/{_NAME}"


@dataclass(frozen=True)
class Workloads:
    """soak: seconds that a node's workloads have to become Ready again."""

    on_failure: str = PAUSE
    soak: int = SOAK


def parse_workloads(given: object) -> Workloads | None:
    """None if there is none: then nothing is checked. Raises UserError."""
    if given is None:
        return None
    if not isinstance(given, Mapping):
        raise UserError("must be a map", "", WHERE)
    failure = given.get("onFailure", PAUSE)
    if failure not in ON_FAILURE:
        hint = f"write {', '.join(ON_FAILURE[:-1])} or {ON_FAILURE[-1]}"
        raise UserError(f"{failure!r} is unknown", hint, f"{WHERE}.onFailure")
    return Workloads(failure, seconds(given.get("soak", f"{SOAK}s"), f"{WHERE}.soak"))


@dataclass(frozen=True)
class Record:
    """Of one change of a node. ready: how many Ready pods each workload had, on all nodes. more:
    number of workloads left out. sick: those that did not come back, and why; others: number of
    sick ones left out. retried: the NodePool's annotation names.RETRIED when they were found.

    A workload is "Deployment/NAMESPACE/NAME"."""

    request: str
    ready: Mapping[str, int] = field(default_factory=dict)
    more: int = 0
    sick: Mapping[str, str] = field(default_factory=dict)
    others: int = 0
    retried: str = ""

    def as_json(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))

    @property
    def count(self) -> int:
        """Of sick workloads."""
        return len(self.sick) + self.others

    def looked_at(self) -> Collection[str]:
        """Once some are known to be sick, only those, if all of them are listed."""
        return self.sick if self.sick and not self.others else self.ready

    def found(self, sick: Mapping[str, str], retried: str) -> Record:
        """With what the check found."""
        named = {key: sick[key][:LONGEST_WHY] for key in sorted(sick)[:MOST_SICK]}
        return replace(self, sick=named, others=len(sick) - len(named), retried=retried)


# nothing is remembered of the node
NOTHING = Record("")


def parse_record(annotation: str) -> Record | None:
    """None if invalid: a node may write its own annotations. Never raises."""
    if not annotation or len(annotation) > LONGEST:
        return None
    try:
        given = an_object(annotation)
    except ValueError:
        return None
    found = Record(
        request=text(given.get("request")),
        ready={key: number(each) for key, each in mapping(given.get("ready")).items()},
        more=number(given.get("more")),
        sick={key: text(each) for key, each in mapping(given.get("sick")).items()},
        others=number(given.get("others")),
        retried=text(given.get("retried")),
    )
    keys = [*found.ready, *found.sick]
    is_one = (
        found.request
        and len(found.ready) <= MOST
        and len(found.sick) <= MOST_SICK
        and found.others <= MOST
        and all(re.fullmatch(_KEY, key) for key in keys)
        and all(found.ready.values())
        and all(0 < len(why) <= LONGEST_WHY for why in found.sick.values())
    )
    return found if is_one else None


def key_of(kind: str, namespace: str, name: str) -> str:
    """The key of a workload, "" if it is not one we handle."""
    key = f"{kind}/{namespace}/{name}"
    return key if re.fullmatch(_KEY, key) else ""


def parts(key: str) -> tuple[str, str, str]:
    """Kind, namespace, name."""
    kind, namespace, name = key.split("/")
    return kind, namespace, name


def described(record: Record) -> str:
    """The sick workloads, for people."""
    found = []
    for key, why in list(record.sick.items())[:SHOWN]:
        kind, namespace, name = parts(key)
        was = "was Ready on it before the upgrade and is not after"
        found.append(f"{kind} {namespace}/{name} {was}: {why}")
    hidden = record.count - len(found)
    found += [f"and {counted(hidden, 'more workload')}"] if hidden else []
    return "; ".join(found)


def remembered(record: Record) -> str:
    """How many are checked, and whether that is not all."""
    cut = f"; {counted(record.more, 'more workload')} of it not checked" if record.more else ""
    return f"{counted(len(record.ready), 'workload')} had Ready pods on it before{cut}"
