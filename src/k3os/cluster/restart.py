"""Restarts a node by hand: cordons it, drains it like a rollout, restarts it, releases it.

It uses kubectl, with the caller's permissions; other modules decide what is allowed and which pods
go next (by_hand.py, drain.py). The node is released whatever happens; if this program is killed,
its mark in the Node expires, and the cordon stays.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from k3os.cluster import by_hand
from k3os.cluster.budgets import parse_budget
from k3os.cluster.drain import REFUSED, Load, Turn
from k3os.cluster.drain import turn as turn_of
from k3os.cluster.kubectl import (
    NODES,
    POOLS,
    Conflict,
    Forbidden,
    Kubectl,
    NotNow,
    NotThere,
)
from k3os.cluster.node import DRAINING, ByHand, NodeView, State, parse_node
from k3os.cluster.on_node import check_rights, on_node, undisturbed, view_of
from k3os.cluster.spec import Drain, Pool, read_pool
from k3os.cluster.turns import Cluster, is_busy, server_may_not
from k3os.cluster.views import AttachmentView, PodView, parse_attachment, parse_claim, parse_pod
from k3os.errors import UserError
from k3os.system.plural import counted
from k3os.system.units import later

PODS = "/api/v1/pods"
BUDGETS = "/apis/policy/v1/poddisruptionbudgets"
ATTACHMENTS = "/apis/storage.k8s.io/v1/volumeattachments"
VOLUMES = "/api/v1/persistentvolumes"
LOOK_SECONDS = 2.0
TRIES = 5
GIVE_BACK_SECONDS = 60.0
# how long a node that is back may report that it is unhealthy: that may be old news
UNWELL_SECONDS = 60.0
REBOOT_SECONDS = 5  # time to delete the pod that orders the reboot
POD_SECONDS = 3600
MOVED = "its pods have moved away"
STAY = "its pods stay, as its NodePool's strategy.drain.enabled says"


@dataclass(frozen=True)
class Order:
    """command: of `kubectl k3os`. seconds: for everything. force: also end pods that nothing would
    start elsewhere. program: runs on the node after its pods are gone and before it restarts."""

    command: str
    seconds: int
    force: bool = False
    program: tuple[str, ...] = ()


def cluster_of(kubectl: Kubectl) -> tuple[Cluster, list[Pool]]:
    """All nodes, and all NodePools, if there are any. Raises UserError."""
    nodes = tuple(parse_node(each) for each in kubectl.objects(NODES).values())
    try:
        pools = [read_pool(each) for each in kubectl.objects(POOLS).values()]
    except NotThere:
        pools = []
    return Cluster(nodes), pools


def restart(kubectl: Kubectl, name: str, order: Order, say: Callable[[str], None]) -> NodeView:
    """The node once it is back. say: takes progress messages, a line each. Raises UserError; then
    the node takes pods again, unless it is down."""
    end = time.monotonic() + order.seconds
    with _held(kubectl, name, order, say) as held:
        held.check_others()
        held.drain(end)
        held.check_others()
        with on_node(kubectl, held.node, POD_SECONDS) as there:
            if order.program:
                for line in there.output(order.program, end - time.monotonic()).splitlines():
                    say(line.decode(errors="replace"))
            there.output(later(REBOOT_SECONDS, "systemctl", "--no-block", "reboot"), 60.0)
            held.ordered = True
        say("restarts")
        return held.until_back(end)


@contextmanager
def _held(kubectl: Kubectl, name: str, order: Order, say: Callable[[str], None]) -> Iterator[_Held]:
    """The node is ours: no rollout starts it, and it takes no pods."""
    check_rights(kubectl)
    held = _Held(kubectl, name, ByHand(order.command, 0, os.urandom(8).hex()), say)
    try:
        held.take(order)
        yield held
    finally:
        if held.marked:
            with undisturbed():
                held.give_back()


def _node(kubectl: Kubectl, name: str) -> Mapping[str, Any]:
    return kubectl.object(f"{NODES}/{quote(name, safe='')}")


def _patch(kubectl: Kubectl, name: str, change: Mapping[str, Any]) -> None:
    kubectl.run("patch", "node", name, "--type=merge", f"--patch={json.dumps(change)}")


@dataclass
class _Held:
    """node: as it was before. alone: the cluster has no other. marked: the Node may have our mark.
    ordered: the restart was ordered."""

    kubectl: Kubectl
    name: str
    mark: ByHand
    say: Callable[[str], None]
    alone: bool = False
    marked: bool = False
    ordered: bool = False

    def __post_init__(self) -> None:
        self.node = NodeView(self.name, {}, False, False)
        self.options = Drain()
        self._refused: dict[str, str] = {}
        self._claims: dict[str, str] = {}
        self._eviction = "policy/v1"

    def take(self, order: Order) -> None:
        """Raises UserError."""
        cluster, pools = cluster_of(self.kubectl)
        self.alone = len(cluster.nodes) == 1
        for _ in range(TRIES):
            now = int(time.time())
            body = _node(self.kubectl, self.name)
            self.node = view_of(self.kubectl, body)
            by_hand.check(self.node, cluster, now)
            self.options = by_hand.drain_options(self.node, pools, force=order.force)
            self._load()  # report a missing permission before anything is changed
            self.mark = replace(self.mark, until=now + order.seconds)
            try:
                self.marked = True
                _patch(self.kubectl, self.name, by_hand.taken(body, self.mark))
            except (Conflict, Forbidden) as error:
                self.marked = False
                if isinstance(error, Forbidden):
                    raise
                continue
            self.say(f"cordoned{' already' if self.node.unschedulable else ''}")
            return
        raise UserError("other programs keep changing the node", "try again")

    def check_others(self) -> None:
        """If two started at once, each sees the other by now. Raises UserError."""
        cluster, _ = cluster_of(self.kubectl)
        if why := server_may_not(cluster, self.node, (), time.time()):
            raise UserError(f"it is a server: {why}", "nothing was restarted")

    # draining

    def drain(self, end: float) -> None:
        """Wait until the node may restart. end: monotonic. Raises UserError."""
        began = int(time.time())
        state = State("", "", DRAINING, "", began, began)
        said = -1
        while True:
            self._is_ours()
            load = self._load()
            turn = turn_of(state, self.options, load, time.time())
            if turn.failed:
                raise UserError(f"{turn.failed}: {turn.message}", _remedy(turn))
            if turn.done:
                self.say(turn.message or (MOVED if self.options.enabled else STAY))
                return
            if turn.message and turn.message != state.message:
                self.say(turn.message)
            left = len(turn.evict)
            if left and left != said:
                self.say(f"{counted(left, 'pod')} to move away")
            said = left
            since = int(time.time()) if turn.anew else state.since
            state = replace(state, since=since, reason=turn.reason, message=turn.message)
            for pod in turn.evict:
                self._refused[str(pod)] = self._evict(pod)
            if time.monotonic() >= end:
                raise UserError(
                    f"the node was not drained in time{_after(turn.message)}", "--timeout"
                )
            time.sleep(min(turn.wake or LOOK_SECONDS, LOOK_SECONDS))

    def _load(self) -> Load:
        """What is on the node now. Raises UserError."""
        path = f"{PODS}?fieldSelector={quote(f'spec.nodeName={self.name}', safe='')}"
        pods = [parse_pod(each) for each in self.kubectl.listed(path)]
        attached = [
            each
            for each in map(parse_attachment, self.kubectl.listed(ATTACHMENTS))
            if each.node == self.name
        ]
        if attached and any(pod.claims for pod in pods):
            attached = [self._claimed(each) for each in attached]
        return Load(pods, self._budgets(), self._refused, attached, self.alone)

    def _budgets(self) -> list[Any]:
        try:
            return [parse_budget(each) for each in self.kubectl.listed(BUDGETS)]
        except NotThere:  # before Kubernetes 1.21: only the API server can check them
            self._eviction = "policy/v1beta1"
            return []

    def _claimed(self, attachment: AttachmentView) -> AttachmentView:
        volume = attachment.volume
        if volume and volume not in self._claims:
            try:
                body = self.kubectl.object(f"{VOLUMES}/{quote(volume, safe='')}")
                self._claims[volume] = parse_claim(body)
            except NotThere:
                self._claims[volume] = ""
        return replace(attachment, claim=self._claims.get(volume, ""))

    def _evict(self, pod: PodView) -> str:
        """Why it is refused for now, "" if the pod goes or is gone. Raises UserError."""
        where = {"name": pod.name, "namespace": pod.namespace}
        body: dict[str, Any] = {"apiVersion": self._eviction, "kind": "Eviction", "metadata": where}
        if self.options.grace_period >= 0:
            body["deleteOptions"] = {"gracePeriodSeconds": self.options.grace_period}
        path = f"/api/v1/namespaces/{quote(pod.namespace)}/pods/{quote(pod.name)}/eviction"
        try:
            self.kubectl.run("create", f"--raw={path}", "-f", "-", stdin=json.dumps(body).encode())
        except NotNow as error:
            return error.message
        except NotThere:
            return ""
        return ""

    def _is_ours(self) -> None:
        """Raises UserError if somebody has removed the mark."""
        found = parse_node(_node(self.kubectl, self.name)).by_hand
        if found is None or found.token != self.mark.token:
            raise UserError(
                "somebody else is working on this node now", "nothing more is done to it"
            )

    # afterwards

    def until_back(self, end: float) -> NodeView:
        """Wait until it is up again and healthy. end: monotonic. Raises UserError."""
        trouble, step, unwell = "", "", 0.0
        while True:
            node, now = None, ""
            try:
                node = parse_node(_node(self.kubectl, self.name))
            except (Forbidden, NotThere):
                raise
            except UserError as error:  # the API server may be on this node
                now = error.message
            if now != trouble:
                self.say(f"no answer: {now}" if now else "the API server answers again")
                trouble = now
            if node is not None and by_hand.is_back(self.node, node):
                unwell = unwell or time.monotonic() + UNWELL_SECONDS
                if node.healthy is not False or time.monotonic() >= unwell:
                    return node
            if node is not None and (at := _step(self.node, node)) != step:
                step = at
                if step:
                    self.say(step)
            if time.monotonic() >= end:
                raise UserError(
                    "the node is not back in time",
                    "look at its screen or its serial port; it stays cordoned: when it is back, "
                    f"`kubectl uncordon {self.name}`",
                )
            time.sleep(LOOK_SECONDS)

    def give_back(self) -> None:
        """Let it take pods again, unless it did not before, or is about to restart."""
        name, end = self.name, time.monotonic() + GIVE_BACK_SECONDS
        while True:
            try:
                body = _node(self.kubectl, name)
                node = parse_node(body)
                if node.by_hand is None or node.by_hand.token != self.mark.token:
                    return
                stays = self.node.unschedulable or is_busy(node) or self._goes(node)
                _patch(self.kubectl, name, by_hand.given_back(body, uncordon=not stays))
            except UserError as error:
                if time.monotonic() >= end or isinstance(error, Forbidden | NotThere):
                    self.say(f"stays cordoned: {error.message}; `kubectl uncordon {name}`")
                    return
                if not isinstance(error, Conflict):
                    time.sleep(LOOK_SECONDS)
                continue
            if not stays:
                self.say("uncordoned")
            elif not self.node.unschedulable:
                self.say(f"stays cordoned: it restarts; then `kubectl uncordon {name}`")
            return

    def _goes(self, node: NodeView) -> bool:
        """Whether it is restarting, so that pods placed on it now would be lost."""
        return self.ordered and not by_hand.is_back(self.node, node)


def _remedy(turn: Turn) -> str:
    lonely = turn.failed == REFUSED and turn.message.endswith("drain.force")
    return "`--force` ends such pods, too" if lonely else "nothing was restarted"


def _step(before: NodeView, node: NodeView) -> str:
    if not node.ready:
        return "is not Ready: it restarts"
    if node.boot_id == before.boot_id:
        return ""
    return "has booted, its version is on trial" if node.trial else "has booted"


def _after(text: str) -> str:
    return f": {text}" if text else ""
