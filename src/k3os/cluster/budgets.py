"""PodDisruptionBudgets: which one blocks a pod, with its numbers, and what would satisfy it. Pure.

Only the API server decides on an eviction; this applies the same rules beforehand to say why it
will refuse. Formats: policy/v1 (kubernetes.io, "Specifying a Disruption Budget for your
Application"; "API-initiated Eviction"). Percentages are rounded up, also for maxUnavailable.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from k3os.cluster.objects import conditions, inside, mapping, number, text
from k3os.cluster.selector import is_selector, matches
from k3os.cluster.views import PodView
from k3os.system.numbers import whole
from k3os.system.plural import counted

ALWAYS = "AlwaysAllow"
# a condition of a budget, and its reason when the disruption controller could not count the pods
ALLOWED, NOT_COUNTED = "DisruptionAllowed", "SyncFailed"
LONGEST = 400  # characters of the condition's message
# nobody starts more pods than this to move one
MOST_MORE = 100


@dataclass(frozen=True)
class Budget:
    """min_available, max_unavailable: a number or a percentage, "" for none. current, desired,
    allowed, expected: of its status. counted: its status is for its current spec. fault: why
    Kubernetes cannot count its pods, "" if it can."""

    namespace: str
    name: str
    selector: Mapping[str, Any] | None = None
    min_available: str = ""
    max_unavailable: str = ""
    current: int = 0
    desired: int = 0
    allowed: int = 0
    expected: int = 0
    counted: bool = True
    fault: str = ""
    unready_may_go: bool = False

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    def selects(self, pod: PodView) -> bool:
        """An empty selector selects all pods of the namespace, a missing one none."""
        same = self.namespace == pod.namespace
        return same and self.selector is not None and matches(self.selector, pod.labels)

    def lets(self, pod: PodView) -> bool:
        """Whether the pod may be evicted now."""
        if not pod.ready and (self.unready_may_go or self.current >= self.desired > 0):
            return True
        return self.counted and self.allowed > 0

    def missing(self) -> int:
        """How many more ready pods would let one go, 0 if no number would."""
        for more in range(1, MOST_MORE + 1):
            healthy = self.current + more
            if healthy > self._desired(max(self.expected, healthy)):
                return more
        return 0

    def _desired(self, expected: int) -> int:
        if self.max_unavailable:
            return expected - _scaled(self.max_unavailable, expected)
        if self.min_available:
            return _scaled(self.min_available, expected)
        return self.desired


def _scaled(amount: str, of: int) -> int:
    percent = amount.endswith("%")
    found = whole(amount.rstrip("%")) or 0
    return -(-of * found // 100) if percent else found


def parse_budget(body: Mapping[str, Any]) -> Budget:
    """Never raises: an invalid field counts as missing."""
    spec, status = mapping(body.get("spec")), mapping(body.get("status"))
    selector = spec.get("selector")
    generation = number(inside(body, "metadata", "generation"))
    return Budget(
        namespace=text(inside(body, "metadata", "namespace")),
        name=text(inside(body, "metadata", "name")),
        selector=selector if is_selector(selector) else None,
        min_available=_amount(spec.get("minAvailable")),
        max_unavailable=_amount(spec.get("maxUnavailable")),
        current=number(status.get("currentHealthy")),
        desired=number(status.get("desiredHealthy")),
        allowed=number(status.get("disruptionsAllowed")),
        expected=number(status.get("expectedPods")),
        counted=number(status.get("observedGeneration")) >= generation,
        fault=_fault(body),
        unready_may_go=spec.get("unhealthyPodEvictionPolicy") == ALWAYS,
    )


def _fault(body: Mapping[str, Any]) -> str:
    found = conditions(body).get(ALLOWED, {})
    if found.get("reason") != NOT_COUNTED:
        return ""
    return text(found.get("message"))[:LONGEST] or NOT_COUNTED


def _amount(value: object) -> str:
    """A number or a percentage as text, "" for anything else."""
    found = str(value) if type(value) is int else text(value, 16)
    return found if whole(found.removesuffix("%")) is not None else ""


def hindrance(pod: PodView, budgets: Iterable[Budget]) -> str:
    """Why the pod cannot be evicted now, and what would let it go; "" if nothing blocks it."""
    if pod.pending:
        return ""  # can be evicted regardless of budgets
    found = [budget for budget in budgets if budget.selects(pod)]
    if len(found) > 1:
        named = " and ".join(sorted(map(str, found))[:2])
        return (
            f"PodDisruptionBudgets {named} both select it, and Kubernetes evicts no such pod: "
            + ("needs a selector that leaves it to one of them")
        )
    if not found or found[0].lets(pod):
        return ""
    (budget,) = found
    if budget.fault:
        return (
            f"PodDisruptionBudget {budget} allows no eviction, since Kubernetes cannot count its "
            f"pods ({budget.fault}): needs a selector of pods whose controllers have a scale, or "
            "a number as minAvailable"
        )
    if not budget.counted:
        return f"PodDisruptionBudget {budget} has not been counted since it was changed"
    return (
        f"PodDisruptionBudget {budget} allows no eviction "
        f"(currentHealthy {budget.current}, desiredHealthy {budget.desired}, "
        f"disruptionsAllowed {budget.allowed}): needs {_remedy(pod, budget)}"
    )


def _remedy(pod: PodView, budget: Budget) -> str:
    found = []
    if more := budget.missing():
        found.append(f"{counted(more, 'more ready pod')} {_selected(budget)}")
    if budget.max_unavailable:
        found.append(f"a larger maxUnavailable than {budget.max_unavailable}")
    elif budget.min_available:
        found.append(f"a smaller minAvailable than {budget.min_available}")
    if not pod.ready:
        found.append(f"unhealthyPodEvictionPolicy: {ALWAYS}, since this pod is not ready")
    return ", or ".join(found) or "another budget"


def _selected(budget: Budget) -> str:
    """The budget's selector as kubectl writes one."""
    selector = mapping(budget.selector)
    terms = [f"{name}={value}" for name, value in mapping(selector.get("matchLabels")).items()]
    for each in selector.get("matchExpressions") or []:
        key, values = each["key"], ", ".join(each.get("values") or [])
        form = {"Exists": key, "DoesNotExist": f"!{key}", "In": f"{key} in ({values})"}
        terms.append(form.get(each["operator"], f"{key} notin ({values})"))
    return f"of {','.join(terms)}" if terms else f"in the namespace {budget.namespace}"
