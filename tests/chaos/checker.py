"""What must hold at every step of a run, judged by what the cluster is, never by what the operator
believes.

The operator sees the cluster late: what it does may be right for what was so within the last
`LAG` seconds (`PROMPT` where no watch is slow), but never for what was over before that.
"""

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from k3os import names
from k3os.cluster.request import NodeRequest
from k3os.cluster.spec import read_pool
from k3os.cluster.target import plain
from tests.chaos.scenario import Wanted, wanted
from tests.chaos.store import Body, Key, state_of

if TYPE_CHECKING:
    from tests.chaos.machine import Machine
    from tests.chaos.process import Process
    from tests.chaos.world import World

# a watch that is silent or slow, a round of slow requests, one that is carried out late
LAG = 300.0
PROMPT = 120.0
MOST_REQUESTS = 1500  # of one process in a minute
BACK = ("RollingBack", "RolledBack")
NO_STEPS = ("leases", "deployments")  # renewed for ever


@dataclass(frozen=True)
class Past:
    """Since `time`, until the next one."""

    time: float
    pools: dict[str, Body]
    labels: dict[str, dict[str, str]]
    secrets: dict[str, str]


class Checker:
    """violations: what did not hold. writes: the operator's, but for the lease."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.violations: list[str] = []
        self.writes: deque[str] = deque(maxlen=400)
        self.count = 0
        self.steps: Counter[str] = Counter()
        self.past: list[Past] = []
        self._known: dict[str, tuple[Any, float]] = {}
        self._drains: Counter[str] = Counter()
        self._boots: Counter[tuple[str, str]] = Counter()
        self._made: dict[str, float] = {}
        self._requests: dict[str, deque[float]] = {}
        world.store.told.append(self._see)

    @property
    def now(self) -> float:
        return self.world.loop.now

    def violated(self, text: str) -> None:
        self.violations.append(f"{self.now:.1f} s: {text}")

    def broke(self, process: "Process", error: BaseException) -> None:
        self.violated(f"{process.name} broke: {error!r}")

    # what was so, and since when

    def noted(self) -> None:
        """Something of what is wanted may be different."""
        store = self.world.store
        pools = {each["metadata"]["name"]: each for each in store.all("nodepools")}
        labels = {
            each["metadata"]["name"]: dict(each["metadata"]["labels"])
            for each in store.all("nodes")
        }
        self.past.append(Past(self.now, pools, labels, dict(self.world.secrets)))

    def _see(self, _kind: str, key: Key, _old: Body | None, new: Body | None) -> None:
        if key[0] == "nodes":
            what = new and (is_ready(new), is_cordoned(new), new["metadata"].get("labels"))
            if key[2] not in self._known or self._known[key[2]][0] != what:
                self._known[key[2]] = (what, self.now)
                self.noted()

    def since(self, name: str) -> float:
        """When a node became Ready or not, cordoned or not, or got its labels."""
        return self._known[name][1]

    def lag(self) -> float:
        """A process that was stopped goes on with what it had decided before."""
        stopped = [
            each.thawed_at - each.froze_at
            for each in self.world.processes.values()
            if self.now - each.thawed_at < LAG
        ]
        usual = LAG if self.world.scenario.watches else PROMPT
        return usual + max(stopped, default=0.0)

    def window(self, begin: float, end: float) -> Iterator[Past]:
        last = None
        for each in reversed(self.past):
            if last is None or last.time > begin:
                if each.time <= end:
                    yield each
            else:
                return
            last = each

    def recent(self) -> list[Past]:
        return list(self.window(self.now - self.lag(), self.now))

    # the operator's requests

    def asked(self, process: "Process", _verb: str, _where: Any) -> None:
        found = self._requests.setdefault(process.name, deque(maxlen=MOST_REQUESTS))
        if len(found) == MOST_REQUESTS and found[0] > self.now - 60:
            self.violated(f"{process.name} asks for {MOST_REQUESTS} things in a minute")
            found.clear()
        found.append(self.now)

    def wrote(
        self,
        process: "Process",
        verb: str,
        subresource: str,
        key: Key,
        old: Body | None,
        new: Body | None,
    ) -> None:
        plural, _, name = key
        if plural in NO_STEPS:
            return
        self.count += 1
        what = f"{verb} {plural}{'/' if subresource else ''}{subresource}"
        self.steps[what] += 1
        self.writes.append(f"{self.now:9.1f} {process.name} {what} {name}")
        if plural == "nodes" and old and new:
            self._node(old, new)
        elif what == "create jobs" and new:
            request = new["metadata"].get("annotations", {}).get("k3os.io/request")
            self._made[request] = self.now

    def _node(self, old: Body, new: Body) -> None:
        name = new["metadata"]["name"]
        before, after = state_of(old, names.ROLLOUT), state_of(new, names.ROLLOUT)
        step, request = after.get("step", ""), after.get("request", "")
        self.writes.append(f"{'':9} {name}: {before.get('step')} -> {step} {request}")
        is_new = request and request != before.get("request")
        if is_new and not request.endswith("-boot"):
            self._begins(name, new, after)
        if step == "Draining" and before.get("step") != step:
            self._drains[request] += 1
            if self._drains[request] > 1:
                self.violated(f"{name} is drained again for {request}")
        if is_cordoned(new) and not is_cordoned(old) and not after.get("cordoned"):
            self.violated(f"{name} is cordoned, and nothing says that it was the operator")
        if is_cordoned(old) and not is_cordoned(new) and name in self.world.cordoned:
            self.violated(f"{name}, which somebody else cordoned, takes pods again")

    def _begins(self, name: str, new: Body, after: dict[str, Any]) -> None:
        recent = self.recent()
        pools = [each.pools[after["pool"]] for each in recent if after["pool"] in each.pools]
        if all(_is_held(each) for each in pools):
            self.violated(f"{name} is begun with, its NodePool {after['pool']} is paused or gone")
            return
        self._not_too_many(name, pools, recent)
        self._servers(name, new)
        self._canary(name, after, pools)

    def _members(self, pool: Body) -> list[Body]:
        labels = pool["spec"]["nodeSelector"]["matchLabels"]
        return [
            each
            for each in self.world.store.all("nodes")
            if labels.items() <= each["metadata"]["labels"].items()
        ]

    def is_away(self, node: Body) -> bool:
        """And has been for so long that the operator must know."""
        if is_busy(node):
            return True
        old = self.since(node["metadata"]["name"]) < self.now - self.lag()
        return old and (is_cordoned(node) or not is_ready(node))

    def _not_too_many(self, name: str, pools: list[Body], recent: list[Past]) -> None:
        members = self._members(pools[0])
        others = [each for each in members if each["metadata"]["name"] != name]
        away = [each["metadata"]["name"] for each in others if self.is_away(each)]
        most = max(len(each.labels) for each in recent)
        limit = max(
            _limit(each["spec"].get("strategy") or {}, max(most, len(members))) for each in pools
        )
        if len(away) + 1 > limit:
            self.violated(f"{name} is begun with while {away} are away, of {limit} that may be")

    def _servers(self, name: str, new: Body) -> None:
        if not is_server(new):
            return
        others = [
            each
            for each in self.world.store.all("nodes")
            if is_server(each) and each["metadata"]["name"] != name
        ]
        busy = [each["metadata"]["name"] for each in others if is_busy(each)]
        if busy:
            self.violated(f"the server {name} is begun with while {busy} is being changed")
        members = [each for each in others if is_member(each)]
        known = [
            each
            for each in members
            if not is_ready(each) and self.since(each["metadata"]["name"]) < self.now - self.lag()
        ]
        if is_member(new) and len(members) + 1 >= 3:
            if len(members) - len(known) < (len(members) + 1) // 2 + 1:
                self.violated(f"the member {name} is begun with, {len(known)} others are down")

    def _canary(self, name: str, after: dict[str, Any], pools: list[Body]) -> None:
        """Of one whose spec has been the same for long enough."""
        if len({str(each["spec"]) for each in pools}) > 1:
            return
        pool = pools[0]
        canary = (pool["spec"].get("strategy") or {}).get("canary")
        told = [(each.get("status") or {}).get("canary") or {} for each in pools]
        digest = read_pool(pool).target.plain_digest
        told = [each for each in told if plain(each.get("target", "")) == digest]
        if canary is None or not told or any(each["phase"] in BACK for each in told):
            return
        if all(each["phase"] == "Failed" for each in told):
            self.violated(f"{name} is begun with after the canary of {after['pool']} failed")
        if any(each["phase"] == "Completed" for each in told):
            return
        members = self._members(pool)
        most = max(
            _count(canary["steps"][min(each["step"], len(canary["steps"]) - 1)], len(members))
            for each in told
        )
        given = [
            each["metadata"]["name"]
            for each in members
            if is_busy(each) or self.has_wanted(each, pool)
        ]
        if len(given) > most and not self._moved(members):
            self.violated(f"{name} is begun with, and {given} have it, of {most} in this step")

    def _moved(self, members: list[Body]) -> bool:
        """A node came or went, a secret changed, of late: counts may be of before."""
        recent = self.recent()
        return len({str(each.labels) for each in recent}) > 1 or (
            len({str(each.secrets) for each in recent}) > 1 or not members
        )

    def has_wanted(self, node: Body, pool: Body) -> bool:
        meta = node["metadata"]
        machine = self.world.machines[meta["name"]]
        found = wanted(pool["spec"], meta["name"], meta["labels"], self.world.secrets)
        return machine_has(machine, found)

    # what arrives at a node

    def applies(self, machine: "Machine", request: NodeRequest) -> None:
        base = request.id.removesuffix("-check")
        state = self.world.state(machine.name)
        made = self._made.get(request.id, self.now)
        is_asked = state.get("request") == base
        windows = [(self.now - self.lag(), self.now)]
        if is_asked:
            windows.append((made - self.lag(), made))
        if not any(self._is_wanted(machine, request, *each) for each in windows):
            asked = "" if is_asked else ", which nobody asks of it any more,"
            self.violated(
                f"{machine.name} is brought what no NodePool wants of it: {request.id}{asked} "
                f"{request.k3os} {request.k3s} {request.config}"
            )

    def _is_wanted(
        self, machine: "Machine", request: NodeRequest, begin: float, end: float
    ) -> bool:
        found = list(self.window(begin, end))
        brought = Wanted(
            request.k3os.version if request.k3os else None,
            request.k3s.version if request.k3s else None,
            dict(request.config),
        )
        older: list[dict[str, Any]] = []
        for past in found:
            for name, pool in past.pools.items():
                phase = ((pool.get("status") or {}).get("canary") or {}).get("phase")
                if phase in BACK:  # to what this one wanted before
                    older += [each.pools[name]["spec"] for each in self.past if name in each.pools]
        for past in found:
            labels = past.labels.get(machine.name, machine.labels)
            specs = [each["spec"] for each in past.pools.values()] + older
            for spec in specs:
                chosen = spec["nodeSelector"]["matchLabels"].items() <= labels.items()
                if chosen and wanted(spec, machine.name, labels, past.secrets) == brought:
                    return True
        return False

    def reboots(self, machine: "Machine", request: NodeRequest) -> None:
        key = (f"{machine.name} {id(machine)}", request.id)
        self._boots[key] += 1
        self.steps["reboots"] += 1
        if self._boots[key] > 1:
            self.violated(f"{machine.name} restarts again for {request.id}")
        if not machine.node.server:
            return
        members = [each for each in self.world.machines.values() if each.node.etcd and each.there()]
        made = self._made.get(request.id, self.now) - self.lag()
        down = [
            each.name
            for each in members
            if each is not machine and not each.up and each.went_down + 40 < made
        ]
        if machine.node.etcd and len(members) >= 3:
            if len(members) - len(down) - 1 < len(members) // 2 + 1:
                self.violated(f"the member {machine.name} restarts while {down} are down")


def machine_has(machine: "Machine", found: Wanted) -> bool:
    return (
        found.k3os in (None, machine.versions["k3os"])
        and found.k3s in (None, machine.versions["k3s"])
        and found.config == machine.fragment
    )


def _is_held(pool: Body) -> bool:
    gone = pool["metadata"].get("deletionTimestamp")
    return bool(gone or (pool["spec"].get("strategy") or {}).get("paused"))


def _limit(strategy: dict[str, Any], members: int) -> int:
    return _count({"nodes": strategy.get("maxUnavailable", 1)}, members)


def _count(step: dict[str, Any], members: int) -> int:
    nodes = step["nodes"]
    if isinstance(nodes, int):
        return nodes
    return max(1, members * int(nodes.rstrip("%")) // 100)


def is_ready(node: Body) -> bool:
    listed = (node.get("status") or {}).get("conditions") or []
    return any((each["type"], each["status"]) == ("Ready", "True") for each in listed)


def is_cordoned(node: Body) -> bool:
    return node["spec"].get("unschedulable") is True


def is_busy(node: Body) -> bool:
    return state_of(node, names.ROLLOUT).get("step", "Failed") != "Failed"


def is_server(node: Body) -> bool:
    return "node-role.kubernetes.io/control-plane" in node["metadata"]["labels"]


def is_member(node: Body) -> bool:
    return "node-role.kubernetes.io/etcd" in node["metadata"]["labels"]
