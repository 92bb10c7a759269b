"""The engine's part for canaries: reads the written state, asks the gates, reports progress.

operator/canary.py makes the decisions. The target to go back to is read once and remembered;
everything else is in the NodePool's status.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from k3os import names
from k3os.cluster.objects import inside, mapping, text
from k3os.cluster.revision import before
from k3os.cluster.spec import Pool
from k3os.cluster.target import COMPONENTS, Target, plain
from k3os.cluster.turns import Cluster
from k3os.cluster.workloads import SICK
from k3os.operator import canary
from k3os.operator.api import Api, ApiFailure
from k3os.operator.decisions import Said
from k3os.operator.gates import Gates
from k3os.operator.outage import words
from k3os.operator.revisions import Revisions
from k3os.operator.secret_reader import SecretReader
from k3os.operator.status import Shown

log = logging.getLogger("k3os.operator")

RETRY = 1.0  # seconds until another try to read something
Body = Mapping[str, Any]


@dataclass(frozen=True)
class Look:
    """At one NodePool. pool: limited to what its canary allows. said: posted once shown is
    written. kept: digests of targets that its history keeps whatever their age."""

    pool: Pool
    state: canary.State | None = None
    shown: Shown = Shown()  # noqa: RUF009 - it cannot be changed
    said: Said | None = None
    wake: float | None = None
    kept: tuple[str, ...] = ()


class CanaryEngine:
    def __init__(
        self,
        api: Api,
        revisions: Revisions,
        reader: SecretReader,
        changed: Callable[[], None],
    ) -> None:
        self._revisions = revisions
        self._secrets = reader
        self._gates = Gates(api, changed)
        self._targets: dict[tuple[str, str], Target] = {}

    def close(self) -> None:
        self._gates.close()

    async def look(
        self,
        pools: Iterable[tuple[Body, Pool]],
        cluster: Cluster,
        now: float,
    ) -> list[Look]:
        """One per NodePool, based on what its status says."""
        found = []
        for body, pool in pools:
            state = canary.parse(mapping(body.get("status")))
            try:
                found.append(await self._look(body, pool, state, cluster, now))
            except Exception as error:  # it stops this NodePool only
                unknown = isinstance(error, ApiFailure)
                if unknown:
                    log.warning("%s: its canary: %s", pool.name, words(error))
                else:
                    log.exception("%s: its canary", pool.name)
                held = f"its canary cannot continue: {words(error)}"
                found.append(_held(pool, state, held, unknown=unknown))
        self._only(found)
        self._gates.only({look.pool.uid for look in found if _asks(look.state)})
        return found

    async def _look(
        self, body: Body, pool: Pool, state: canary.State | None, cluster: Cluster, now: float
    ) -> Look:
        if pool.strategy.canary is None:
            # if the spec is invalid, nobody knows whether it has a canary
            return Look(pool, state, Shown() if pool.problems else Shown(status={}))
        if pool.uid not in self._revisions.known:
            # without its history the target to go back to is unknown
            return _held(pool, state, "its revisions are not read yet", unknown=True)
        stable = None
        if state is not None and state.target == pool.target.digest and state.phase in canary.BACK:
            stable = await self._target(pool, state.stable)
        older = before(self._revisions.known[pool.uid], pool.target.digest)
        sight = canary.Sight(
            verdicts=self._gates.ask(pool, state) if state is not None and _asks(state) else (),
            stable=stable,
            before=older.digest if older else "",
            retried=text(inside(body, "metadata", "annotations", names.RETRIED)),
        )
        after = canary.proceed(pool, cluster, state, sight, now)
        goes_on = after is not None and after != state
        return Look(
            pool=canary.allowed(pool, cluster, state, stable),
            state=state,
            shown=shown(pool, after, stable, canary.stuck(pool, cluster, after, stable))
            if after
            else Shown(),
            said=said(pool, after) if after and _is_news(pool, state, after) else None,
            wake=0.0 if goes_on else canary.wake(pool, after, now),
            kept=_kept(state, after),
        )

    async def _target(self, pool: Pool, digest: str) -> Target | None:
        key = (pool.uid, digest)
        if key not in self._targets:
            known = self._revisions.known[pool.uid]
            wanted = next((each for each in known if each.digest == plain(digest)), None)
            found = await self._revisions.target(pool.uid, wanted) if wanted else None
            if found is None:
                return None
            self._targets[key] = found
        return await self._secrets.sealed(self._targets[key])

    def _only(self, looks: Iterable[Look]) -> None:
        """Remember only the targets that nodes go back to now: their Secrets are checked."""
        wanted = {
            (look.pool.uid, look.state.stable)
            for look in looks
            if look.state is not None and look.state.phase in canary.BACK
        }
        self._targets = {key: each for key, each in self._targets.items() if key in wanted}

    @property
    def targets(self) -> Collection[Target]:
        """The targets that nodes go back to, as far as they were read."""
        return self._targets.values()


def _held(pool: Pool, state: canary.State | None, why: str, *, unknown: bool) -> Look:
    """Start nothing, keep the written state. unknown: the target to go back to was not read."""
    same = state is not None and state.target == pool.target.digest
    back = same and state is not None and state.phase in canary.BACK
    told = Shown()
    if state is not None and same and pool.strategy.canary is not None:
        told = shown(pool, state, None, "")
    held = replace(pool, allowed=0, held=why, frozen=pool.frozen or (back and unknown))
    return Look(held, state, told, wake=RETRY, kept=_kept(state))


def _kept(*states: canary.State | None) -> tuple[str, ...]:
    return tuple(sorted({each.stable for each in states if each and each.stable}))


def _is_news(pool: Pool, before: canary.State | None, after: canary.State) -> bool:
    """Whether a phase begins: of another target, step or attempt."""

    def what(state: canary.State) -> tuple[object, ...]:
        return state.target, state.step, state.phase, state.attempt

    silent = is_implied(pool) and after.phase not in (canary.FAILED, *canary.BACK)
    return not silent and (before is None or what(before) != what(after))


def _asks(state: canary.State | None) -> bool:
    return state is not None and state.phase == canary.ANALYZING


def shown(pool: Pool, state: canary.State, stable: Target | None, stuck: str) -> Shown:
    """stuck: why a rollback does not continue by itself."""
    found = Shown(
        canary.as_status(state),
        target=stable,
        phase="Updating",
        instead_of=("Pending", "Updated"),  # gates may still be asked when all nodes have it
    )
    if state.phase == canary.COMPLETED:
        return replace(found, phase="")
    if state.phase not in (canary.FAILED, *canary.BACK):
        return found
    told = f"{canary.described(pool, state)}{_open(pool.target, stable)}"
    over = state.phase != canary.ROLLING_BACK or bool(stuck)
    reason = SICK if is_implied(pool) else "CanaryFailed"
    return replace(
        found,
        phase="Failed" if over else "Updating",
        instead_of=("Pending", "Updating", "Updated", "Paused", *(() if over else ("Failed",))),
        judged={"Degraded": (True, reason, f"{told}; {stuck or canary.remedy(pool, state)}")},
    )


def _open(target: Target, stable: Target | None) -> str:
    """Which components stay as they are, since the old target names no version of them."""
    pairs = ((name, getattr(target, name), getattr(stable, name, None)) for name in COMPONENTS)
    found = [name for name, wanted, before in pairs if stable and wanted and not before]
    return f"; what they go back to names no version of {' and '.join(found)}" if found else ""


def said(pool: Pool, state: canary.State) -> Said:
    """The Event for a phase that begins."""
    failed = state.phase in (canary.FAILED, *canary.BACK)
    told = canary.described(pool, state)
    if failed:
        told = f"{told}; {canary.remedy(pool, state)}"
    return Said(f"{'Rollout' if is_implied(pool) else 'Canary'}{state.phase}", told, warning=failed)


def is_implied(pool: Pool) -> bool:
    """Whether the spec has no canary: then nobody wants to hear of its steps."""
    return pool.strategy.canary is not None and pool.strategy.canary.implied
