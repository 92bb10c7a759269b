"""What the operator does next, as a pure function of what it sees: the steps of a node, within
progressDeadline, and what ends them. No I/O, no clock, no memory.

`decide` is called whenever something changes, and at the time it asks for. Everything it remembers
is in the API: a node's annotation (nodes.State) and the Jobs. So the operator may be killed at any
moment, and the same input always leads to the same decisions.

A node goes through: Checking (a Job that changes nothing: does the version exist, does it fit?) ->
(cordon) Draining -> Changing (a Job) -> Waiting (ready, versions, healthy) -> (uncordon) Soaking
(its workloads; operator/soak.py) -> done, or Failed, which stops the pool until its target
changes. A change that disturbs no pods starts with Changing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from k3os import names
from k3os.cluster import drain
from k3os.cluster.cost import disrupts
from k3os.cluster.node import (
    CHANGING,
    CHECKING,
    DRAINING,
    FAILED,
    SOAKING,
    WAITING,
    NodeView,
    RequestResult,
    State,
    name_in_requests,
)
from k3os.cluster.spec import Pool
from k3os.cluster.target import changes, is_updated
from k3os.cluster.turns import (
    Cluster,
    is_begun,
    is_free,
    is_sick,
    may_begin,
    may_not_go,
    quorum,
)
from k3os.cluster.views import JobView
from k3os.operator import soak
from k3os.operator.decisions import (
    JOB_BLOCKED,
    Decision,
    Eviction,
    NewJob,
    NodePatch,
    NoJob,
    Outcome,
    Said,
    fail,
    forgotten,
    release,
    stepped,
)

LOG = "on the node `journalctl -t k3os-apply` says more"
NEEDS_BOOT = "RebootRequired"  # a Job's answer: it needs a reboot, and the node was not drained


def decide_all(
    pools: Sequence[Pool],
    cluster: Cluster,
    loads: Mapping[str, drain.Load],
    jobs: Mapping[str, JobView],
    now: float,
) -> list[Outcome]:
    """One Outcome for each pool; each takes into account what those before it have started: servers
    are changed one at a time, across all pools."""
    found: list[Outcome] = []
    for pool in pools:
        try:
            found.append(decide(pool, cluster, loads, jobs, now))
        except Exception as error:  # the others go on
            found.append(Outcome((), None, f"a bug in the operator: {error!r}", {"": error}))
        cluster = _after(cluster, found[-1].decisions)
    return found


def _after(cluster: Cluster, decisions: Iterable[Decision]) -> Cluster:
    """The cluster once the starts are written. Nodes that ended count in the next round."""
    begun = {
        each.node: each.state
        for each in decisions
        if isinstance(each, NodePatch) and each.state is not None
    }
    if not begun:
        return cluster
    nodes = tuple(replace(node, state=begun.get(node.name, node.state)) for node in cluster.nodes)
    return replace(cluster, nodes=nodes)


def decide(
    pool: Pool,
    cluster: Cluster,
    loads: Mapping[str, drain.Load],
    jobs: Mapping[str, JobView],
    now: float,
) -> Outcome:
    """loads: by node, of nodes being drained. jobs: by request. now: seconds since 1970."""
    mine = [node for node in cluster.nodes if node.state and node.state.pool == pool.name]
    if pool.deleting:
        return Outcome(tuple(each for node in mine for each in abandon(node)))
    if pool.frozen:
        return Outcome((), None, pool.held)
    decisions: list[Decision] = []
    wakes: list[float] = []
    faults: dict[str, Exception] = {}
    for node in mine:
        try:
            if why := postponed(pool, cluster, node):
                decisions += [*release(node), Said("Postponed", why, node.name)]
                continue
            made, wake = advance(pool, node, loads.get(node.name, drain.Load()), jobs, now)
        except Exception as error:  # it affects only this node
            faults[node.name] = error
            continue
        decisions += made
        wakes += [wake] if wake is not None else []
    decisions += soak.watched(pool, cluster, loads)
    begun, waiting, wake = begin(pool, cluster, now)
    decisions += begun
    wakes += [wake] if wake is not None else []
    return Outcome(tuple(decisions), min(wakes, default=None), waiting, faults)


def postponed(pool: Pool, cluster: Cluster, node: NodeView) -> str:
    """Why a node that was at most drained is released, "" if it continues. Its turn comes again."""
    state = node.state
    if state is None or not is_begun(node, pool.target):
        return ""
    if state.step == CHECKING:
        return may_not_go(pool, cluster, node)
    return quorum(cluster, node) if state.step == DRAINING else ""


def finished(cluster: Cluster, jobs: Mapping[str, JobView]) -> list[Decision]:
    """Delete Jobs whose result is recorded or no longer wanted. Their pods go, too: a kubelet may
    try to refresh the volumes of pods for as long as they exist."""
    asked = {node.state.job for node in cluster.nodes if node.state}
    return [
        NoJob(job.request)
        for job in jobs.values()
        if job.done is not None and not job.leaving and job.request not in asked
    ]


def abandon(node: NodeView) -> list[Decision]:
    """The pool was deleted. A node that is rebooting comes back first."""
    state = node.state
    assert state is not None
    if state.step == WAITING and not node.ready:
        return []
    return [*([NoJob(state.job)] if state.job else []), *release(node)]


def orphans(cluster: Cluster, pools: Collection[str]) -> list[Decision]:
    """What to do with nodes that were started for a pool that no longer exists."""
    gone = [node for node in cluster.nodes if node.state and node.state.pool not in pools]
    return [each for node in gone for each in abandon(node)]


def begin(pool: Pool, cluster: Cluster, now: float) -> tuple[list[Decision], str, float | None]:
    """Start the nodes whose turn it is; also why none is, and when to look again."""
    target = pool.target
    wanting = [
        node for node in cluster.of(pool) if not is_updated(node, target) and is_free(node, target)
    ]
    wanting, held = _within_canary(pool, cluster, wanting)
    chosen, waiting, wake = may_begin(pool, cluster, wanting, now)
    if pool.allowed is not None:
        chosen = chosen[: max(0, pool.allowed - _given(pool, cluster))]
    waiting = waiting or ("" if chosen else held)
    decisions: list[Decision] = []
    for node in chosen:
        disruptive, digest = disrupts(node, target), target.of(node).digest
        state = State(
            pool=pool.name,
            target=digest,
            step=CHECKING if disruptive else CHANGING,
            request=f"{digest}-{name_in_requests(node.name)}-{int(now)}",
            started=int(now),
            since=int(now),
            reboot=disruptive,
            boot_id=node.boot_id,
        )
        decisions.append(NodePatch(node.name, state, record=forgotten(node)))
        decisions.append(Said("Updating", ", ".join(changes(node, target)), node.name))
    return decisions, waiting, wake


def _given(pool: Pool, cluster: Cluster) -> int:
    """How many nodes have the target, are on their way to it, or failed there."""
    return sum(
        is_updated(node, pool.target) or is_begun(node, pool.target) for node in cluster.of(pool)
    )


def _within_canary(
    pool: Pool, cluster: Cluster, wanting: Sequence[NodeView]
) -> tuple[list[NodeView], str]:
    """Those that the canary's step has room for, and why the others wait."""
    found = [node for node in wanting if pool.only is None or node.name in pool.only]
    full = pool.allowed is not None and _given(pool, cluster) >= pool.allowed
    return ([], pool.held) if full else (found, pool.held)


def advance(
    pool: Pool,
    node: NodeView,
    load: drain.Load,
    jobs: Mapping[str, JobView],
    now: float,
) -> tuple[list[Decision], float | None]:
    """The next step of a node that was started."""
    state = node.state
    assert state is not None
    if is_sick(node):
        return soak.recover(pool, node, state, load), None
    if state.step == FAILED:
        return _after_failure(pool, node, state), None
    if state.step == SOAKING:
        return soak.soak(pool, node, state, load, now)
    deadline = state.started + pool.strategy.progress_deadline
    if now >= deadline:
        limit = pool.strategy.progress_deadline
        why = f": {state.message}" if state.reason == JOB_BLOCKED else ""
        failed = fail(node, state, "ProgressDeadlineExceeded", f"not done in {limit} s{why}", now)
        # else its Job could restart the node later, when it takes pods and nobody waits for it
        return [*failed, *([NoJob(state.job)] if state.job else [])], None
    if state.step == CHECKING:
        return _check(pool, node, state, jobs.get(state.job), now), deadline - now
    if state.step == DRAINING:
        before = soak.remember(pool, node, state, load) if is_begun(node, pool.target) else None
        if before is not None:
            return before, deadline - now
        return _drain(pool, node, state, load, now)
    if state.step == CHANGING:
        job = jobs.get(state.request)
        if job is None and not is_begun(node, pool.target):
            return release(node), 0.0  # its Job would apply what nobody wants any more
        return _change(node, state, job, now), deadline - now
    return _wait(pool, node, state, now), deadline - now


def _after_failure(pool: Pool, node: NodeView, state: State) -> list[Decision]:
    """Release a failed node that got what is wanted after all; uncordon one that came back."""
    if is_begun(node, pool.target) and is_updated(node, pool.target) and node.healthy:
        return [*release(node), Said("Updated", "it came up after all", node.name)]
    if not pool.is_unclear and not is_begun(node, pool.target) and node.ready:
        if is_updated(node, pool.target):
            return release(node)  # what it failed on is no longer wanted
    if state.cordoned and node.ready:
        return [NodePatch(node.name, replace(state, cordoned=False), False)]
    return []


def _check(
    pool: Pool, node: NodeView, state: State, job: JobView | None, now: float
) -> list[Decision]:
    if not is_begun(node, pool.target):
        return release(node)
    if job is None:
        return [NewJob(node.name, state.job, reboot=False, dry_run=True)]
    if job.done is None:
        return _running(node, state, job)
    if not job.done:
        return fail(node, state, "CheckFailed", job.message or LOG, now)
    looks = pool.strategy.workloads is not None  # before it is drained or restarts
    following = DRAINING if pool.strategy.drain.enabled or looks else CHANGING
    patch = stepped(node, state, following, now, cordoned=not node.unschedulable)
    notes = [Said("DatastoreKept", job.note, node.name, warning=True)] if job.note else []
    return [replace(patch, unschedulable=True), *notes]


def _running(node: NodeView, state: State, job: JobView) -> list[Decision]:
    """Report what keeps a Job's pod from running. That may pass, so the node does not fail before
    its deadline. The first words stay: the kubelet's later ones only say that it tries again."""
    is_told = state.reason == JOB_BLOCKED
    if bool(job.waits) == is_told:
        return []
    if is_told:
        return [NodePatch(node.name, replace(state, reason="", message=""))]
    told = replace(state, reason=JOB_BLOCKED, message=job.waits)
    return [NodePatch(node.name, told), Said(JOB_BLOCKED, job.waits, node.name, warning=True)]


def _drain(
    pool: Pool, node: NodeView, state: State, load: drain.Load, now: float
) -> tuple[list[Decision], float | None]:
    options = pool.strategy.drain
    if not is_begun(node, pool.target):  # the target changed before anything was done
        return release(node), 0.0
    turn = drain.turn(state, options, load, now)
    if turn.failed:
        return fail(node, state, turn.failed, turn.message, now), None
    if turn.done:
        going = stepped(node, state, CHANGING, now)
        news = [Said(turn.reason, turn.message, node.name)] if turn.reason else []
        return [going, *news], 0.0
    found: list[Decision] = []
    if (turn.reason, turn.message) != (state.reason, state.message):
        since = int(now) if turn.anew else state.since
        told = replace(state, since=since, reason=turn.reason, message=turn.message)
        found.append(NodePatch(node.name, told))
    if turn.reason == drain.BLOCKED != state.reason:
        found.append(Said(turn.reason, turn.message, node.name, warning=True))
    found += [Eviction(pod, options.grace_period) for pod in turn.evict]
    return found, turn.wake


def _told(node: NodeView, state: State) -> RequestResult | None:
    """What the node reports about this request, None if nothing yet."""
    return node.last if node.last and node.last.request == state.request else None


def _change(node: NodeView, state: State, job: JobView | None, now: float) -> list[Decision]:
    told = _told(node, state)
    if told and told.state in (names.FAILED, names.ROLLED_BACK):
        return fail(node, state, told.state, told.message, now)
    if told and told.state in (names.SUCCEEDED, names.REBOOTING):
        # the node's word counts, not the Job's: the reboot may have killed the Job
        return [stepped(node, state, WAITING, now)]
    if job is None:
        return [NewJob(node.name, state.request, state.reboot)]
    if job.done is None:
        return _running(node, state, job)
    if not job.done:
        return fail(node, state, "JobFailed", job.message or LOG, now)
    if job.state == NEEDS_BOOT:
        # another request: this one's Job has ended
        again = stepped(
            *(node, state, DRAINING, now),
            reboot=True,
            cordoned=state.cordoned or not node.unschedulable,
            request=f"{state.request}-boot",
        )
        return [replace(again, unschedulable=True)]
    return [stepped(node, state, WAITING, now)]


def _wait(pool: Pool, node: NodeView, state: State, now: float) -> list[Decision]:
    told = _told(node, state)
    if told and told.state in (names.FAILED, names.ROLLED_BACK):
        return fail(node, state, told.state, told.message, now)
    if told and told.state == names.REBOOTING:
        return []  # not yet, or the new version is on trial
    if state.reboot and told is None and node.boot_id == state.boot_id:
        return []  # its Job has ended, its report is not here yet: it may restart any time
    if not is_begun(node, pool.target):
        # the spec changed meanwhile; the node continues from where it is, once it is up
        done = node.ready and not node.trial
    else:
        # without a reboot its own result counts; it may be unhealthy for another reason
        well = node.healthy is True or not state.reboot
        done = node.ready and is_updated(node, pool.target) and well
    if not done:
        return []
    return soak.updated(pool, node, state, now)
