"""The pods, budgets and volumes of the nodes that are being drained.

It watches only while there are such nodes, and decides nothing (drain.py does).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from k3os.cluster.budgets import Budget
from k3os.cluster.drain import Load
from k3os.cluster.node import DRAINING
from k3os.cluster.turns import Cluster
from k3os.cluster.views import AttachmentView, PodView
from k3os.operator import watched
from k3os.operator.api import Api, ApiFailure
from k3os.operator.outage import words
from k3os.operator.watched import Watched

log = logging.getLogger("k3os.operator")


class Loads:
    """changed: called when something changes."""

    def __init__(self, api: Api, changed: Callable[[], None]) -> None:
        self._api, self._changed = api, changed
        self._pods: dict[str, Watched[PodView]] = {}
        self._budgets: Watched[Budget] | None = None
        self._attachments: Watched[AttachmentView] | None = None
        self._refused: dict[str, str] = {}
        self._claims: dict[str, str | None] = {}

    async def follow(self, cluster: Cluster) -> dict[str, Load]:
        """By node, for those whose step is Draining."""
        wanted = {node.name for node in cluster.nodes if node.state and node.state.step == DRAINING}
        for name in wanted - self._pods.keys():
            self._pods[name] = watched.pods_of(self._api, name, self._changed)
        for name in self._pods.keys() - wanted:
            await self._pods.pop(name).close()
        if wanted and self._budgets is None:
            self._budgets = watched.all_budgets(self._api, self._changed)
        if wanted and self._attachments is None:
            self._attachments = watched.all_attachments(self._api, self._changed)
        if not wanted:
            await self.close()
        alone = len(cluster.nodes) == 1
        return {name: await self._load(name, alone) for name in wanted}

    async def close(self) -> None:
        for each in (*self._pods.values(), self._budgets, self._attachments):
            if each is not None:
                await each.close()
        self._pods, self._budgets, self._attachments = {}, None, None
        self._refused.clear()
        self._claims.clear()

    def said(self, pod: PodView, why: str) -> None:
        """Record the result of an eviction, "" if the pod goes."""
        if why and self._refused.get(str(pod)) != why:
            log.warning("%s is not evicted: %s", pod, why)
        self._refused[str(pod)] = why

    async def _load(self, node: str, alone: bool) -> Load:
        found = self._pods[node].found
        pods = None if found is None else list(found.values())
        known = self._attachments.found if self._attachments else None
        attached = None if known is None else [each for each in known.values() if each.node == node]
        if attached and any(pod.claims for pod in pods or ()):
            attached = [await self._claimed(each) for each in attached]
        budgets = self._budgets.found if self._budgets else None
        return Load(pods, list((budgets or {}).values()), self._refused, attached, alone)

    async def _claimed(self, attachment: AttachmentView) -> AttachmentView:
        """With its claim, which only matters while pods with claims stay."""
        volume = attachment.volume
        if volume and volume not in self._claims:
            try:
                self._claims[volume] = await self._api.claim_of(volume)
            except ApiFailure as error:
                log.warning("whose volume %s is cannot be asked: %s", volume, words(error))
                self._claims[volume] = None  # wait for it like for any other
        return replace(attachment, claim=self._claims.get(volume, ""))
