"""A cluster in memory: the API server's objects, the machines, the operator's processes.

The API server runs on the servers: it is away while none of them is up, or etcd has no quorum.
"""

import asyncio
import base64
import json
import random
from collections.abc import Coroutine
from typing import Any

from k3os import names
from k3os.operator.manifests import NAME
from tests.chaos.checker import Checker
from tests.chaos.clock import EPOCH, Loop
from tests.chaos.controllers import Controllers
from tests.chaos.faults import Faults
from tests.chaos.machine import Machine
from tests.chaos.process import Process
from tests.chaos.scenario import SECRET, Scenario
from tests.chaos.server import Server
from tests.chaos.store import Body, Key, Store

UNKNOWN_AFTER = 40.0  # seconds: node-monitor-grace-period
HOSTNAME, ARCH = "kubernetes.io/hostname", "kubernetes.io/arch"


class World:
    """chance: for what happens. ahead: of the API server's clock. outage: it is down for another
    reason than its servers. cordoned: nodes that somebody else cordoned."""

    def __init__(self, scenario: Scenario, loop: Loop) -> None:
        self.scenario, self.loop = scenario, loop
        self.chance = random.Random(scenario.seed + 1)
        self.ahead = 0.0
        self.outage = False
        self.store = Store(lambda: EPOCH + loop.now + self.ahead)
        self.faults = Faults(
            random.Random(scenario.seed + 2), scenario.share, scenario.deaths, scenario.watches
        )
        self.server = Server(self.store, self.faults)
        self.server.kill = self.kill
        self.server.evict = self.evict
        self.checker = Checker(self)
        self.server.wrote, self.server.asked = self.checker.wrote, self.checker.asked
        self.machines = {each.name: Machine(self, each) for each in scenario.nodes}
        self.controllers = Controllers(self)
        self.processes: dict[int, Process] = {}
        self.clocks: dict[int, float] = {}
        self.cordoned: set[str] = set()
        self.secrets = dict(scenario.secrets)
        self.started = 0
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, Any], name: str = "") -> asyncio.Task[Any]:
        """The loop itself holds no task."""
        task = self.loop.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # the beginning

    def build(self) -> None:
        create = self.store.create
        meta = {"name": NAME}
        create("deployments", {"metadata": meta, "spec": {"replicas": 1}}, names.NAMESPACE)
        cronjob = {"metadata": {"name": "smoke"}, "spec": {"jobTemplate": {"spec": {}}}}
        create("cronjobs", cronjob, names.NAMESPACE)
        self.put_secret()
        for each in self.machines.values():
            self.register(each)
            each.start()
        self.controllers.build()
        self.store.told.append(self._told)
        for name, spec in self.scenario.pools.items():
            create("nodepools", {"metadata": {"name": name}, "spec": spec})
        for number in range(self.scenario.operators):
            self.clocks[number] = 0.0
            self.launch(number)
        self.checker.noted()

    def put_secret(self) -> None:
        data = {
            name: base64.b64encode(each.encode()).decode() for name, each in self.secrets.items()
        }
        key = ("secrets", names.NAMESPACE, SECRET)
        if key in self.store.kept:
            self.store.patch(key, {"data": data})
        else:
            self.store.create(
                "secrets", {"metadata": {"name": SECRET}, "data": data}, names.NAMESPACE
            )

    def _told(self, _kind: str, key: Key, _old: Body | None, new: Body | None) -> None:
        if key[0] == "pods" and new:
            machine = self.machines.get(new["spec"].get("nodeName", ""))
            if machine:
                machine.poke()
        if key[0] in ("pods", "jobs", "nodes", "deployments"):
            self.controllers.poke()
        if key[0] == "nodepools":
            self.checker.noted()

    # the API server

    @property
    def can_serve(self) -> bool:
        """A cluster without servers of its own has the API elsewhere."""
        servers = [each for each in self.machines.values() if each.node.server]
        if self.outage:
            return False
        members = [each for each in servers if each.node.etcd]
        if members and sum(each.up for each in members) < len(members) // 2 + 1:
            return False
        return not servers or any(each.up for each in servers)

    def serve(self) -> None:
        """After anything that it depends on has changed."""
        if not self.can_serve and not self.server.down:
            self.server.stop()
        elif self.can_serve and self.server.down:
            self.server.start(forgets=self.chance.random() < 0.7)

    async def reachable(self) -> None:
        await self.server.up.wait()

    # nodes

    def register(self, machine: Machine) -> None:
        """As a kubelet that starts; what is there stays."""
        if not machine.there():
            labels = {**machine.labels, HOSTNAME: machine.name}
            labels |= {ARCH: machine.node.arch or "amd64"}
            if machine.node.server:
                labels["node-role.kubernetes.io/control-plane"] = "true"
            if machine.node.etcd:
                labels["node-role.kubernetes.io/etcd"] = "true"
            meta = {"name": machine.name, "labels": labels, "annotations": {}}
            self.store.create("nodes", {"metadata": meta, "spec": {}})
            self.checker.noted()
        self.condition(machine.name, "Ready", True, "KubeletReady")
        machine.report()
        machine.poke()

    def condition(self, name: str, kind: str, good: bool, reason: str) -> None:
        key = ("nodes", "", name)
        if key not in self.store.kept:
            return
        known = (self.store.get(key).get("status") or {}).get("conditions") or []
        other = [each for each in known if each["type"] != kind]
        made = {"type": kind, "status": "True" if good else "False", "reason": reason}
        self.store.patch(key, {"status": {"conditions": [*other, made]}}, "status")

    def goes_down(self, machine: Machine, *, restart: bool = False) -> None:
        machine.up = False
        machine.went_down = self.loop.now
        for process in list(self.processes.values()):
            if process.home == machine.name and not restart:
                self.kill(process)
        self.serve()
        if self.chance.random() < 0.5:  # the kubelet says so itself
            self._unready(machine, machine.went_down)
        else:
            self.loop.call_later(UNKNOWN_AFTER, self._unready, machine, machine.went_down)

    def _unready(self, machine: Machine, since: float) -> None:
        if self.server.down:
            self.loop.call_later(5.0, self._unready, machine, since)
        elif not machine.up and machine.went_down == since and machine.there():
            self.condition(machine.name, "Ready", False, "NodeStatusUnknown")

    def comes_up(self, machine: Machine) -> None:
        machine.up = True
        self.serve()
        self.spawn(self._joins(machine, machine.went_down))

    async def _joins(self, machine: Machine, since: float) -> None:
        await asyncio.sleep(self.chance.uniform(0.5, 8))
        await self.reachable()
        if not machine.up or machine.went_down != since:
            return
        for pod in self.pods_on(machine.name):
            meta, phase = pod["metadata"], pod.get("status", {}).get("phase")
            key = ("pods", meta["namespace"], meta["name"])
            if phase != "Running" or meta["uid"] in machine.work:
                continue
            ours = meta["namespace"] == names.NAMESPACE
            status: Body = {"phase": "Failed" if ours else "Pending", "conditions": []}
            self.store.patch(key, {"status": status}, "status")
        self.register(machine)

    def pods_on(self, name: str) -> list[Body]:
        return [each for each in self.store.all("pods") if each["spec"].get("nodeName") == name]

    def evict(self, key: Key) -> None:
        pod = self.store.get(key)
        if not pod["metadata"].get("deletionTimestamp"):
            self.store.patch(key, {"metadata": {"deletionTimestamp": self.store.stamp()}})

    # the operator

    def launch(self, number: int) -> None:
        self.started += 1
        homes = [each.name for each in self.machines.values() if each.up] or [""]
        process = Process(
            self.server,
            f"operator-{number}-{self.started}",
            self.chance.choice(homes),
            self._over,
            self.checker.broke,
        )
        process.ahead = self.clocks[number]
        self.processes[number] = process
        process.start()

    def _over(self, process: Process) -> None:
        """It has lost its lease, or broke: it begins anew as a fresh process."""
        self.loop.call_later(self.chance.uniform(0.1, 3), self.kill, process)

    def kill(self, process: Process) -> None:
        for number, known in list(self.processes.items()):
            if known is process:
                process.kill()
                del self.processes[number]
                self.loop.call_later(self.chance.uniform(1, 30), self.launch, number)

    def jump(self, number: int, ahead: float) -> None:
        self.clocks[number] = ahead
        if number in self.processes:
            self.processes[number].ahead = ahead

    @property
    def leading(self) -> list[Process]:
        return [each for each in self.processes.values() if each.engine is not None]

    def state(self, name: str) -> dict[str, Any]:
        """What the operator remembers of a node, {} for nothing."""
        body = self.store.kept.get(("nodes", "", name)) or {}
        notes = body.get("metadata", {}).get("annotations") or {}
        return dict(json.loads(notes.get(names.ROLLOUT) or "{}"))
