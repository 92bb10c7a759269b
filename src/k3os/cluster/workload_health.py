"""Whether a workload has its Ready pods again, and if not, why. Pure: API objects in.

A workload that was deleted, or scaled down in the meantime, needs no pods; pods that have ended or
are terminating do not count. kubernetes.io, "API reference": apps/v1, v1 Pod.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from k3os.cluster.objects import conditions, inside, mapping, maps, number, text
from k3os.cluster.views import DAEMON_SET

Body = Mapping[str, Any]
# reasons of a container that is just starting: they do not explain what is wrong
STARTING = ("ContainerCreating", "PodInitializing")
CRASHING = "CrashLoopBackOff"


def is_ready(pod: Body) -> bool:
    return conditions(pod).get("Ready", {}).get("status") == "True" and is_there(pod)


def is_there(pod: Body) -> bool:
    """It has not ended, and is not about to."""
    ended = inside(pod, "status", "phase") in ("Succeeded", "Failed")
    return not ended and not inside(pod, "metadata", "deletionTimestamp")


def needed(kind: str, workload: Body | None, before: int) -> int:
    """How many Ready pods it should have. workload: None if it is gone. before: how many it
    had."""
    if workload is None or inside(workload, "metadata", "deletionTimestamp"):
        return 0
    if kind == DAEMON_SET:
        return min(before, number(inside(workload, "status", "desiredNumberScheduled")), 1)
    replicas = inside(workload, "spec", "replicas")
    return min(before, 1 if replicas is None else number(replicas))


def ready(workload: Body) -> int:
    """The Ready pods of a Deployment, ReplicaSet or StatefulSet, as counted by its controller."""
    return number(inside(workload, "status", "readyReplicas"))


def why(has: int, needs: int, pods: Iterable[Body]) -> str:
    """What is wrong, "" if nothing is. pods: of the workload."""
    if has >= needs:
        return ""
    return f"{has} of {needs} pods, {_worst(pods)}"


def _worst(pods: Iterable[Body]) -> str:
    found = [trouble(pod) for pod in pods if is_there(pod) and not is_ready(pod)]
    if not found:
        return "none in the place of the others"
    return min(found, key=lambda each: (not each.startswith(CRASHING), each))


def trouble(pod: Body) -> str:
    """Why a pod is not Ready: "CrashLoopBackOff in container app"."""
    listed = [
        each
        for name in ("initContainerStatuses", "containerStatuses")
        for each in maps(inside(pod, "status", name))
    ]
    told = [(each, _reason(each)) for each in listed]
    for each, reason in told:
        if reason and reason not in STARTING:
            return f"{reason} in container {_word(each.get('name'))}"
    scheduled = conditions(pod).get("PodScheduled", {})
    if scheduled.get("status") == "False":
        return _word(scheduled.get("reason")) or "not scheduled"
    for each, reason in told:
        if reason or each.get("ready") is False:
            return f"{reason or 'not ready'} in container {_word(each.get('name'))}"
    return "not ready"


def _reason(container: Mapping[str, Any]) -> str:
    """Why a container does not run, "" if it does, or has ended successfully."""
    waiting = _word(inside(container, "state", "waiting", "reason"))
    ended = mapping(inside(container, "state", "terminated"))
    return waiting or ("" if not ended.get("exitCode") else _word(ended.get("reason")) or "Error")


def _word(value: object) -> str:
    """A reason or a name in Kubernetes' form; "" for anything else."""
    found = text(value, 63)
    return found if re.fullmatch(r"[A-Za-z0-9][-A-Za-z0-9_.]*", found) else ""
