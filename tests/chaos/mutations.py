"""Operators of which something was taken away, each to see that a rule can be broken and that it is
seen: `python -m tests.chaos --broken NAME`.
"""

import itertools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

from k3os.cluster import turns
from k3os.operator import decisions, engine, secret_reader
from k3os.operator.api import Api
from k3os.operator.decisions import KEEP, Decision, NodePatch
from tests.chaos.machine import Machine

Patch = tuple[str, Any]


def _paused_or_not(original: Any) -> Any:
    def held(pool: Any, *more: Any) -> Any:
        return original(replace(pool, strategy=replace(pool.strategy, paused=False)), *more)

    return held


def _stays_cordoned(node: Any) -> list[Decision]:
    return [NodePatch(node.name, None, KEEP, decisions.forgotten(node))]


async def _of_another(self: Any, target: Any, node: Any) -> Any:
    return await _FILL(self, target, replace(node, name="another"))


_FILL = secret_reader.SecretReader.fill
_PATCH_STATUS = Api.patch_status
_STATUS = engine.status
_TURN = itertools.count()


async def _over_everything(self: Any, pool: str, status: Any, _version: str = "") -> Any:
    return await _PATCH_STATUS(self, pool, status)


def _never_the_same(*given: Any, **more: Any) -> Any:
    return {**_STATUS(*given, **more), "turn": next(_TURN)}


def _miscounted(*given: Any, **more: Any) -> Any:
    found = _STATUS(*given, **more)
    return {**found, "updated": found["nodes"]}


async def _any_request(self: Any, order: Any) -> Any:
    self.result = {}
    return await _APPLY(self, order)


_APPLY = Machine.apply
# name: what is taken away, and a word of the rule that is broken then
MUTATIONS: dict[str, tuple[str, tuple[Patch, ...]]] = {
    "servers all at once": (
        "is being changed",
        (("k3os.cluster.turns.server_may_not", lambda *_: ""),),
    ),
    "any number of nodes": (
        "that may be",
        (("k3os.cluster.spec.Strategy.limit", lambda *_: 99),),
    ),
    "a paused NodePool goes on": (
        "is paused or gone",
        (("k3os.cluster.turns.held", _paused_or_not(turns.held)),),
    ),
    "nodes stay cordoned": (
        "left cordoned",
        (
            ("k3os.operator.rollout.release", _stays_cordoned),
            ("k3os.operator.soak.release", _stays_cordoned),
        ),
    ),
    "a canary's steps do not count": (
        "in this step",
        (("k3os.operator.canary.allowed", lambda pool, *_: pool),),
    ),
    "another node's configuration": (
        "no NodePool wants",
        (("k3os.operator.secret_reader.SecretReader.fill", _of_another),),
    ),
    "a status that is never the same": (
        "in a minute",
        (("k3os.operator.engine.status", _never_the_same),),
    ),
    "a status that miscounts": (
        "status.updated",
        (("k3os.operator.engine.status", _miscounted),),
    ),
    "failures are not told": (
        "says why",
        (("k3os.operator.status._has_failed", lambda *_: False),),
    ),
    "quorum does not count": (
        "member",
        (
            ("k3os.cluster.turns.quorum", lambda *_: ""),
            ("k3os.operator.rollout.quorum", lambda *_: ""),
        ),
    ),
    "no second look before a node goes": (
        "member",
        (("k3os.operator.rollout.postponed", lambda *_: ""),),
    ),
    "what went unseen stays": (
        "",
        (("k3os.operator.relisting.whole", lambda watch: watch),),
    ),
    "dead watches": (
        "",
        (("k3os.operator.watched.SILENT_SECONDS", 1e9),),
    ),
    "statuses written over others": (
        "",
        (("k3os.operator.api.Api.patch_status", _over_everything),),
    ),
    "nodes that forget": (
        "restarts again",
        (("tests.chaos.machine.Machine.apply", _any_request),),
    ),
}


@contextmanager
def broken(name: str) -> Iterator[None]:
    """ "" for nothing."""
    with ExitStack() as stack:
        for where, instead in MUTATIONS[name][1] if name else ():
            stack.enter_context(mock.patch(where, instead))
        yield
