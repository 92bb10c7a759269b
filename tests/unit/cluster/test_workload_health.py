"""Which pods count, and what is said about those that are not Ready."""

import pytest

from k3os.cluster.workload_health import is_ready, needed, trouble, why


def pod(ready=False, phase="Running", leaving=False, scheduled="", **states):
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    if scheduled:
        conditions.append({"type": "PodScheduled", "status": "False", "reason": scheduled})
    listed = [{"name": name, "ready": False, "state": state} for name, state in states.items()]
    meta = {"name": "p"} | ({"deletionTimestamp": "2026-01-02T03:04:05Z"} if leaving else {})
    status = {"phase": phase, "conditions": conditions, "containerStatuses": listed}
    return {"metadata": meta, "status": status}


def waiting(reason):
    return {"waiting": {"reason": reason}}


def ended(code, reason=""):
    return {"terminated": {"exitCode": code, "reason": reason}}


SLOW = pod(app={"running": {}})
CRASHING = pod(app=waiting("CrashLoopBackOff"))


@pytest.mark.parametrize(
    ("kind", "workload", "before", "needs"),
    [
        ("Deployment", {"spec": {"replicas": 2}}, 2, 2),
        ("Deployment", {"spec": {}}, 2, 1),  # the API's default
        ("Deployment", {"spec": {"replicas": 1}}, 2, 1),  # scaled down meanwhile
        ("Deployment", {"spec": {"replicas": 5}}, 2, 2),  # scaled up: more were not there before
        ("StatefulSet", {"spec": {"replicas": 0}}, 2, 0),
        ("StatefulSet", None, 2, 0),
        ("ReplicaSet", {"metadata": {"deletionTimestamp": "x"}, "spec": {"replicas": 2}}, 2, 0),
        ("DaemonSet", {"status": {"desiredNumberScheduled": 3}}, 1, 1),
        ("DaemonSet", {"status": {"desiredNumberScheduled": 0}}, 1, 0),
        ("DaemonSet", None, 1, 0),
        ("Deployment", {"spec": {"replicas": "many"}}, 2, 0),
    ],
)
def test_a_workload_that_is_gone_or_scaled_down_needs_less(kind, workload, before, needs) -> None:
    assert needed(kind, workload, before) == needs


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (CRASHING, "CrashLoopBackOff in container app"),
        (pod(app=waiting("ImagePullBackOff")), "ImagePullBackOff in container app"),
        (pod(side={"running": {}}, app=ended(1, "OOMKilled")), "OOMKilled in container app"),
        (pod(app=ended(1)), "Error in container app"),
        (pod(init=ended(0, "Completed"), app=waiting("Bad")), "Bad in container app"),
        (pod(app={"running": {}}), "not ready in container app"),
        (pod(app=waiting("ContainerCreating")), "ContainerCreating in container app"),
        (pod(phase="Pending", scheduled="Unschedulable"), "Unschedulable"),
        (pod(app=waiting("what\nis this")), "not ready in container app"),
        ({"status": {"containerStatuses": "odd"}}, "not ready"),
    ],
)
def test_why_a_pod_is_not_ready(found, words) -> None:
    assert trouble(found) == words


@pytest.mark.parametrize(
    ("found", "counts"),
    [
        (pod(ready=True), True),
        (pod(ready=True, leaving=True), False),
        (pod(ready=True, phase="Succeeded"), False),
        (pod(), False),
    ],
)
def test_pods_that_ended_or_leave_are_not_ready(found, counts) -> None:
    assert is_ready(found) is counts


@pytest.mark.parametrize(
    ("has", "needs", "pods", "words"),
    [
        (2, 2, [CRASHING], ""),
        (1, 2, [pod(ready=True), CRASHING], "1 of 2 pods, CrashLoopBackOff in container app"),
        (
            0,
            1,
            [SLOW, CRASHING],
            "0 of 1 pods, CrashLoopBackOff in container app",
        ),
        (0, 1, [], "0 of 1 pods, none in the place of the others"),
        (0, 1, [pod(phase="Succeeded")], "0 of 1 pods, none in the place of the others"),
        (0, 0, [CRASHING], ""),
    ],
)
def test_the_worst_pod_speaks_for_its_workload(has, needs, pods, words) -> None:
    assert why(has, needs, pods) == words
