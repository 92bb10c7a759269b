"""A cluster in memory: what the decisions do to it, and what happens by itself.

It replaces the API, the Jobs and the nodes, and decides nothing. Each node has a fate: how a change
of it ends.
"""

from dataclasses import dataclass, field, replace

from k3os import names
from k3os.cluster.drain import Load
from k3os.cluster.node import NodeView, RequestResult
from k3os.cluster.spec import Pool
from k3os.cluster.target import Target
from k3os.cluster.turns import Cluster, is_busy
from k3os.cluster.views import JobView, PodView
from k3os.operator.decisions import Eviction, NewJob, NodePatch, NoJob
from k3os.operator.rollout import NEEDS_BOOT, decide, finished

FINE, ROLLED_BACK, JOB_FAILS, NEVER_COMES, STUCK_PODS, ASKS_FOR_BOOT, NO_SUCH = FATES = (
    *("fine", "rolls back", "job fails", "never comes back", "pods stay", "asks for a boot"),
    "there is no such version",
)
STEP = 30
IMAGE = f"sha256:{'0' * 64}"


def node(name: str, *, server: bool = False, ready: bool = True, **more) -> NodeView:
    labels = {"kubernetes.io/hostname": name}
    if server:
        labels |= {
            "node-role.kubernetes.io/control-plane": "true",
            "node-role.kubernetes.io/etcd": "true",
        }
    values = {"k3os": "v1.0.0", "k3s": "v1.33.0+k3s1", "boot_id": "0", "healthy": True}
    values |= {"image": IMAGE, **more}
    return NodeView(name, labels, ready, False, **values)


@dataclass
class World:
    nodes: dict[str, NodeView]
    fates: dict[str, str]
    pods: dict[str, list[PodView]] = field(default_factory=dict)
    jobs: dict[str, JobView] = field(default_factory=dict)
    owners: dict[str, tuple[NewJob, Target]] = field(default_factory=dict)
    away: dict[str, tuple[float, Target, str]] = field(default_factory=dict)
    now: float = 1_800_000_000.0
    events: list = field(default_factory=list)
    done: list = field(default_factory=list)

    def cluster(self) -> Cluster:
        return Cluster(tuple(self.nodes.values()))

    def loads(self) -> dict[str, Load]:
        alone = len(self.nodes) == 1
        return {name: Load(list(self.pods.get(name, [])), alone=alone) for name in self.nodes}

    def reconcile(self, pool: Pool, *, die_after: int | None = None):
        """Run the operator once; die_after: it is killed after this many decisions."""
        cluster = self.cluster()
        outcome = decide(pool, cluster, self.loads(), self.jobs, self.now)
        for decision in [*outcome.decisions, *finished(cluster, self.jobs)][:die_after]:
            self.apply(pool, decision)
        return outcome

    def apply(self, pool: Pool, decision) -> None:
        self.done.append(decision)
        if isinstance(decision, NodePatch):
            changed = replace(self.nodes[decision.node], state=decision.state)
            if decision.unschedulable is not None:
                changed = replace(changed, unschedulable=decision.unschedulable)
            if decision.record is not None:
                record = decision.record if decision.record.request else None
                changed = replace(changed, workloads=record)
            self.nodes[decision.node] = changed
        elif isinstance(decision, NewJob):
            self.jobs.setdefault(decision.request, JobView(decision.request))
            # a Job's contents are fixed when it is created
            own = pool.target.of(self.nodes[decision.node])
            self.owners[decision.request] = (decision, own)
        elif isinstance(decision, NoJob):
            self.jobs.pop(decision.request, None)
        elif isinstance(decision, Eviction):
            for name, pods in self.pods.items():
                if decision.pod in pods and self.fates[name] != STUCK_PODS:
                    pods.remove(decision.pod)
        else:
            self.events.append(decision)

    def live(self) -> None:
        """Let time pass: Jobs end, nodes go down and come back."""
        self.now += STEP
        for request, job in list(self.jobs.items()):
            order, target = self.owners[request]
            name, reboot = order.node, order.reboot
            if job.done is not None:
                continue
            fate = self.fates[name]
            if order.dry_run:
                fine = fate != NO_SUCH
                message = "" if fine else "404 Not Found"
                self.jobs[request] = replace(job, done=fine, message=message)
            elif fate == JOB_FAILS:
                self.jobs[request] = replace(job, done=False, message="no space left")
            elif fate == ASKS_FOR_BOOT and not reboot:
                self.jobs[request] = replace(job, done=True, state=NEEDS_BOOT)
            else:
                self.jobs[request] = replace(job, done=True, state=names.REBOOTING)
                if reboot:
                    self.nodes[name] = replace(self.nodes[name], ready=False)
                self.away[name] = (self.now + 2 * STEP, target, request)
        for name, (until, target, request) in list(self.away.items()):
            if self.now < until or self.fates[name] == NEVER_COMES:
                continue
            del self.away[name]
            self.nodes[name] = self.come_back(name, target, request)

    def come_back(self, name: str, target: Target, request: str) -> NodeView:
        back = replace(self.nodes[name], ready=True)
        if self.fates[name] == ROLLED_BACK:
            return replace(back, last=RequestResult(request, names.ROLLED_BACK, "it hung"))
        return replace(
            back,
            k3os=target.k3os.version if target.k3os else back.k3os,
            k3s=target.k3s.version if target.k3s else back.k3s,
            config_hash=target.config_hash,
            last=RequestResult(request, names.SUCCEEDED),
        )

    def busy(self) -> list[NodeView]:
        return [each for each in self.nodes.values() if is_busy(each)]

    def absent(self) -> list[NodeView]:
        return [each for each in self.nodes.values() if is_busy(each) or not each.ready]
