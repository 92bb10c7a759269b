"""The cluster: what nodes write about themselves, NodePools, requests, what Kubernetes says."""

from __future__ import annotations

import json
import time
from typing import Any
from unittest.mock import patch

from k3os.errors import UserError
from tests.fuzz.target import target
from tests.fuzz.targets import scratch

NOW = 1_800_000_000.0


def _object(data: bytes) -> dict[str, Any]:
    """A JSON object. What is none never comes from an API server."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _texts(value: object) -> dict[str, str]:
    """As the API server checks labels and annotations: a map of texts."""
    found = value if isinstance(value, dict) else {}
    return {
        str(name): each if isinstance(each, str) else json.dumps(each)
        for name, each in found.items()
    }


@target("node", words='"annotations" "k3os.io/rollout" "started" "step" "Draining" "True" "sick"')
def node(data: bytes) -> object:
    """Whatever a node's kubelet, or somebody with its rights, may write about it."""
    from k3os.cluster.node import parse_node
    from k3os.cluster.progress import progress
    from k3os.cluster.spec import read_pool
    from k3os.cluster.turns import Cluster, conflicts
    from k3os.operator import rollout, status

    given = _object(data)
    conditions = given.get("conditions")
    body = {
        "metadata": {
            "name": "n1",
            "labels": {**_texts(given.get("labels")), "pool": "a"},
            "annotations": _texts(given.get("annotations")),
        },
        "spec": {"unschedulable": bool(given.get("unschedulable"))},
        "status": {
            "conditions": [
                {"type": "", **_texts(each)}
                for each in (conditions if isinstance(conditions, list) else [])
            ]
        },
    }
    view = parse_node(body)
    pools = [read_pool(_pool({"nodeSelector": {"matchLabels": {"pool": "a"}}}))]
    cluster = Cluster((view,), conflicts([view], pools))
    (outcome,) = rollout.decide_all(pools, cluster, {}, {}, NOW)
    assert not getattr(outcome, "faults", None), outcome
    shown = progress("p", [_pool({})], [body])
    return outcome, shown, status.status(pools[0], cluster, outcome.waiting, NOW, {})


def _pool(spec: object, status: object = None) -> dict[str, Any]:
    meta = {"name": "p", "uid": "u", "generation": 1}
    return {"metadata": meta, "spec": spec, "status": status or {}}


@target(
    "node-pool", words='"nodeSelector" "matchExpressions" "strategy" "window" "channel" "config"'
)
def node_pool(data: bytes) -> object:
    """Whatever may stand in the spec and status of one."""
    from k3os.cluster.node import NodeView
    from k3os.cluster.spec import read_pool
    from k3os.cluster.target import changes
    from k3os.cluster.turns import Cluster, conflicts, may_begin
    from k3os.operator import status

    given = _object(data)
    pool = read_pool(_pool(given.get("spec", {}), given.get("status", {})))
    view = NodeView("n1", {"pool": "a"}, True, False, k3os="v1.0.0", k3s="v1.33.1+k3s1")
    cluster = Cluster((view,), conflicts([view], [pool]))
    wanting = [each for each in cluster.of(pool) if changes(each, pool.target)]
    return may_begin(pool, cluster, wanting, NOW), status.status(pool, cluster, "", NOW, {})


@target("request", raises=(UserError,), words='"id" "k3os" "version" "url" "config" "reboot"')
def request(data: bytes) -> object:
    from k3os.cluster.request import parse, remaining

    found = parse(data)
    return remaining(found, {"k3os": "v1.0.0", "k3s": "v1.33.1+k3s1"}, {"hostname": "x"})


@target("job", words='"containerStatuses" "terminated" "message" "state" "conditions"')
def job(data: bytes) -> object:
    """A Job's answer: the container's last words, which a node chose."""
    from k3os.operator.job import answer
    from k3os.operator.payload import last_line

    text = data.decode(errors="replace")
    pod = {"status": {"containerStatuses": [{"state": {"terminated": {"message": text}}}]}}
    return answer(pod), last_line(data)


@target("kubectl", raises=(UserError,), words='"items" "metadata" "name" "type" "ADDED" "object"')
def kubectl(data: bytes) -> object:
    """A list and the lines of a watch."""
    from k3os.cluster.kubectl import Collection, Kubectl

    class Stream:
        over = True

        def read(self) -> list[bytes]:
            return data.split(b"\n")

        def check(self) -> None:
            """It ended well."""

        def close(self) -> None:
            """Nothing is open."""

    collection = Collection(Kubectl(), "/x")
    with patch("k3os.cluster.kubectl.Stream", lambda _: Stream()):
        collection.begin(time.monotonic())
        collection.update(time.monotonic())
        collection.update(time.monotonic())
    return collection.objects


@target("api-server", raises=(UserError,), words='"items" "status" "conditions" "spec" "priority"')
def api_server(data: bytes) -> object:
    """What this node asks of it: its Node, its pods."""
    from k3os.cluster import kubelet, readiness

    found: list[object] = []
    identity: Any = None
    api = kubelet.Api("https://127.0.0.1:6443", identity)
    for code in (200, 403, 500):
        with patch.object(kubelet, "request", lambda *_, c=code, **__: (c, data)):
            try:
                found.append(readiness.of(api.node("n1")))
            except UserError as error:
                found.append(str(error))
            try:
                pods = api.pods("n1", 1.0)
                found += [kubelet.is_critical(pod) or kubelet.is_replaced(pod) for pod in pods]
            except UserError as error:
                found.append(str(error))
    return found


@target("kubeconfig", raises=(UserError,), words="clusters: - cluster: users: user: server:")
def kubeconfig(data: bytes) -> object:
    from k3os.cluster.kubelet import api

    return api(scratch.file(data, "kubeconfig"))
