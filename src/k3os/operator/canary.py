"""A careful rollout as steps with gates between them: pure, no I/O, no clock, no memory.

From what the NodePool's status says, `proceed` computes what to write next, and `allowed` what may
be done now. Nodes are started on the basis of what is already written, never of what will be: an
operator that is killed at any moment has started no more nodes than the written step allows.

A target goes through: Progressing (as many nodes as the step says get it) -> Pausing (its pause)
-> Analyzing (the gates) -> the next step, or Completed. If a gate or a node fails: Failed, which
starts no more nodes, or RollingBack (updated nodes go back) -> RolledBack. Nodes whose workloads
are sick (operator/soak.py) may trigger that, too: for that alone, a NodePool whose spec has no
canary gets one with a single step and no gate (`Canary.implied`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from k3os import names
from k3os.cluster.canary_spec import ROLLBACK
from k3os.cluster.node import FAILED as NODE_FAILED
from k3os.cluster.node import NodeView
from k3os.cluster.objects import mapping, number, text
from k3os.cluster.spec import Pool
from k3os.cluster.target import Target, changes, is_updated, plain
from k3os.cluster.turns import Cluster, acknowledged, is_begun, is_busy, is_sick
from k3os.system.plural import counted

PROGRESSING, PAUSING, ANALYZING, COMPLETED, FAILED, ROLLING_BACK, ROLLED_BACK = PHASES = (
    *("Progressing", "Pausing", "Analyzing", "Completed", "Failed", "RollingBack", "RolledBack"),
)
BACK = (ROLLING_BACK, ROLLED_BACK)
MOST_WORDS = 500
LEAST_WAIT = 1.0  # seconds: decide nothing until each gate has answered once
_FIRST = "the canary's first step starts"
GONE = "the revision to go back to, or its Secret, is gone"


@dataclass(frozen=True)
class Verdict:
    """Of one gate. passed: None if unknown."""

    gate: str
    passed: bool | None
    message: str = ""
    final: bool = False  # waiting will not change it
    asked: bool = True  # by this process; it does not know the answers another process got


@dataclass(frozen=True)
class State:
    """status.canary. target, stable: digests; stable: the target to go back to, "" for none.
    since: start of the phase, seconds since 1970. attempt: number of this try of the gates."""

    target: str
    step: int = 0
    phase: str = PROGRESSING
    since: int = 0
    stable: str = ""
    attempt: int = 0
    gate: str = ""
    message: str = ""
    retried: str = ""  # the last value of the annotation that was acted on


def parse(status: Mapping[str, Any]) -> State | None:
    """What a NodePool's status says, None if it says nothing valid."""
    found = mapping(status.get("canary"))
    phase, target = text(found.get("phase")), text(found.get("target"))
    if phase not in PHASES or not target:
        return None
    return State(
        target=target,
        step=number(found.get("step")),
        phase=phase,
        since=number(found.get("since")),
        stable=text(found.get("stable")),
        attempt=number(found.get("attempt")),
        gate=text(found.get("gate")),
        message=text(found.get("message")),
        retried=text(found.get("retried")),
    )


def as_status(state: State) -> dict[str, Any]:
    return {
        "target": state.target,
        "step": state.step,
        "phase": state.phase,
        "since": state.since,
        "stable": state.stable,
        "attempt": state.attempt,
        "gate": state.gate,
        "message": state.message[:MOST_WORDS],
        "retried": state.retried,
    }


@dataclass(frozen=True)
class Sight:
    """What `proceed` looks at besides the NodePool and its nodes. verdicts: of this step's gates in
    this attempt. stable: the target to go back to, None while unknown. before: the digest of the
    revision before this one, "" for none. retried: the annotation names.RETRIED."""

    verdicts: Sequence[Verdict] = ()
    stable: Target | None = None
    before: str = ""
    retried: str = ""


def has(node: NodeView, target: Target) -> bool:
    """Whether a node was given this target: it has it, is on its way, or failed there."""
    return is_begun(node, target) or is_updated(node, target)


def left(pool: Pool, cluster: Cluster, stable: Target | None) -> list[NodeView]:
    """The nodes that still have to go back, or are on their way back."""
    found = []
    for node in cluster.of(pool):
        returns = stable is not None and is_busy(node) and has(node, stable)
        differs = stable is None or is_busy(node) or bool(changes(node, stable))
        if returns or (has(node, pool.target) and differs):
            found.append(node)
    return found


def proceed(
    pool: Pool, cluster: Cluster, state: State | None, sight: Sight, now: float
) -> State | None:
    """What to write next; the given state if nothing changes."""
    canary = pool.strategy.canary
    if canary is None:
        return None
    if pool.is_unclear or pool.deleting:
        return state
    target, members = pool.target, cluster.of(pool)
    if state is None or state.target != target.digest:
        done = bool(members) and all(is_updated(node, target) for node in members)
        # back to the last completed target: no gate that is closed now may hold that up
        back = state is not None and state.stable == target.digest
        return State(
            target=target.digest,
            phase=COMPLETED if done or back else PROGRESSING,
            since=int(now),
            # the target that is given up goes through all steps if it is wanted again
            stable="" if back else _stable(state, sight),
            retried=sight.retried,
        )
    state = replace(state, step=min(state.step, len(canary.steps) - 1))
    if sight.retried and sight.retried != state.retried:
        if state.phase in (FAILED, *BACK):
            return _again(state, sight.retried, now)
        state = replace(state, retried=sight.retried)  # acted on: nothing had failed
    if state.phase in BACK:
        if sight.stable is None:
            return state
        gone = not left(pool, cluster, sight.stable)
        return _enter(state, ROLLED_BACK if gone else ROLLING_BACK, now)
    node = _takes_back(pool, members)
    if canary.implied and state.phase == FAILED and node is None:
        return replace(state, phase=PROGRESSING, since=int(now), message="")  # all is Ready again
    if state.phase in (COMPLETED, FAILED):
        return state
    if node is not None:
        assert node.state is not None
        words = f"{node.name}: {node.state.reason}: {node.state.message}"
        return fail(pool, state, "", words, now, back=True)
    step = canary.steps[state.step]
    if state.phase == PROGRESSING:
        updated = [node for node in members if is_updated(node, target) and _is_over(node)]
        # nodes for which no configuration can be made are reported, but hold nobody up
        able = sum(not target.of(node).fault for node in members)
        if members and len(updated) >= min(step.count(len(members)), max(able, 1)):
            return _enter(state, PAUSING, now)
        return state
    if state.phase == PAUSING:
        return _enter(state, ANALYZING, now) if now >= state.since + step.pause else state
    return _judge(pool, state, sight.verdicts, now)


def _stable(state: State | None, sight: Sight) -> str:
    """The last completed target; one that was only tried is nothing to go back to."""
    if state is None:
        return sight.before
    return state.target if state.phase == COMPLETED else state.stable


def _enter(state: State, phase: str, now: float) -> State:
    return state if state.phase == phase else replace(state, phase=phase, since=int(now))


def _again(state: State, retried: str, now: float) -> State:
    """The user asked for another try. After a failed gate, the gates are asked again; after a
    failed node, the step continues; after a rollback, everything starts over."""
    again = replace(state, since=int(now), attempt=state.attempt + 1, gate="", message="")
    if state.phase == FAILED:
        return replace(again, phase=ANALYZING if state.gate else PROGRESSING, retried=retried)
    return replace(again, phase=PROGRESSING, step=0, retried=retried)


def _failed(members: Sequence[NodeView], target: Target) -> NodeView | None:
    for node in members:
        if node.state and node.state.step == NODE_FAILED and is_begun(node, target):
            return node
    return None


def _is_over(node: NodeView) -> bool:
    """Nothing more is asked of it, and its workloads have come back."""
    return not is_busy(node) and not is_sick(node)


def _takes_back(pool: Pool, members: Sequence[NodeView]) -> NodeView | None:
    """The failed node because of which all updated nodes go back."""
    canary, workloads = pool.strategy.canary, pool.strategy.workloads
    for node in members:
        if node.state is None or node.state.step != NODE_FAILED or not is_begun(node, pool.target):
            continue
        if not is_sick(node):
            if canary is not None and canary.on_failure == ROLLBACK:
                return node
        elif workloads and workloads.on_failure == ROLLBACK and not acknowledged(pool, node):
            return node
    return None


def _judge(pool: Pool, state: State, verdicts: Sequence[Verdict], now: float) -> State:
    canary = pool.strategy.canary
    assert canary is not None
    known = {each.gate: each for each in verdicts}
    unknown = Verdict("", None, asked=False)
    found = [known.get(gate.name, unknown) for gate in canary.gates]
    closed = [each for each in found if not each.passed]
    if not closed:
        if state.step + 1 == len(canary.steps):
            return replace(_enter(state, COMPLETED, now), gate="", message="")
        return State(
            *(state.target, state.step + 1, PROGRESSING, int(now), state.stable),
            retried=state.retried,
        )
    final = next((each for each in closed if each.final and each.passed is False), None)
    young = now < state.since + canary.timeout or not all(each.asked for each in closed)
    if final is None and young:
        return state
    worst = final or closed[0]
    back = canary.on_failure == ROLLBACK
    return fail(pool, state, worst.gate, worst.message or "no answer", now, back=back)


def fail(pool: Pool, state: State, gate: str, message: str, now: float, *, back: bool) -> State:
    """gate: "" if a node failed. back: whether nodes should go back."""
    way = bool(state.stable)
    if back and not way:
        message = f"{message}; there is no earlier revision to go back to"
    elif back and plain(state.stable) == plain(state.target):
        # only the value of a secret differs, and nobody keeps old values
        way, message = False, f"{message}; put the former value back into the Secret"
    phase = ROLLING_BACK if back and way else FAILED
    return replace(state, phase=phase, since=int(now), gate=gate, message=message[:MOST_WORDS])


def allowed(pool: Pool, cluster: Cluster, state: State | None, stable: Target | None) -> Pool:
    """The NodePool, limited to what the written state allows. stable: None while unknown."""
    canary = pool.strategy.canary
    if canary is None or pool.is_unclear or pool.deleting:
        return pool
    if state is None or state.target != pool.target.digest:
        begins = "what nodes would go back to is being recorded" if canary.implied else _FIRST
        return replace(pool, allowed=0, held=begins)
    if state.phase == COMPLETED:
        return pool
    words = described(pool, state)
    if state.phase in BACK:
        if stable is None:
            return replace(pool, allowed=0, held=f"{words}; {GONE}")
        only = frozenset(node.name for node in left(pool, cluster, stable))
        # going back is not an upgrade: do not check workloads after it
        strategy = replace(pool.strategy, rollback=True, workloads=None)
        return replace(pool, target=stable, strategy=strategy, only=only, held=words)
    if state.phase == FAILED:
        return replace(pool, allowed=0, held=words)
    step = canary.steps[min(state.step, len(canary.steps) - 1)]
    return replace(pool, allowed=step.count(len(cluster.of(pool))), held=words)


def described(pool: Pool, state: State) -> str:
    """For people: which step it is in, and what it is waiting for."""
    canary = pool.strategy.canary
    assert canary is not None
    index = min(state.step, len(canary.steps) - 1)
    step = canary.steps[index]
    share = counted(step.nodes, "node") if isinstance(step.nodes, int) else f"{step.nodes} of them"
    where = f"canary step {index + 1} of {len(canary.steps)} ({share})"
    what = {
        PROGRESSING: "nodes are updated",
        PAUSING: f"{step.pause} s pause",
        ANALYZING: f"checking gates: {', '.join(each.name for each in canary.gates)}",
        FAILED: f"failed: {_why(state)}",
        ROLLING_BACK: f"failed: {_why(state)}; nodes go back",
        ROLLED_BACK: f"failed: {_why(state)}; the nodes are back",
    }
    if state.phase not in what:
        return "all canary steps passed"
    return what[state.phase] if canary.implied else f"{where}: {what[state.phase]}"


def stuck(pool: Pool, cluster: Cluster, state: State, stable: Target | None) -> str:
    """Why a rollback cannot continue by itself, "" if it can."""
    if state.phase != ROLLING_BACK:
        return ""
    if stable is None:
        return f"{GONE}: change the NodePool"
    if node := _failed(cluster.of(pool), stable):
        assert node.state is not None
        again = f"`kubectl annotate node {node.name} {names.ROLLOUT}-` has it tried again"
        return f"{node.name}: {node.state.reason}: {node.state.message[:MOST_WORDS]}; {again}"
    return ""


def _why(state: State) -> str:
    return f"gate {state.gate}: {state.message}" if state.gate else state.message


def remedy(pool: Pool, state: State) -> str:
    again = f"`kubectl k3os rollout retry {pool.name}`"
    if state.phase == FAILED:
        undo = f"`kubectl k3os rollout undo {pool.name}` goes back"
        what = "checks the gates again" if state.gate else "continues"
        return f"{again} {what}; {undo}; or change the NodePool"
    return f"change the NodePool, or {again} starts again with the first step"


def wake(pool: Pool, state: State | None, now: float) -> float | None:
    """Seconds until the passing of time lets it continue."""
    canary = pool.strategy.canary
    if canary is None or state is None or pool.is_unclear or pool.deleting:
        return None
    step = canary.steps[min(state.step, len(canary.steps) - 1)]
    limits = {PAUSING: step.pause, ANALYZING: canary.timeout}
    if state.phase not in limits:
        return None
    return max(LEAST_WAIT, state.since + limits[state.phase] - now)
