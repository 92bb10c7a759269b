"""Who disturbs a run: people who edit, pause, undo and delete, machines that fail, clocks that
jump, an API server that restarts, an operator that stands still.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from k3os import names
from tests.chaos.controllers import WEB
from tests.chaos.scenario import SECRETS, ZONES

if TYPE_CHECKING:
    from tests.chaos.machine import Machine
    from tests.chaos.world import World

HOURS = (-7200.0, -600.0, 600.0, 3600.0, 18000.0)


class Disturbances:
    def __init__(self, world: "World") -> None:
        self.world, self.chance, self.store = world, world.chance, world.store
        self.specs: dict[str, list[dict[str, Any]]] = {
            name: [spec] for name, spec in world.scenario.pools.items()
        }
        self.forever: set[str] = set()  # machines that do not come back before the end
        self.told: list[str] = []
        self._all: tuple[tuple[int, Callable[[], str]], ...] = (
            (6, self.edit),
            (2, self.undo),
            (3, self.pause),
            (1, self.delete_pool),
            (2, self.retry),
            (3, self.secret),
            (2, self.cordon),
            (2, self.relabel),
            (2, self.delete_node),
            (3, self.crash),
            (2, self.lose),
            (2, self.fill),
            (2, self.mute),
            (3, self.restart_api),
            (2, self.kill),
            (2, self.freeze),
            (2, self.jump),
            (1, self.jump_api),
            (1, self.close_gates),
        )

    async def run(self, seconds: float) -> None:
        end = self.world.loop.now + seconds
        weights = [weight for weight, _ in self._all]
        while True:
            await asyncio.sleep(self.chance.expovariate(1 / self.world.scenario.between))
            if self.world.loop.now >= end:
                return
            (chosen,) = self.chance.choices([what for _, what in self._all], weights)
            if said := chosen():
                self.world.faults.count(chosen.__name__.replace("_", " "))
                self.told.append(f"{self.world.loop.now:9.1f} {chosen.__name__}: {said}")

    def _later(self, seconds: float, work: Callable[[], object]) -> None:
        self.world.loop.call_later(seconds, work)

    # people

    def _pool(self) -> str:
        there = [each["metadata"]["name"] for each in self.store.all("nodepools")]
        return str(self.chance.choice(there)) if there else ""

    def edit(self) -> str:
        name = self._pool()
        if not name:
            return ""
        scenario = self.world.scenario
        state, scenario.chance = scenario.chance, self.chance
        known = self.store.get(("nodepools", "", name))["spec"]
        selector = known["nodeSelector"]["matchLabels"]
        spec = scenario.draw_spec(selector)
        if self.chance.random() < 0.7:  # what is wanted alone
            spec["strategy"] = known["strategy"]
        scenario.chance = state
        self.specs[name].append({**spec, "strategy": {**spec["strategy"], "paused": False}})
        self._replace(name, spec)
        return f"{name}: {spec}"

    def _replace(self, name: str, spec: dict[str, Any]) -> None:
        """In one write, as an update does."""
        key = ("nodepools", "", name)
        body = self.store.get(key)
        meta = {**body["metadata"], "generation": body["metadata"]["generation"] + 1}
        self.store.keep(key, {**body, "metadata": meta, "spec": spec})

    def undo(self) -> str:
        name = self._pool()
        if not name or len(self.specs[name]) < 2:
            return ""
        spec = self.specs[name][-2]
        self.specs[name].append(spec)
        self._replace(name, spec)
        return name

    def pause(self) -> str:
        name = self._pool()
        if not name:
            return ""
        self._pause(name, paused=True)
        self._later(self.chance.choice((60, 900, 1800)), lambda: self._pause(name, paused=False))
        return name

    def _pause(self, name: str, *, paused: bool) -> None:
        key = ("nodepools", "", name)
        if key in self.store.kept:
            self.store.patch(key, {"spec": {"strategy": {"paused": paused}}})

    def delete_pool(self) -> str:
        name = self._pool()
        if not name:
            return ""
        spec = self.specs[name][-1]
        key = ("nodepools", "", name)
        if self.chance.random() < 0.5:  # somebody's finalizer holds it for a while
            self.store.patch(key, {"metadata": {"deletionTimestamp": self.store.stamp()}})
            self._later(self.chance.uniform(5, 600), lambda: self._drop(key))
        else:
            self.store.delete(key)
        self._later(self.chance.choice((700.0, 1500.0)), lambda: self._make(name, spec))
        return name

    def _drop(self, key: tuple[str, str, str]) -> None:
        if key in self.store.kept:
            self.store.delete(key)

    def _make(self, name: str, spec: dict[str, Any]) -> None:
        if ("nodepools", "", name) not in self.store.kept:
            self.store.create("nodepools", {"metadata": {"name": name}, "spec": spec})

    def retry(self) -> str:
        """`kubectl k3os rollout retry`."""
        name = self._pool()
        if name:
            notes = {names.RETRIED: self.store.stamp()}
            self.store.patch(("nodepools", "", name), {"metadata": {"annotations": notes}})
        return name

    def secret(self) -> str:
        name = self.chance.choice(SECRETS)
        self.world.secrets = {**self.world.secrets, name: f"{name}-{self.world.loop.now:.0f}"}
        self.world.put_secret()
        self.world.checker.noted()
        return name

    # nodes

    def _machine(self) -> "Machine":
        return self.chance.choice(list(self.world.machines.values()))

    def cordon(self) -> str:
        machine = self._machine()
        known = self.store.kept.get(machine.key)
        if known is None or known["spec"].get("unschedulable"):
            return ""
        self.world.cordoned.add(machine.name)
        self.store.patch(machine.key, {"spec": {"unschedulable": True}})
        self._later(self.chance.choice((100, 1000)), lambda: self.uncordon(machine.name))
        return machine.name

    def uncordon(self, name: str) -> None:
        if name in self.world.cordoned:
            self.world.cordoned.discard(name)
            if ("nodes", "", name) in self.store.kept:
                self.store.patch(("nodes", "", name), {"spec": {"unschedulable": None}})

    def relabel(self) -> str:
        machine = self._machine()
        if not machine.there():
            return ""
        label = self.chance.choice(("zone", "fleet"))
        value = self.chance.choice(ZONES) if label == "zone" else "no"
        machine.labels[label] = value
        self.store.patch(machine.key, {"metadata": {"labels": {label: value}}})
        if label == "fleet":
            self._later(self.chance.choice((60, 1200)), lambda: self.relabelled(machine.name))
        return f"{machine.name} {label}={value}"

    def relabelled(self, name: str) -> None:
        self.world.machines[name].labels["fleet"] = "yes"
        if ("nodes", "", name) in self.store.kept:
            self.store.patch(("nodes", "", name), {"metadata": {"labels": {"fleet": "yes"}}})

    def delete_node(self) -> str:
        """It comes back under its name, as it is or installed anew."""
        machine = self._machine()
        others = [each for each in self.world.machines.values() if each.there()]
        if not machine.there() or len(others) < 2:
            return ""
        self.world.cordoned.discard(machine.name)
        self.store.delete(machine.key)
        anew = self.chance.random() < 0.5
        self._later(self.chance.choice((2, 30, 600)), lambda: self._joins(machine, anew))
        return f"{machine.name}{' (installed anew)' if anew else ''}"

    def _joins(self, machine: "Machine", anew: bool) -> None:
        if not machine.up or self.world.server.down:  # it joins when it boots, or later
            self._later(5, lambda: self._joins(machine, anew))
            return
        if anew and not machine.there():
            machine.end_work()
            machine.install()
        self.world.register(machine)

    def crash(self) -> str:
        machine = self._machine()
        self.world.spawn(machine.reboot())
        return machine.name

    def lose(self) -> str:
        """Its next boot does not come to an end; somebody repairs that, or nobody."""
        machine = self._machine()
        machine.lost = True
        if self.chance.random() < 0.6 or not self._is_spare(machine):
            self._later(self.chance.choice((300, 2000)), lambda: setattr(machine, "lost", False))
        else:
            self.forever.add(machine.name)
        return machine.name

    def _is_spare(self, machine: "Machine") -> bool:
        """Whether there is an API server without it, for ever."""
        servers = [each for each in self.world.machines.values() if each.node.server]
        others = [each for each in servers if each.name in self.forever]
        return not machine.node.server or (len(servers) >= 3 and not others)

    def fill(self) -> str:
        machine = self._machine()
        machine.full = True
        machine.report()

        def room() -> None:
            machine.full = False
            machine.report()

        self._later(self.chance.choice((200, 1500)), room)
        return machine.name

    def mute(self) -> str:
        machine = self._machine()
        machine.mute = self.chance.choice((60.0, 400.0))
        self._later(900, lambda: setattr(machine, "mute", 0.0))
        return machine.name

    # the API server and the operator

    def restart_api(self) -> str:
        seconds = self.chance.choice((0.5, 5.0, 60.0, 300.0))
        self._outage(outage=True)
        self._later(seconds, lambda: self._outage(outage=False))
        return f"{seconds} s"

    def _outage(self, *, outage: bool) -> None:
        self.world.outage = outage
        self.world.serve()

    def kill(self) -> str:
        there = list(self.world.processes.values())
        if not there:
            return ""
        process = self.chance.choice(there)
        self.world.kill(process)
        return process.name

    def freeze(self) -> str:
        if not self.world.leading:
            return ""
        process = self.chance.choice(self.world.leading)
        process.freeze()
        self._later(self.chance.choice((20.0, 100.0, 300.0)), process.thaw)
        return process.name

    def jump(self) -> str:
        number = self.chance.choice(list(self.world.clocks))
        ahead = self.chance.choice(HOURS)
        self.world.jump(number, ahead)
        self._later(self.chance.choice((300, 3000)), lambda: self.world.jump(number, 0.0))
        return f"operator {number} by {ahead:.0f} s"

    def jump_api(self) -> str:
        self.world.ahead = self.chance.choice(HOURS)
        self._later(600, lambda: setattr(self.world, "ahead", 0.0))
        return f"by {self.world.ahead:.0f} s"

    def close_gates(self) -> str:
        controllers = self.world.controllers
        controllers.gates = False
        controllers.poke()

        def opened() -> None:
            controllers.gates = True
            controllers.poke()

        self._later(self.chance.choice((120, 900)), opened)
        return "closed"

    # the end of it

    def heal(self) -> None:
        """But for machines that nobody repairs."""
        world = self.world
        world.faults.heal()
        world.ahead = 0.0
        self._outage(outage=False)
        for number in world.clocks:
            world.jump(number, 0.0)
        for process in world.processes.values():
            process.thaw()
        for name, machine in world.machines.items():
            machine.lost = machine.lost and name in self.forever
            machine.full, machine.mute = False, 0.0
            machine.report()
            self.uncordon(name)
            self.relabelled(name)
        world.controllers.gates = True
        world.controllers.poke()
        for name in self.specs:
            self._pause(name, paused=False)

    def repair(self) -> None:
        """Those, too; and no budget is in the way of two NodePools that drain at the same time."""
        self.store.delete(("poddisruptionbudgets", "default", WEB))
        self.forever.clear()
        for machine in self.world.machines.values():
            machine.lost = False

    def want_the_last(self) -> None:
        """What every node can be brought to."""
        for name, specs in self.specs.items():
            self._make(name, specs[-1])
            spec = self.store.get(("nodepools", "", name))["spec"]
            left = {part: spec[part] for part in ("nodeSelector", "strategy") if part in spec}
            strategy = {**left["strategy"], "rollback": "Allow", "paused": False}
            self._replace(name, {**left, **self.world.scenario.last_target(), "strategy": strategy})
