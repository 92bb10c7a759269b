"""Which pods leave a node, in which order, what blocks them, and when the node may reboot."""

from dataclasses import replace
from typing import Any

import pytest

from k3os import names
from k3os.cluster.budgets import Budget
from k3os.cluster.drain import BLOCKED, DETACHING, PATIENCE, RETRY, Load, Turn, stays, turn
from k3os.cluster.node import DRAINING, State
from k3os.cluster.progress import progress
from k3os.cluster.spec import Drain
from k3os.cluster.turns import Cluster
from k3os.cluster.views import EVICT, SKIP, AttachmentView, PodView, parse_attachment, parse_pod
from k3os.operator.decisions import Eviction, NodePatch, Said
from k3os.operator.rollout import decide
from k3os.operator.status import status
from tests.unit.cluster import objects
from tests.unit.operator.simulator import node
from tests.unit.operator.test_rollout import NEW, pool

NOW = 1_800_000_000
STATE = State("all", NEW.digest, DRAINING, f"{NEW.digest}-a-1", NOW - 60, NOW - 30, cordoned=True)
LABELS = {"app": "web"}
HELD = Budget("default", "keep", {"matchLabels": LABELS}, "1", current=1, desired=1, expected=1)
CRITICAL = 2_000_001_000


def web(name: str = "web", **more: Any) -> PodView:
    return PodView("default", name, **({"owner": "ReplicaSet"} | more))


def after(load: Load, now: float = NOW, state: State = STATE, **options: Any) -> Turn:
    return turn(state, Drain(**options), load, now)


def evicted(*pods: PodView, **options: Any) -> set[str]:
    return {pod.name for pod in after(Load(pods), **options).evict}


def test_pods_leave_in_waves_and_those_critical_for_the_node_are_the_last() -> None:
    pods = [
        web("node", priority=CRITICAL),
        web("low", priority=-10),
        web("usual"),
        web("usual-daemon", owner="DaemonSet", drain=EVICT),
        web("lower", priority=-10),
        web("cluster", priority=CRITICAL - 1000),
    ]
    waves = []
    while left := after(Load(pods)).evict:
        waves.append({pod.name for pod in left})
        pods = [pod for pod in pods if pod not in left]
    assert waves == [{"low", "lower"}, {"usual"}, {"usual-daemon"}, {"cluster"}, {"node"}]


def test_the_next_wave_waits_until_the_one_before_is_gone() -> None:
    going = web("low", leaving=True, priority=-1)
    assert evicted(going, web("usual")) == set()
    assert evicted(going, web("other", priority=-1), web("usual")) == {"other"}


@pytest.mark.parametrize(
    ("pod", "options", "goes"),
    [
        (web(), {}, True),
        (web(drain=SKIP), {}, False),
        (web(owner="", drain=SKIP), {}, False),
        (web(drain="Evict"), {}, True),
        (web(owner=""), {"force": True}, True),
        (web(owner="DaemonSet"), {}, False),
        (web(owner="DaemonSet", drain=EVICT, created=NOW - 3600), {}, True),
        # its DaemonSet has just created it as a replacement
        (web(owner="DaemonSet", drain=EVICT, created=NOW - 10), {}, False),
        (web(owner="DaemonSet", drain=EVICT, created=NOW - 10), {"ignore_daemon_sets": False}, 0),
        (web(owner="DaemonSet", drain=EVICT, ours=True), {}, False),
        (web(owner="Node", mirror=True, drain=EVICT), {}, False),
        (web(labels=LABELS), {"pod_selector": {"matchLabels": LABELS}}, True),
        (web(), {"pod_selector": {"matchLabels": LABELS}}, False),
        (web(), {"pod_selector": {}}, True),
    ],
)
def test_who_goes_and_who_stays(pod: PodView, options: dict[str, Any], goes: bool) -> None:
    found = after(Load([pod]), **options)
    assert ({each.name for each in found.evict} == {"web"}) == bool(goes)
    assert found.done != goes


@pytest.mark.parametrize(
    ("pod", "options", "words"),
    [
        (web(owner=""), {}, "strategy.drain.force"),
        (
            web(empty_dir=True),
            {"delete_empty_dir_data": False},
            "strategy.drain.deleteEmptyDirData",
        ),
        (web(owner="DaemonSet"), {"ignore_daemon_sets": False}, "strategy.drain.ignoreDaemonSets"),
    ],
)
@pytest.mark.parametrize("alone", [True, False])
def test_what_would_be_lost_is_refused_before_anything_is_evicted(
    pod: PodView, options: dict[str, Any], words: str, alone: bool
) -> None:
    found = after(Load([pod, web("other")], alone=alone), **options)
    assert (found.failed, found.evict) == ("DrainRefused", ())
    assert words in found.message and "default/web" in found.message


def test_a_pod_that_does_not_end_in_time_need_not_be_waited_for() -> None:
    late = web(leaving=True, ends=NOW - 20)
    assert not after(Load([late])).done
    assert not after(Load([late]), skip_wait=20).done
    assert after(Load([late]), skip_wait=19).done


def test_a_blocked_drain_names_the_budget_once_it_is_more_than_one_pod_after_another() -> None:
    load = Load([web(labels=LABELS), web("x", labels=LABELS), web("free")], [HELD])
    early = after(load, STATE.since + PATIENCE - 1)
    assert (early.reason, early.message) == ("", "")
    assert {pod.name for pod in early.evict} == {"web", "x", "free"}, "the API may know better"
    found = after(load, STATE.since + PATIENCE)
    assert (found.reason, found.wake) == (BLOCKED, RETRY)
    assert found.message == (
        "default/web: PodDisruptionBudget default/keep allows no eviction (currentHealthy 1, "
        "desiredHealthy 1, disruptionsAllowed 0): needs 1 more ready pod of app=web, or a smaller "
        "minAvailable than 1 (and 1 more pod is held)"
    )


def test_what_the_api_says_is_shown_where_no_budget_explains_it() -> None:
    """An admission webhook may refuse, or the budgets may be unreadable."""
    load = Load([web()], refused={"default/web": "the webhook says no"})
    assert after(load).message == "default/web: the webhook says no"


def test_a_drain_that_takes_too_long_names_the_pods_and_the_budget() -> None:
    found = after(Load([web(labels=LABELS)], [HELD]), STATE.since + 300)
    assert found.failed == "DrainTimeout"
    assert "still there: default/web; default/web: PodDisruptionBudget" in found.message


def test_where_there_is_no_other_node_nothing_is_evicted_and_no_budget_holds() -> None:
    load = Load([web(labels=LABELS)], [HELD], alone=True, attached=[AttachmentView("x", "a", "pv")])
    found = after(load)
    assert (found.done, found.evict, found.reason) == (True, (), "NotDrained")
    assert after(Load([], alone=True)).reason == ""


def test_nothing_is_drained_where_that_is_switched_off() -> None:
    assert after(Load(None), enabled=False).done


def test_volumes_are_waited_for_with_a_limit_of_their_own() -> None:
    volume = AttachmentView("x", "a", "pvc-1", "driver.longhorn.io")
    load = Load([], attached=[volume])
    found = after(load)
    assert (found.reason, found.anew, found.done) == (DETACHING, True, False)
    assert found.message == "volumes are still attached to it: pvc-1 (driver.longhorn.io)"
    waiting = replace(STATE, reason=DETACHING, since=NOW)
    assert after(load, NOW + 119, waiting).wake == 1
    assert after(load, NOW + 10, waiting, detach_timeout=10).reason == "VolumesStillAttached"
    assert after(load, NOW + 120, waiting).done
    assert after(Load([]), NOW + 1, waiting) == Turn(done=True)


def test_volumes_of_pods_that_stay_are_not_waited_for() -> None:
    stays = web(owner="DaemonSet", claims=("default/data",))
    kept = AttachmentView("x", "a", "pvc-1", "driver", claim="default/data")
    other = replace(kept, volume="pvc-2", claim="default/other")
    unknown = replace(kept, volume="pvc-3", claim=None)
    assert after(Load([stays], attached=[kept])).done
    assert (
        "pvc-2 (driver), pvc-3 (driver)"
        in after(Load([stays], attached=[kept, other, unknown])).message
    )
    over = replace(stays, finished=True)
    assert not after(Load([over], attached=[kept])).done


def test_volumes_that_cannot_be_read_hold_nothing_for_ever() -> None:
    load = Load([], attached=None)
    early = after(load, STATE.since + 1)
    assert (early.done, early.reason) == (False, "")
    assert after(load, STATE.since + RETRY).reason == DETACHING
    assert after(load, NOW + 120, replace(STATE, reason=DETACHING, since=NOW)).done


def decided(load: Load, state: State = STATE, now: float = NOW) -> list[Any]:
    cluster = Cluster((replace(node("a"), state=state), node("b")))
    return list(decide(pool(), cluster, {"a": load}, {}, now).decisions)


def test_the_node_the_pool_and_kubectl_say_what_holds_a_drain() -> None:
    load = Load([web(labels=LABELS)], [HELD])
    patch, said, eviction = decided(load)
    assert isinstance(patch, NodePatch) and patch.state is not None
    assert isinstance(said, Said) and (said.reason, said.warning) == (BLOCKED, True)
    assert isinstance(eviction, Eviction)
    assert "default/keep" in patch.state.message == said.message
    # reported once, but tried again
    assert [type(each) for each in decided(load, patch.state)] == [Eviction]
    cluster = Cluster((replace(node("a"), state=patch.state), node("b")))
    found = status(pool(), cluster, "maxUnavailable (1) is reached", NOW, {})
    told = {each["type"]: each for each in found["conditions"]}["Progressing"]
    assert (told["status"], told["reason"]) == ("False", BLOCKED)
    assert told["message"] == f"a: {patch.state.message}"
    assert found["changing"][0]["message"] == patch.state.message
    seen = objects.node("a", state={"step": DRAINING, "message": patch.state.message})
    (row,) = progress("workers", [objects.pool()], [seen]).rows
    assert row.message == patch.state.message


def test_what_held_it_is_forgotten_as_soon_as_it_goes_on() -> None:
    held = replace(STATE, reason=BLOCKED, message="a budget")
    patch, _ = decided(Load([web()]), held)
    assert (patch.state.reason, patch.state.message) == ("", "")
    (patch,) = decided(Load([]), held)
    assert (patch.state.step, patch.state.reason, patch.state.message) == ("Changing", "", "")


def test_a_limit_for_volumes_begins_when_the_pods_are_gone() -> None:
    (patch,) = decided(Load([], attached=[AttachmentView("x", "a", "pvc-1", "d")]))
    assert (patch.state.reason, patch.state.since) == (DETACHING, NOW)
    going, said = decided(
        Load([], attached=[AttachmentView("x", "a", "pvc-1", "d")]), patch.state, NOW + 120
    )
    assert (going.state.step, said.reason) == ("Changing", "VolumesStillAttached")


def test_a_pod_of_the_api_becomes_a_record() -> None:
    body = {
        "metadata": {
            "namespace": "default",
            "name": "db-0",
            "labels": LABELS,
            "annotations": {names.DRAIN: "skip"},
            "creationTimestamp": "2027-01-15T08:00:00Z",
            "deletionTimestamp": "2027-01-15T08:00:30Z",
        },
        "spec": {
            "priority": 7,
            "volumes": [
                {"name": "data", "persistentVolumeClaim": {"claimName": "data-db-0"}},
                {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {}}},
            ],
        },
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }
    found = parse_pod(body)
    assert (found.priority, found.drain, found.labels) == (7, SKIP, LABELS)
    assert (found.created, found.ends) == (NOW, NOW + 30)
    assert (found.ready, found.pending, found.leaving, stays(found)) == (True, False, True, True)
    assert found.claims == ("default/data-db-0", "default/db-0-scratch")
    source = {"persistentVolumeName": "pvc-1"}
    spec = {"nodeName": "a", "attacher": "driver.longhorn.io", "source": source}
    attachment = parse_attachment({"metadata": {"name": "csi-1"}, "spec": spec})
    assert (attachment.node, attachment.claim) == ("a", None)
    assert str(attachment) == "pvc-1 (driver.longhorn.io)"


def test_pods_that_cannot_be_listed_for_long_are_waited_for_without_a_circle() -> None:
    for late in (0, 10_000):
        assert after(Load(pods=None), NOW + late).wake >= RETRY
