"""Objects that are only watched for a while: listed once, then watched. kopf has the others.

It keeps what a parser makes of each object, and reports changes. What cannot be read is unknown,
never empty.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from lightkube.generic_resource import create_global_resource, create_namespaced_resource

from k3os.cluster.budgets import Budget, parse_budget
from k3os.cluster.views import AttachmentView, PodView, parse_attachment, parse_pod
from k3os.operator.api import Api, ApiFailure, count
from k3os.operator.outage import pause, words

log = logging.getLogger("k3os.operator.api")

WATCH_SECONDS = 300  # then the server ends the watch; the next one continues from there
# after this long without an event the connection may be dead without an error. A drain has only
# minutes, so list again
SILENT_SECONDS = 60.0

# plain dictionaries, as in api.py
Pods: Any = create_namespaced_resource("", "v1", "Pod", "pods")
Budgets: Any = create_namespaced_resource(
    *("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets")
)
Attachments: Any = create_global_resource(
    *("storage.k8s.io", "v1", "VolumeAttachment", "volumeattachments")
)

View = TypeVar("View")


class Watched(Generic[View]):
    """found: by namespace and name, None until the first list is complete. changed: called after
    each change. where: for lightkube: a namespace, selectors."""

    def __init__(
        self,
        api: Api,
        kind: Any,
        parse: Callable[[Mapping[str, Any]], View],
        changed: Callable[[], None],
        what: str,
        **where: Any,
    ) -> None:
        self.found: dict[tuple[str, str], View] | None = None
        self._api, self._kind, self._parse, self._changed = api, kind, parse, changed
        self._what, self._where = what, where
        self._plural = kind._api_info.plural
        self._task = asyncio.create_task(self._follow(), name=what)

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _follow(self) -> None:
        failures = 0
        while True:
            try:
                await self._list_and_watch()
                failures = 0
            except ApiFailure as error:
                failures += 1
                if failures == 1:
                    log.warning("%s cannot be watched: %s", self._what, words(error))
            except Exception:  # our bug: whatever needs it waits, the rest goes on
                failures += 1
                log.exception("%s cannot be read", self._what)
            await asyncio.sleep(pause(failures))

    async def _list_and_watch(self) -> None:
        count("list", self._plural)
        listing = self._api.client.list(self._kind, **self._where)
        found = {}
        async for body in listing:
            found[_key(body)] = self._parse(body)
        self.found = found
        self._changed()
        count("watch", self._plural)
        watch = self._api.client.watch(
            self._kind,
            **self._where,
            server_timeout=WATCH_SECONDS,
            resource_version=listing.resourceVersion,
        )
        clock = asyncio.get_running_loop().time
        limit = asyncio.timeout(SILENT_SECONDS)
        try:
            async with limit:
                async for event, body in watch:
                    limit.reschedule(clock() + SILENT_SECONDS)
                    if event == "DELETED":
                        found.pop(_key(body), None)
                    else:
                        found[_key(body)] = self._parse(body)
                    self._changed()
        except TimeoutError:
            if not limit.expired():
                raise


def _key(body: Mapping[str, Any]) -> tuple[str, str]:
    meta = body["metadata"]
    return str(meta.get("namespace") or ""), str(meta["name"])


def pods_of(api: Api, node: str, changed: Callable[[], None]) -> Watched[PodView]:
    where = {"namespace": "*", "fields": {"spec.nodeName": node}}
    return Watched(api, Pods, parse_pod, changed, f"the pods of {node}", **where)


def all_budgets(api: Api, changed: Callable[[], None]) -> Watched[Budget]:
    what = "PodDisruptionBudgets"
    return Watched(api, Budgets, parse_budget, changed, what, namespace="*")


def all_attachments(api: Api, changed: Callable[[], None]) -> Watched[AttachmentView]:
    return Watched(api, Attachments, parse_attachment, changed, "VolumeAttachments")
