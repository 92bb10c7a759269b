"""Keeps a NodePool's history (cluster/revision.py): adds what is missing, drops what exceeds
revisionHistoryLimit.

`plan` only decides. A change of what is wanted creates a revision; if an old one is wanted again,
it becomes the newest, as with Deployments. The revision is created before its Secret, and both
are checked again when the operator starts: it may be killed in between.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lightkube import ApiError
from lightkube.generic_resource import create_namespaced_resource
from lightkube.types import PatchType

from k3os import names
from k3os.cluster.objects import inside, mapping, text, texts
from k3os.cluster.revision import (
    AT,
    BY,
    CAUSE,
    LABEL,
    Content,
    Revision,
    changed_by,
    content_of,
    data_of,
    files_of,
    has_content,
    parse_all,
    target_of,
)
from k3os.cluster.spec import Pool
from k3os.cluster.target import Target, plain
from k3os.operator.api import CONFLICT, NOT_FOUND, Api, ApiFailure, Secret, count
from k3os.system.stamps import utc

log = logging.getLogger("k3os.operator")

ControllerRevision: Any = create_namespaced_resource(
    "apps", "v1", "ControllerRevision", "controllerrevisions"
)
LONGEST_NAME = 200  # of the NodePool's name in those of its revisions


@dataclass(frozen=True)
class Plan:
    """number: the wanted target's new number, 0 if it has one already. drop: names."""

    number: int
    drop: tuple[str, ...] = ()


def plan(revisions: Sequence[Revision], pool: Pool, *kept: str) -> Plan:
    """kept: targets that stay whatever their age."""
    digest, known = pool.target.plain_digest, set(map(plain, kept))
    newest = max((each.number for each in revisions), default=0)
    current = next((each for each in revisions if each.digest == digest), None)
    is_newest = current is not None and current.number == newest
    old = [each.name for each in revisions if each.digest not in {digest, *known}]
    most = pool.history_limit
    return Plan(0 if is_newest else newest + 1, tuple(old[: max(0, len(old) - most)]))


def name_of(pool: Pool) -> str:
    """Unique even if a new NodePool has the name of a deleted one."""
    named = hashlib.sha256(f"{pool.uid} {pool.target.plain_digest}".encode()).hexdigest()
    return f"{pool.name[:LONGEST_NAME]}-{named[:12]}"


def revision(pool: Pool, body: Mapping[str, Any], number: int, now: float) -> dict[str, Any]:
    """The object to create."""
    owner = {"apiVersion": f"{names.GROUP}/{names.VERSION}", "kind": names.KIND}
    owner |= {"name": pool.name, "uid": pool.uid}
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": name_of(pool),
            "namespace": names.NAMESPACE,
            "labels": {LABEL: pool.uid},
            "annotations": _notes(body, now),
            "ownerReferences": [owner],
        },
        "data": data_of(pool.target),
        "revision": number,
    }


def _notes(body: Mapping[str, Any], now: float) -> dict[str, Any]:
    by, at = changed_by(body)
    cause = texts(inside(body, "metadata", "annotations")).get(CAUSE)
    return {BY: by, AT: at or utc(now)} | ({CAUSE: cause} if cause else {})


def secret(pool: Pool, made: Mapping[str, Any]) -> dict[str, Any]:
    """Holds a configuration; deleted with its revision. made: the revision, as the API has it."""
    name = text(inside(made, "metadata", "name"))
    owner = {"apiVersion": "apps/v1", "kind": "ControllerRevision", "name": name}
    owner["uid"] = text(inside(made, "metadata", "uid"))
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            "namespace": names.NAMESPACE,
            "labels": {LABEL: pool.uid},
            "ownerReferences": [owner],
        },
        "immutable": True,
        "stringData": files_of(pool.target),
    }


class Revisions:
    """Of all NodePools. known: by uid, what was last listed or written."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._kept: dict[str, tuple[str, tuple[str, ...], int]] = {}
        self.known: dict[str, list[Revision]] = {}

    async def keep(
        self, pool: Pool, body: Mapping[str, Any], now: float, *stable: str
    ) -> Exception | None:
        """Write down what is wanted now, unless that is done. stable: targets to keep."""
        if pool.problems or pool.unresolved or pool.deleting or not pool.uid:
            return None
        key = (pool.target.plain_digest, stable, pool.history_limit)
        if self._kept.get(pool.uid) == key:
            return None
        try:
            await self._keep(pool, body, now, *stable)
        except ApiFailure as error:
            return error
        except Exception as error:  # our bug: it costs this NodePool its history
            log.exception("%s: its revisions", pool.name)
            return error
        self._kept[pool.uid] = key
        return None

    def forget(self, uids: set[str]) -> None:
        """All but these."""
        self._kept = {uid: key for uid, key in self._kept.items() if uid in uids}
        self.known = {uid: found for uid, found in self.known.items() if uid in uids}

    async def _keep(self, pool: Pool, body: Mapping[str, Any], now: float, *stable: str) -> None:
        client, where = self._api.client, names.NAMESPACE
        found = parse_all(await self._list(ControllerRevision, pool.uid), pool.uid)
        planned = plan(found, pool, *stable)
        wanted = revision(pool, body, planned.number, now)
        name = wanted["metadata"]["name"]
        count("create" if planned.number else "get", "controllerrevisions")
        made = None
        if planned.number and all(each.digest != pool.target.plain_digest for each in found):
            made = await self._create(ControllerRevision, wanted)
        if made is None and planned.number:
            notes = {CAUSE: None, **wanted["metadata"]["annotations"]}
            change = {"revision": planned.number, "metadata": {"annotations": notes}}
            made = await client.patch(
                ControllerRevision, name, change, patch_type=PatchType.MERGE, namespace=where
            )
        elif made is None:
            made = await client.get(ControllerRevision, name, namespace=where)
        if files_of(pool.target):
            count("create", "secrets")
            await self._create(Secret, secret(pool, dict(made)))
        for old in planned.drop:
            await self._drop(old)
        self.known[pool.uid] = parse_all(await self._list(ControllerRevision, pool.uid), pool.uid)
        if planned.number:
            log.info("%s: revision %d", pool.name, planned.number)

    async def _list(self, kind: Any, uid: str) -> list[dict[str, Any]]:
        count("list", "secrets" if kind is Secret else "controllerrevisions")
        listing = self._api.client.list(kind, namespace=names.NAMESPACE, labels={LABEL: uid})
        return [dict(each) async for each in listing]

    async def _create(self, kind: Any, body: Mapping[str, Any]) -> dict[str, Any] | None:
        """None if it already exists."""
        try:
            return dict(await self._api.client.create(kind(body), namespace=names.NAMESPACE))
        except ApiError as error:
            if error.status.code == CONFLICT:
                return None
            raise

    async def _drop(self, name: str) -> None:
        """Its Secret goes with it."""
        count("delete", "controllerrevisions")
        try:
            await self._api.client.delete(ControllerRevision, name, namespace=names.NAMESPACE)
        except ApiError as error:
            if error.status.code != NOT_FOUND:
                raise

    async def target(self, uid: str, wanted: Revision) -> Target | None:
        """What a revision wanted; None if its configuration is gone. Raises ApiFailure."""
        if not has_content(wanted):
            return target_of(wanted, Content())
        for each in await self._list(Secret, uid):
            if mapping(each.get("metadata")).get("name") == wanted.name:
                content = content_of(each, wanted)
                return target_of(wanted, content) if content is not None else None
        return None
