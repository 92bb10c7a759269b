"""Which API requests are made about a node's workloads, and what the answers mean."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from lightkube import ApiError

from k3os.cluster.drain import Load
from k3os.cluster.node import DRAINING, SOAKING, State
from k3os.cluster.spec import Pool, Strategy
from k3os.cluster.turns import Cluster
from k3os.cluster.views import PodView
from k3os.cluster.workloads import MOST, Record, Workloads
from k3os.operator import workload_looks
from k3os.operator.workload_looks import WorkloadLooks
from tests.unit.operator.simulator import node
from tests.unit.operator.test_rollout import NEW

SELECTOR = {"matchLabels": {"app": "web"}}


class Client:
    """objects: by kind, namespace and name; pods: all there are."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.pods: list[dict[str, Any]] = []
        self.asked: list[str] = []
        self.broken = False

    async def get(self, kind: Any, name: str, namespace: str) -> dict[str, Any]:
        if self.broken:
            raise httpx2.ConnectError("refused")
        self.asked.append(f"{kind._api_info.plural} {name}")
        found = self.objects.get((kind.__name__, namespace, name))
        if found is None:
            request = httpx2.Request("GET", "http://x")
            answer = httpx2.Response(404, json={"code": 404, "message": "gone"}, request=request)
            raise ApiError(request=request, response=answer)
        return found

    async def _list(self, where: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        for pod in self.pods:
            if "fields" in where and pod["spec"]["nodeName"] != where["fields"]["spec.nodeName"]:
                continue
            if where["namespace"] in ("*", pod["metadata"]["namespace"]):
                yield pod

    def list(self, _kind: Any, **where: Any) -> AsyncIterator[dict[str, Any]]:
        self.asked.append("pods")
        return self._list(where)

    def add(self, kind: str, name: str, replicas: int = 1, ready: int = 1, owner: str = "") -> None:
        owners = [{"kind": "Deployment", "name": owner, "controller": True}] if owner else []
        self.objects[kind, "default", name] = {
            "metadata": {"name": name, "ownerReferences": owners},
            "spec": {"replicas": replicas, "selector": SELECTOR},
            "status": {"readyReplicas": ready, "desiredNumberScheduled": 3},
        }

    def pod(self, name: str, kind: str, owner: str, ready: bool, where: str = "a") -> None:
        meta = {"name": name, "namespace": "default", "labels": {"app": "web"}}
        meta["ownerReferences"] = [{"kind": kind, "name": owner, "controller": True}]  # type: ignore[assignment]
        waits = {"waiting": {"reason": "CrashLoopBackOff"}}
        container = {"name": "app", "state": {"running": {}} if ready else waits}
        condition = {"type": "Ready", "status": "True" if ready else "False"}
        status = {"phase": "Running", "conditions": [condition], "containerStatuses": [container]}
        self.pods.append({"metadata": meta, "spec": {"nodeName": where}, "status": status})


class Api:
    def __init__(self) -> None:
        self.client = Client()


def looks(client: Client) -> WorkloadLooks:
    api = Api()
    api.client = client
    return WorkloadLooks(api, lambda: None)  # type: ignore[arg-type]


def owned(kind: str, name: str, **more: Any) -> PodView:
    return PodView("default", f"{name}-x", kind, owner_name=name, **more)


def test_who_had_ready_pods_is_written_down_by_its_owner_once() -> None:
    client = Client()
    client.add("Deployment", "web", ready=3)
    client.add("ReplicaSet", "web-1", ready=3, owner="web")
    client.add("ReplicaSet", "alone", ready=0)
    client.add("StatefulSet", "db", ready=2)
    pods = [
        *(owned("ReplicaSet", "web-1"), owned("ReplicaSet", "web-1")),
        *(owned("ReplicaSet", "alone"), owned("StatefulSet", "db"), owned("DaemonSet", "cni")),
        PodView("kube-system", "etcd-a", "Node", mirror=True),
        # none of these had a Ready pod, or will have one again
        *(owned("Job", "task"), owned("ReplicaSet", "gone"), PodView("default", "bare")),
        owned("StatefulSet", "not-ready", ready=False),
        owned("StatefulSet", "over", finished=True),
        owned("StatefulSet", "leaving", leaving=True),
        owned("ReplicaSet", "k3os-operator-1", ours=True),
    ]
    record = asyncio.run(looks(client).record("r", pods))
    assert record == Record(
        "r",
        {
            "DaemonSet/default/cni": 1,
            "Pod/kube-system/etcd-a": 1,
            "StatefulSet/default/db": 2,
            "ReplicaSet/default/alone": 1,
            "Deployment/default/web": 3,
        },
    )


def test_more_than_fit_are_counted_and_those_of_the_node_come_first() -> None:
    client = Client()
    client.add("StatefulSet", "db")
    pods = [owned("StatefulSet", "db"), *(owned("DaemonSet", f"d{n}") for n in range(MOST + 2))]
    record = asyncio.run(looks(client).record("r", pods))
    assert (len(record.ready), record.more) == (MOST, 3)
    assert not any("StatefulSet" in key for key in record.ready)
    assert client.asked == []


def sick(client: Client, **ready: int) -> dict[str, str]:
    kinds = {"web": "Deployment", "db": "StatefulSet", "cni": "DaemonSet", "static": "Pod"}
    record = Record("r", {f"{kinds[name]}/default/{name}": each for name, each in ready.items()})
    return asyncio.run(looks(client).sick("a", record))


def test_a_workload_that_is_well_or_gone_costs_one_question() -> None:
    client = Client()
    client.add("Deployment", "web", replicas=2, ready=2)
    assert sick(client, web=2, db=1) == {}
    assert client.asked == ["deployments web", "statefulsets db"]


def test_a_sick_one_says_what_its_pods_say() -> None:
    client = Client()
    client.add("Deployment", "web", replicas=2, ready=1)
    client.pod("web-1", "ReplicaSet", "web-1", ready=True, where="b")
    client.pod("web-2", "ReplicaSet", "web-1", ready=False, where="b")
    why = "1 of 2 pods, CrashLoopBackOff in container app"
    assert sick(client, web=2) == {"Deployment/default/web": why}
    assert sick(client, web=1) == {}, "it had no more before"


@pytest.mark.parametrize(
    ("ready", "where", "words"),
    [
        (True, "a", ""),
        (False, "a", "0 of 1 pods, CrashLoopBackOff in container app"),
        (True, "b", "0 of 1 pods, none in the place of the others"),
    ],
)
def test_a_daemonset_is_to_have_its_pod_on_this_node(ready: bool, where: str, words: str) -> None:
    client = Client()
    client.add("DaemonSet", "cni")
    client.pod("cni-1", "DaemonSet", "cni", ready, where)
    assert sick(client, cni=1) == ({"DaemonSet/default/cni": words} if words else {})


def test_a_static_pod_that_was_taken_away_is_not_missed() -> None:
    client = Client()
    assert sick(client, static=1) == {}
    client.pod("static", "Node", "a", ready=False)
    assert "CrashLoopBackOff" in sick(client, static=1)["Pod/default/static"]
    client.pods[0]["status"]["phase"] = "Succeeded"
    assert sick(client, static=1) == {}


def pool() -> Pool:
    return Pool("all", "uid", 1, {}, NEW, Strategy(workloads=Workloads(soak=100)))


def at(step: str, record: Record | None = None, since: int = 0, request: str = "r"):
    state = State("all", NEW.digest, step, request, since, since)
    return Cluster((node("a", state=state, workloads=record),))


async def settled(found: WorkloadLooks, cluster: Cluster, now: float) -> Load:
    found.follow([pool()], cluster, {"a": Load([owned("DaemonSet", "cni")])}, now)
    await asyncio.sleep(0.05)
    return found.follow([pool()], cluster, {"a": Load([owned("DaemonSet", "cni")])}, now)["a"]


def test_it_asks_before_the_drain_and_after_the_soak_time_and_not_between() -> None:
    client, record = Client(), Record("r", {"DaemonSet/default/cni": 1})
    client.add("DaemonSet", "cni")

    async def go() -> None:
        found = looks(client)
        load = await settled(found, at(DRAINING), 0)
        assert load.before == record
        assert (await settled(found, at(DRAINING, record), 0)).before is None
        assert (await settled(found, at(SOAKING, record), 99)).sick is None
        assert client.asked == []
        assert (await settled(found, at(SOAKING, record), 100)).sick == {
            "DaemonSet/default/cni": "0 of 1 pods, none in the place of the others"
        }
        # results for another change of the node mean nothing
        assert (await settled(found, at(SOAKING, record, request="s"), 100)).sick is None
        found.close()

    asyncio.run(go())


def test_an_api_server_that_does_not_answer_is_asked_again(monkeypatch, caplog) -> None:
    monkeypatch.setattr(workload_looks, "INTERVAL", 0.01)
    client, record = Client(), Record("r", {"StatefulSet/default/db": 1})
    client.broken = True

    async def go() -> None:
        found = looks(client)
        assert (await settled(found, at(SOAKING, record), 100)).sick is None
        client.broken = False
        assert (await settled(found, at(SOAKING, record), 100)).sick == {}
        found.close()

    asyncio.run(go())
    assert "a: its workloads cannot be read" in caplog.text
