"""One leader among the replicas: a Lease of coordination.k8s.io/v1, held and renewed.

As in Kubernetes' own components, the holder is trusted as long as the Lease changes at least once
per lease duration by OUR clock (the times in it may come from a wrong clock). If two want it at
once, the API's optimistic locking decides.
"""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime
from typing import Any

from lightkube import ApiError

from k3os import names
from k3os.cluster.objects import inside, mapping, number, text
from k3os.operator.api import CONFLICT, NOT_FOUND, Api, ApiFailure, Lease, count
from k3os.operator.outage import pause, words

log = logging.getLogger("k3os.operator.leader")

NAME = "k3os-operator"
# seconds. Kubernetes' own components use 15; but an API server on a small, busy machine may take
# that long for one answer, nothing here is that urgent, and each renewal is a write to an SD card
DURATION = 60
LONGEST = 3600.0  # whatever a Lease says, its holder is trusted no longer than this


class Leadership:
    """identity: unique among replicas. duration: seconds; the holder renews every third of it,
    and gives up before another one may take over."""

    def __init__(self, api: Api, identity: str, duration: float = DURATION) -> None:
        self.identity = identity
        self._api, self._duration = api, duration
        self._seen: tuple[Any, float] = (None, 0.0)
        self._renewed = 0.0

    async def acquire(self) -> None:
        """Wait until it is ours."""
        waiting_for = ""
        while (holder := await self._try()) != self.identity:
            if holder != waiting_for:
                log.info("waiting: %s leads", holder or "nobody yet")
                waiting_for = holder
            await asyncio.sleep(pause(self._api.outage.failures, self._duration / 5))
        log.info("%s leads now", self.identity)

    async def hold(self) -> None:
        """Renew it; returns when it is lost."""
        while time.monotonic() - self._renewed < self._duration * 2 / 3:
            await asyncio.sleep(self._duration / 3)
            holder = await self._try()
            if holder not in ("", self.identity):
                break
        log.warning("%s does not lead any more", self.identity)

    async def release(self) -> None:
        """So that the next one does not have to wait."""
        try:
            count("get", "leases")
            lease = dict(await self._api.client.get(Lease, NAME, namespace=names.NAMESPACE))
            if inside(lease, "spec", "holderIdentity") == self.identity:
                lease["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
                await self._replace(lease)
        except ApiFailure as error:
            log.info("the lease runs out by itself: %s", words(error))

    async def _try(self) -> str:
        """Take or renew the lease if possible; returns the holder, "" if unknown."""
        began = time.monotonic()
        try:
            lease = await self._get()
            self._api.outage.over()
            if lease is None:
                await self._create()
            else:
                spec = dict(mapping(lease.get("spec")))
                holder = text(spec.get("holderIdentity"))
                if holder not in ("", self.identity) and not self._is_stale(lease, began):
                    return str(holder)
                changed = holder != self.identity
                lease["spec"] = self._spec(number(spec.get("leaseTransitions")), spec, changed)
                await self._replace(lease)
        except ApiError as error:
            if error.status.code != CONFLICT:
                self._api.outage.failed(error)
            return ""
        except ApiFailure as error:
            self._api.outage.failed(error)
            return ""
        self._renewed = began
        return self.identity

    def _is_stale(self, lease: dict[str, Any], now: float) -> bool:
        version = inside(lease, "metadata", "resourceVersion")
        if self._seen[0] != version:
            self._seen = (version, now)
        told = number(inside(lease, "spec", "leaseDurationSeconds")) or self._duration
        told = min(told, LONGEST)
        return now - self._seen[1] >= told

    def _spec(self, transitions: int, old: dict[str, Any], changed: bool) -> dict[str, Any]:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": max(1, round(self._duration)),
            "acquireTime": now if changed else old.get("acquireTime", now),
            "renewTime": now,
            "leaseTransitions": transitions + changed,
        }

    async def _get(self) -> dict[str, Any] | None:
        try:
            count("get", "leases")
            return dict(await self._api.client.get(Lease, NAME, namespace=names.NAMESPACE))
        except ApiError as error:
            if error.status.code == NOT_FOUND:
                return None
            raise

    async def _create(self) -> None:
        meta = {"name": NAME, "namespace": names.NAMESPACE}
        count("create", "leases")
        await self._api.client.create(
            Lease({"metadata": meta, "spec": self._spec(0, {}, changed=False)}),
            namespace=names.NAMESPACE,
        )

    async def _replace(self, lease: dict[str, Any]) -> None:
        count("update", "leases")
        await self._api.client.replace(Lease(lease), name=NAME, namespace=names.NAMESPACE)
