"""PodDisruptionBudgets in the emulator: their numbers, and whether one forbids an eviction.

kubernetes.io, "Specifying a Disruption Budget for your Application"; supports only matchLabels
selectors and absolute numbers.
"""

from typing import Any

Body = dict[str, Any]


def selects(budget: Body, pod: Body) -> bool:
    wanted = budget["spec"]["selector"].get("matchLabels") or {}
    return bool(wanted.items() <= (pod["metadata"].get("labels") or {}).items())


def status(budget: Body, pods: list[Body]) -> Body:
    spec = budget["spec"]
    counted = [pod for pod in pods if selects(budget, pod) and not is_over(pod)]
    healthy = sum(is_ready(pod) and not pod["metadata"].get("deletionTimestamp") for pod in counted)
    desired = spec.get("minAvailable", len(counted) - spec.get("maxUnavailable", 0))
    return {
        "currentHealthy": healthy,
        "desiredHealthy": max(0, desired),
        "disruptionsAllowed": max(0, healthy - desired),
        "expectedPods": len(counted),
        "observedGeneration": budget["metadata"].get("generation", 1),
    }


def forbids(budget: Body, pod: Body) -> bool:
    if not selects(budget, pod) or (pod.get("status") or {}).get("phase") == "Pending":
        return False
    return int((budget.get("status") or {}).get("disruptionsAllowed", 0)) < 1


def is_over(pod: Body) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def is_ready(pod: Body) -> bool:
    listed = (pod.get("status") or {}).get("conditions") or []
    return any((each["type"], each["status"]) == ("Ready", "True") for each in listed)
