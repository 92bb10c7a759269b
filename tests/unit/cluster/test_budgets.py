"""Which PodDisruptionBudget blocks a pod's eviction, and what would satisfy it."""

from typing import Any

import pytest

from k3os.cluster.budgets import Budget, hindrance, parse_budget
from k3os.cluster.views import PodView

WEB = PodView("default", "web", "ReplicaSet", labels={"app": "web"})
SELECTOR = {"matchLabels": {"app": "web"}}
NUMBERS = "allows no eviction (currentHealthy {}, desiredHealthy {}, disruptionsAllowed 0): needs "


def budget(name: str = "keep", selector: Any = SELECTOR, status: Any = None, **spec: Any) -> Budget:
    """status: currentHealthy, desiredHealthy, disruptionsAllowed, expectedPods."""
    keys = ("currentHealthy", "desiredHealthy", "disruptionsAllowed", "expectedPods")
    numbers = dict(zip(keys, status or (0, 0, 0, 0), strict=True)) | {"observedGeneration": 2}
    meta = {"namespace": "default", "name": name, "generation": 2}
    return parse_budget(
        {"metadata": meta, "spec": {"selector": selector} | spec, "status": numbers}
    )


@pytest.mark.parametrize(
    ("spec", "status", "numbers", "remedy"),
    [
        (
            *({"minAvailable": 1}, (1, 1, 0, 1), (1, 1)),
            "1 more ready pod of app=web, or a smaller minAvailable than 1",
        ),
        (
            *({"minAvailable": 3}, (2, 3, 0, 3), (2, 3)),
            "2 more ready pods of app=web, or a smaller minAvailable than 3",
        ),
        # one of five pods may go, but one is not ready
        (
            *({"maxUnavailable": 1}, (4, 4, 0, 5), (4, 4)),
            "1 more ready pod of app=web, or a larger maxUnavailable than 1",
        ),
        # more pods do not help: all of them must stay
        ({"maxUnavailable": 0}, (3, 3, 0, 3), (3, 3), "a larger maxUnavailable than 0"),
        ({"minAvailable": "100%"}, (3, 3, 0, 3), (3, 3), "a smaller minAvailable than 100%"),
        # ceil(0.6 * 2) = 2, and with three pods it is 2, too
        (
            *({"minAvailable": "60%"}, (2, 2, 0, 2), (2, 2)),
            "1 more ready pod of app=web, or a smaller minAvailable than 60%",
        ),
        # ceil(0.1 * 3) = 1
        (
            *({"maxUnavailable": "10%"}, (2, 2, 0, 3), (2, 2)),
            "1 more ready pod of app=web, or a larger maxUnavailable than 10%",
        ),
    ],
)
def test_the_budget_is_named_with_its_numbers_and_what_would_satisfy_it(
    spec: dict[str, Any], status: tuple[int, ...], numbers: tuple[int, int], remedy: str
) -> None:
    words = hindrance(WEB, [budget(status=status, **spec)])
    assert words == f"PodDisruptionBudget default/keep {NUMBERS.format(*numbers)}{remedy}"


@pytest.mark.parametrize(
    ("min_available", "max_unavailable"),
    [(amount, "") for amount in ("1", "2", "7", "10%", "34%", "50%", "99%")]
    + [("", amount) for amount in ("1", "2", "10%", "34%", "50%", "99%")],
)
@pytest.mark.parametrize("pods", [1, 2, 3, 5, 9])
def test_so_many_more_ready_pods_do_satisfy_it_and_fewer_do_not(
    min_available: str, max_unavailable: str, pods: int
) -> None:
    """With the same arithmetic as the controller: percentages are rounded up."""

    def part(amount: str, of: int) -> int:
        if not amount.endswith("%"):
            return int(amount)
        return (of * int(amount[:-1]) + 99) // 100

    def allowed(healthy: int, expected: int) -> int:
        kept = part(min_available, expected) if min_available else 0
        kept = expected - part(max_unavailable, expected) if max_unavailable else kept
        return max(0, healthy - kept)

    for healthy in range(pods + 1):
        if allowed(healthy, pods):
            continue
        found = Budget(
            *("default", "keep", SELECTOR, min_available, max_unavailable),
            current=healthy,
            expected=pods,
        )
        more = found.missing()
        assert more > 0
        assert allowed(healthy + more, max(pods, healthy + more)) > 0
        assert not allowed(healthy + more - 1, max(pods, healthy + more - 1))


@pytest.mark.parametrize(
    ("pod", "budgets"),
    [
        (WEB, []),
        (WEB, [budget(status=(2, 1, 1, 2), minAvailable=1)]),
        (WEB, [budget(selector={"matchLabels": {"app": "db"}}, minAvailable=1)]),
        (WEB, [budget(selector=None, minAvailable=1)]),
        (PodView("other", "web", labels=WEB.labels), [budget(selector={}, minAvailable=1)]),
        (
            PodView("default", "web", labels=WEB.labels, pending=True, ready=False),
            [budget(status=(0, 1, 0, 1), minAvailable=1)],
        ),
        # a pod that is not ready does not count, and the others are enough
        (
            PodView("default", "web", labels=WEB.labels, ready=False),
            [budget(status=(2, 2, 0, 3), minAvailable=2)],
        ),
        (
            PodView("default", "web", labels=WEB.labels, ready=False),
            [budget(status=(1, 2, 0, 2), minAvailable=2, unhealthyPodEvictionPolicy="AlwaysAllow")],
        ),
    ],
)
def test_what_may_go_is_held_by_nothing(pod: PodView, budgets: list[Budget]) -> None:
    assert hindrance(pod, budgets) == ""


def test_an_unready_pod_that_a_budget_protects_could_be_let_go_by_its_policy() -> None:
    pod = PodView("default", "web", labels=WEB.labels, ready=False)
    words = hindrance(pod, [budget(status=(1, 2, 0, 2), minAvailable=2)])
    assert words.endswith("unhealthyPodEvictionPolicy: AlwaysAllow, since this pod is not ready")


def test_two_budgets_over_one_pod_are_both_named() -> None:
    words = hindrance(WEB, [budget("b", status=(9, 1, 8, 9)), budget("a", status=(9, 1, 8, 9))])
    assert "default/a and default/b both select it" in words


def test_an_empty_selector_takes_the_whole_namespace_and_expressions_are_named() -> None:
    spec: dict[str, Any] = {"minAvailable": 1, "status": (1, 1, 0, 1)}
    assert "ready pod in the namespace default" in hindrance(WEB, [budget(selector={}, **spec)])
    terms = [
        {"key": "app", "operator": "In", "values": ["web", "api"]},
        {"key": "gone", "operator": "DoesNotExist"},
    ]
    words = hindrance(WEB, [budget(selector={"matchExpressions": terms}, **spec)])
    assert "of app in (web, api),!gone" in words


def test_a_budget_that_was_just_changed_is_not_judged_by_its_old_numbers() -> None:
    body = {"metadata": {"namespace": "default", "name": "keep", "generation": 3}}
    found = parse_budget(body | {"spec": {"selector": SELECTOR}, "status": {}})
    assert "has not been counted" in hindrance(WEB, [found])


def test_a_budget_that_kubernetes_cannot_count_says_why_and_what_it_could_count() -> None:
    """Budgets of pods whose controller has no scale; a new one has no numbers and no generation
    then."""
    told = "found no controllers for pod"
    condition = {"type": "DisruptionAllowed", "status": "False", "reason": "SyncFailed"}
    status = {"disruptionsAllowed": 0, "conditions": [condition | {"message": told}]}
    body = {"metadata": {"namespace": "default", "name": "keep", "generation": 1}}
    spec = {"selector": SELECTOR, "maxUnavailable": 1}
    words = hindrance(WEB, [parse_budget(body | {"spec": spec, "status": status})])
    assert f"cannot count its pods ({told}): needs" in words
    assert words.endswith("a number as minAvailable")
    counted = condition | {"status": "True", "reason": "SufficientPods"}
    status |= {"disruptionsAllowed": 1, "observedGeneration": 1, "conditions": [counted]}
    assert hindrance(WEB, [parse_budget(body | {"spec": spec, "status": status})]) == ""
