"""Keeps the policy by which the API server refuses wrong NodePools (admission_policy.py) in the
cluster.

Kubernetes has the API since 1.30; on older clusters this only checks now and then whether the
cluster was upgraded. A policy that differs is replaced.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from typing import Any

import httpx2
from lightkube import ApiError
from lightkube.generic_resource import create_global_resource
from lightkube.types import PatchType

from k3os import names
from k3os.cluster.objects import inside
from k3os.operator.admission_policy import GROUP, binding, policy
from k3os.operator.api import CONFLICT, NOT_FOUND, Api, ApiFailure, count
from k3os.operator.outage import words

log = logging.getLogger("k3os.operator")

SECONDS, RETRY = 600.0, 60.0  # between two checks, and after a failure
HASH = f"{names.GROUP}/hash"  # an annotation: hash of what was applied last
Policy: Any = create_global_resource(
    *(GROUP, "v1", "ValidatingAdmissionPolicy", "validatingadmissionpolicies")
)
Binding: Any = create_global_resource(
    *(GROUP, "v1", "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings")
)


class AdmissionSync:
    """served: whether the cluster has the API; None until that is known."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._next = 0.0
        self.served: bool | None = None

    async def keep(self, now: float) -> None:
        """Apply what is missing or different, if a check is due. NodePools are rolled out even if
        this fails. now: monotonic."""
        if now < self._next:
            return
        try:
            # first the policy, then its binding
            served = await self._apply(Policy, policy()) and await self._apply(Binding, binding())
        except ApiFailure as error:
            log.warning("the policy for NodePools is not applied: %s", words(error))
            self._next = now + RETRY
            return
        if served != self.served and not served:
            log.info("this cluster has no ValidatingAdmissionPolicies: NodePools are checked here")
        self.served, self._next = served, now + SECONDS

    async def _apply(self, kind: Any, body: Mapping[str, Any]) -> bool:
        """Whether the cluster has this kind. Raises ApiError."""
        name, wanted = body["metadata"]["name"], marked(body)
        plural = kind._api_info.plural
        count("get", plural)
        try:
            known = await self._api.client.get(kind, name)
        except (ApiError, httpx2.HTTPStatusError) as error:
            if _status(error) != NOT_FOUND:
                raise
            return await self._create(kind, wanted)
        if (
            inside(known, "metadata", "annotations", HASH)
            != wanted["metadata"]["annotations"][HASH]
        ):
            count("patch", plural)
            await self._api.client.patch(kind, name, wanted, patch_type=PatchType.MERGE)
            log.info("%s %s is as this version wants it", body["kind"], name)
        return True

    async def _create(self, kind: Any, wanted: Mapping[str, Any]) -> bool:
        count("create", kind._api_info.plural)
        try:
            await self._api.client.create(kind(wanted))
        except (ApiError, httpx2.HTTPStatusError) as error:
            if _status(error) == NOT_FOUND:
                return False  # the kind does not exist
            if _status(error) != CONFLICT:
                raise
        return True


def _status(error: ApiError | httpx2.HTTPStatusError) -> int:
    return int(error.response.status_code)


def marked(body: Mapping[str, Any]) -> dict[str, Any]:
    """With a hash of its spec, since the API server adds defaults to what it stores."""
    text = json.dumps(body["spec"], sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return {**body, "metadata": {**body["metadata"], "annotations": {HASH: digest}}}
