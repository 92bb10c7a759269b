"""The Job that carries a request to one node, and its result. Pure: objects in and out.

Formats: batch/v1 Job, core/v1 Secret and Pod (kubernetes.io, "API reference"). A request may hold
passwords, so it travels in a Secret that the Job owns. The node's answer is the container's
termination message: the last line of `k3os apply`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from k3os import names
from k3os.cluster import node_pod
from k3os.cluster.node import NodeView
from k3os.cluster.objects import conditions, inside, maps, text
from k3os.cluster.request import Wanted
from k3os.cluster.spec import Pool
from k3os.cluster.views import REQUEST_LABEL, JobView
from k3os.operator.decisions import NewJob
from k3os.system.json_text import an_object

# a finished Job is deleted as soon as its result is known (rollout.finished); this is for times
# without an operator
KEEP_SECONDS = 3600
FILE = "request.json"
MOST_NOTE = 1000  # characters; an Event's message has 1024
MOUNT = "/request"


def name_of(request: str) -> str:
    """Name of the Job and its Secret, and their label: a request's own may be too long."""
    return f"k3os-{hashlib.sha256(request.encode()).hexdigest()[:20]}"


def request_of(
    order: NewJob, pool: Pool, node: NodeView, config: Mapping[str, Any]
) -> dict[str, Any]:
    """As cluster/request.py reads it. config: the node's own, with the values of its secrets."""
    target = pool.target.of(node)
    return {
        "id": order.request,
        "k3os": _component(target.k3os),
        "k3s": _component(target.k3s),
        "config": dict(config),
        # the node reports this instead of its own hash: secrets could be guessed from that
        "configHash": target.config_hash if target.refs else "",
        "reboot": order.reboot,
        "rollback": pool.strategy.rollback,
        "dryRun": order.dry_run,
    }


def _component(wanted: Wanted | None) -> dict[str, str] | None:
    return {"version": wanted.version, "url": wanted.url} if wanted else None


def _meta(order: NewJob) -> dict[str, Any]:
    name = name_of(order.request)
    return {
        "name": name,
        "namespace": names.NAMESPACE,
        "labels": {REQUEST_LABEL: name},
        "annotations": {REQUEST_LABEL: order.request},
    }


def secret(order: NewJob, pool: Pool, node: NodeView, config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": _meta(order),
        "immutable": True,
        "stringData": {FILE: json.dumps(request_of(order, pool, node, config))},
    }


def owner_of(job: Mapping[str, Any]) -> dict[str, Any]:
    """A merge patch of the Secret: it is deleted with its Job."""
    meta = job["metadata"]
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": meta["name"], "uid": meta["uid"]}
    return {"metadata": {"ownerReferences": [owner]}}


def job(order: NewJob, pool: Pool, node: NodeView) -> dict[str, Any]:
    meta = _meta(order)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": meta,
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": pool.strategy.progress_deadline,
            "ttlSecondsAfterFinished": KEEP_SECONDS,
            "template": {
                "metadata": {"labels": meta["labels"], "annotations": meta["annotations"]},
                "spec": _pod(meta["name"], node),
            },
        },
    }


def _pod(secret_name: str, node: NodeView) -> dict[str, Any]:
    container = {
        "name": "apply",
        "command": ["/usr/bin/python3", "-m", "k3os.operator.payload"],
        "args": [f"{MOUNT}/{FILE}"],
        "volumeMounts": [{"name": "request", "mountPath": MOUNT, "readOnly": True}],
    }
    request = {"name": "request", "secret": {"secretName": secret_name, "defaultMode": 0o400}}
    return node_pod.spec(node, container, [request])


def parse_job(body: Mapping[str, Any], pod: Mapping[str, Any] | None) -> JobView | None:
    """pod: the Job's, None if there is none yet. Returns None for a Job that is not ours."""
    request = text(inside(body, "metadata", "annotations", REQUEST_LABEL))
    if not request:
        return None
    true = {kind: each for kind, each in conditions(body).items() if each.get("status") == "True"}
    ended = true.get("Complete") or true.get("Failed")
    leaving = bool(inside(body, "metadata", "deletionTimestamp"))
    if ended is None:
        waits = node_pod.failure(pod)[:MOST_NOTE] if pod else ""
        return JobView(request, leaving=leaving, waits=waits)
    told = answer(pod) if pod else {}
    message = str(told.get("message") or ended.get("message") or "")
    done, state = ended["type"] == "Complete", str(told.get("state") or "")
    note = str(told.get("datastore") or "")[:MOST_NOTE]
    return JobView(request, done, message, state, bool(told), leaving, note)


def answer(pod: Mapping[str, Any]) -> dict[str, Any]:
    """What the container said last: the JSON object of `k3os apply`, or {"message": its words}.
    The node's kubelet writes it."""
    for status in maps(inside(pod, "status", "containerStatuses")):
        said = text(inside(status, "state", "terminated", "message"))
        if not said:
            continue
        last = said.strip().rpartition("\n")[2]
        try:
            return an_object(last)
        except ValueError:
            return {"message": last}
    return {}
