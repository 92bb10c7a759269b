"""Kubernetes' controllers, as far as the operator sees what they do: Jobs, Deployments with their
ReplicaSets, the scheduler, and the garbage collectors.
"""

import asyncio
from typing import TYPE_CHECKING, Any

from k3os.operator.gates import LABEL as GATE
from tests.chaos.store import Body, Key
from tests.operator import disruption

if TYPE_CHECKING:
    from tests.chaos.world import World

GONE_AFTER = 40.0  # seconds: pods of a node that is not there any more
WEB, DB = "web", "db"
REPLICAS = {WEB: 3, DB: 1}


def ended(job: Body) -> bool:
    return bool((job.get("status") or {}).get("conditions"))


class Controllers:
    """gates: whether a gate's Job succeeds, and the condition that another one looks at holds."""

    def __init__(self, world: "World") -> None:
        self.world, self.store = world, world.store
        self.gates = True
        self._poke = asyncio.Event()
        self._made = 0
        self._began: dict[str, float] = {}
        self._ended: dict[str, float] = {}
        self._orphans: dict[str, float] = {}

    def poke(self) -> None:
        self._poke.set()

    def build(self) -> None:
        for name, replicas in REPLICAS.items():
            spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}}
            made = self.store.create(
                "deployments", {"metadata": {"name": name}, "spec": spec}, "default"
            )
            owner = _owner("apps/v1", made)
            meta = {"name": f"{name}-1", "ownerReferences": [owner]}
            self.store.create("replicasets", {"metadata": meta, "spec": spec}, "default")
        budget = {"selector": {"matchLabels": {"app": WEB}}, "minAvailable": 1}
        self.store.create(
            "poddisruptionbudgets", {"metadata": {"name": WEB}, "spec": budget}, "default"
        )
        self.world.spawn(self._run())

    async def _run(self) -> None:
        while True:
            try:
                await asyncio.wait_for(self._poke.wait(), 30)
            except TimeoutError:
                self._poke.set()
            await asyncio.sleep(self.world.chance.uniform(0.3, 2))
            await self.world.reachable()
            self._poke.clear()
            for job in self.store.all("jobs"):
                self._job(job)
            for name in REPLICAS:
                self._deployment(name)
            for budget in self.store.all("poddisruptionbudgets"):
                status = disruption.status(budget, self.store.select("pods", "default"))
                key = ("poddisruptionbudgets", "default", budget["metadata"]["name"])
                self.store.patch(key, {"status": status}, "status")
            self._collect()

    @property
    def now(self) -> float:
        return self.world.loop.now

    # Jobs

    def _job(self, job: Body) -> None:
        meta, uid = job["metadata"], job["metadata"]["uid"]
        key = ("jobs", meta["namespace"], meta["name"])
        if ended(job):
            ttl = job["spec"].get("ttlSecondsAfterFinished", 1e9)
            if self.now >= self._ended.setdefault(uid, self.now) + ttl:
                self.store.delete(key)
            return
        if GATE in (meta.get("labels") or {}):
            if self.now >= self._began.setdefault(uid, self.now) + 20:
                self._finish(key, "Complete" if self.gates else "Failed")
            return
        pods = [each for each in self.store.all("pods") if _is_owned(each, uid)]
        if uid not in self._began:
            self._began[uid] = self.now
            self._start(job)
        elif self.now >= self._began[uid] + job["spec"].get("activeDeadlineSeconds", 1e9):
            for pod in pods:
                self.world.evict(("pods", meta["namespace"], pod["metadata"]["name"]))
            self._finish(key, "Failed")
        elif not pods or pods[0]["status"].get("phase") == "Failed":
            self._finish(key, "Failed")
        elif pods[0]["status"].get("phase") == "Succeeded":
            self._finish(key, "Complete")

    def _start(self, job: Body) -> None:
        meta, template = job["metadata"], job["spec"]["template"]
        self._made += 1
        pod = {
            "metadata": {
                **template["metadata"],
                "name": f"{meta['name']}-{self._made}",
                "ownerReferences": [_owner("batch/v1", job)],
            },
            "spec": template["spec"],
            "status": {"phase": "Pending"},
        }
        self.store.create("pods", pod, meta["namespace"])

    def _finish(self, key: Key, kind: str) -> None:
        condition = {"type": kind, "status": "True", "message": f"it is {kind}"}
        self.store.patch(key, {"status": {"conditions": [condition]}}, "status")

    # Deployments

    def _deployment(self, name: str) -> None:
        pods = [
            each
            for each in self.store.all("pods")
            if (each["metadata"].get("labels") or {}).get("app") == name
        ]
        there = [each for each in pods if not each["metadata"].get("deletionTimestamp")]
        for _ in range(REPLICAS[name] - len(there)):
            if node := self._place(there):
                there.append(self._pod(name, node))
        ready = sum(map(_is_ready, there))
        status = {"readyReplicas": ready, "replicas": len(there)}
        good = ready > 0 and self.gates
        status["conditions"] = [{"type": "Available", "status": str(good)}]  # type: ignore[assignment]
        for key in (("deployments", "default", name), ("replicasets", "default", f"{name}-1")):
            self.store.patch(key, {"status": status}, "status")

    def _place(self, there: list[Body]) -> str:
        """A node that takes pods, "" for none."""
        found = []
        for node in self.store.all("nodes"):
            name = node["metadata"]["name"]
            if not node["spec"].get("unschedulable") and _is_ready(node):
                found.append((sum(each["spec"]["nodeName"] == name for each in there), name))
        return min(found)[1] if found else ""

    def _pod(self, name: str, node: str) -> Body:
        self._made += 1
        owner = _owner("apps/v1", self.store.get(("replicasets", "default", f"{name}-1")))
        meta = {"name": f"{name}-{self._made}", "labels": {"app": name}, "ownerReferences": [owner]}
        body = {"metadata": meta, "spec": {"nodeName": node}, "status": {"phase": "Pending"}}
        return self.store.create("pods", body, "default")

    # what nobody owns any more

    def _collect(self) -> None:
        uids = {each["metadata"]["uid"] for each in self.store.kept.values()}
        nodes = {each["metadata"]["name"] for each in self.store.all("nodes")}
        for key, body in list(self.store.kept.items()):
            owners = body["metadata"].get("ownerReferences") or []
            lost = bool(owners) and not any(each["uid"] in uids for each in owners)
            homeless = key[0] == "pods" and body["spec"].get("nodeName") not in nodes
            if not lost and not homeless:
                continue
            uid = body["metadata"]["uid"]
            if key[0] == "pods" and not homeless:
                self.world.evict(key)  # its kubelet ends it
            elif self.now >= self._orphans.setdefault(uid, self.now) + (
                GONE_AFTER if homeless else 0
            ):
                self.store.delete(key)


def _owner(version: str, body: Body) -> dict[str, Any]:
    meta = body["metadata"]
    found = {"apiVersion": version, "kind": body["kind"], "name": meta["name"]}
    return {**found, "uid": meta["uid"], "controller": True}


def _is_owned(body: Body, uid: str) -> bool:
    return any(each["uid"] == uid for each in body["metadata"].get("ownerReferences") or [])


def _is_ready(body: Body) -> bool:
    listed = (body.get("status") or {}).get("conditions") or []
    return any((each["type"], each["status"]) == ("Ready", "True") for each in listed)
