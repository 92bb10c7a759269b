"""Which pods leave a node next, what blocks them, and when the node may restart. Pure.

Like `kubectl drain`, but in waves: pods with the lowest priority go first, the next ones once those
are gone; DaemonSet pods that opted in go after the others of their priority. Then the node's
volumes get time to be detached. A pod's annotation names.DRAIN says `skip` (it stays) or `evict`
(for a DaemonSet: the pod goes once, its replacement stays).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from k3os.cluster.budgets import Budget, hindrance
from k3os.cluster.node import State
from k3os.cluster.selector import matches
from k3os.cluster.spec import Drain
from k3os.cluster.views import DAEMON_SET, EVICT, SKIP, AttachmentView, PodView
from k3os.cluster.workloads import Record

# reasons in the state of a node that is being drained
BLOCKED, DETACHING = "DrainBlocked", "VolumesAttached"
# why a drain failed, or the reason of an Event about one
REFUSED, TIMEOUT, LEFT_ALONE, STILL_ATTACHED = (
    *("DrainRefused", "DrainTimeout", "NotDrained", "VolumesStillAttached"),
)
RETRY = 5  # seconds until an eviction that a budget refused is tried again
PATIENCE = 10  # seconds before a blocked drain is reported: a budget may let pods go one by one


@dataclass(frozen=True)
class Load:
    """What is known of a node that is drained. pods, attached: None while unknown. refused: the
    API's answer to an eviction, by pod. alone: the cluster has no other node. before: the record of
    its workloads to keep, sick: those that are sick, and why; both None while unknown."""

    pods: Sequence[PodView] | None = None
    budgets: Collection[Budget] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    attached: Sequence[AttachmentView] | None = ()
    alone: bool = False
    before: Record | None = None
    sick: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Turn:
    """What comes next. evict: these pods. done: the node may be changed. failed: the reason.
    message: why, or what it waits for. reason: what it waits for, or with done the reason of an
    Event. anew: a new time limit starts. wake: seconds from now."""

    evict: tuple[PodView, ...] = ()
    done: bool = False
    failed: str = ""
    reason: str = ""
    message: str = ""
    anew: bool = False
    wake: float = 0.0


def turn(state: State, options: Drain, load: Load, now: float) -> Turn:
    """state: of a node whose step is Draining."""
    if not options.enabled:
        return Turn(done=True)
    end = state.since + options.timeout
    if load.pods is None:
        return Turn(reason=state.reason, message=state.message, wake=max(RETRY, end + RETRY - now))
    left = [pod for pod in load.pods if _leaves(pod, options, state.started, now)]
    for pod in left:
        if why := _refusal(pod, options):
            return Turn(failed=REFUSED, message=f"{pod} {why}")
    if load.alone:
        text = "there is no other node for its pods: they end when it restarts" if left else ""
        return Turn(done=True, reason=LEFT_ALONE if text else "", message=text)
    if not left:
        return _detach(state, options, load, now)
    first = min(map(_turn_of, left))
    wave = [pod for pod in left if _turn_of(pod) == first and not pod.leaving]
    held = _held(wave, load)
    if now >= end:
        more = f"; {held}" if held else ""
        text = f"after {options.timeout} s these pods are still there: {_listed(left)}{more}"
        return Turn(failed=TIMEOUT, message=text)
    waits = bool(held) and now >= state.since + PATIENCE
    return Turn(
        evict=tuple(wave),
        reason=BLOCKED if waits else "",
        message=held if waits else "",
        wake=min(RETRY, end - now),
    )


def stays(pod: PodView) -> bool:
    """Whether a drain leaves it alone, whatever its options: a static pod, a finished one, the
    operator's own, one with the annotation `skip`."""
    return pod.mirror or pod.finished or pod.ours or pod.drain == SKIP


def _leaves(pod: PodView, options: Drain, began: int, now: float) -> bool:
    """Whether it must be gone before the restart. began: when the node's change started."""
    if stays(pod):
        return False
    if pod.owner == DAEMON_SET:
        if pod.drain != EVICT and options.ignore_daemon_sets:
            return False
        if pod.drain == EVICT and pod.created >= began:
            return False  # it replaces one that was evicted
    if options.pod_selector is not None and not matches(options.pod_selector, pod.labels):
        return False
    late = now - pod.ends if pod.leaving else 0
    return not options.skip_wait or late <= options.skip_wait


def _refusal(pod: PodView, options: Drain) -> str:
    """Why nothing is evicted at all, "" if nothing would be lost."""
    if pod.owner == DAEMON_SET:
        text = "belongs to a DaemonSet, which would start it again; strategy.drain.ignoreDaemonSets"
        return "" if pod.drain == EVICT else text
    if not pod.owner and not options.force:
        return "has no controller that would start it elsewhere; strategy.drain.force"
    if pod.empty_dir and not options.delete_empty_dir_data:
        return "would lose its emptyDir; strategy.drain.deleteEmptyDirData"
    return ""


def _turn_of(pod: PodView) -> tuple[int, bool]:
    return pod.priority, pod.owner == DAEMON_SET


def _held(wave: Sequence[PodView], load: Load) -> str:
    """Which pods cannot go now, and why the first of them cannot."""
    found = [
        (pod, why)
        for pod in sorted(wave, key=str)
        if (why := hindrance(pod, load.budgets) or load.refused.get(str(pod), ""))
    ]
    if not found:
        return ""
    pod, why = found[0]
    others = len(found) - 1
    more = f" (and {others} more {'pod is' if others == 1 else 'pods are'} held)" if others else ""
    return f"{pod}: {why}{more}"


def _detach(state: State, options: Drain, load: Load, now: float) -> Turn:
    """All pods that must go are gone: wait for the volumes."""
    if load.attached is None:
        if now < state.since + RETRY and state.reason != DETACHING:
            return Turn(wake=state.since + RETRY - now)
        text = "whether volumes are attached to it is not known"
    else:
        kept = {claim for pod in load.pods or () for claim in pod.claims if not pod.finished}
        left = sorted(str(each) for each in load.attached if not kept & {each.claim})
        if not left:
            return Turn(done=True)
        text = f"volumes are still attached to it: {_listed(left)}"
    if state.reason != DETACHING:
        return Turn(reason=DETACHING, message=text, anew=True, wake=options.detach_timeout)
    end = state.since + options.detach_timeout
    if now >= end:
        return Turn(done=True, reason=STILL_ATTACHED, message=text)
    return Turn(reason=DETACHING, message=text, wake=end - now)


def _listed(found: Sequence[object], most: int = 5) -> str:
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return ", ".join(str(each) for each in found[:most]) + more
