"""Reads the Secrets that NodePools take values from, when they are needed, and never keeps them.

Of a value it only remembers a seal (cluster/secret_refs.py), so that a change is noticed and rolled
out. It reads only Secrets that a NodePool names, by name, in the operator's namespace. The key of
the seals is in a Secret of its own: without it, all nodes would get everything again.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import math
import secrets
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from lightkube import ApiError

from k3os import names
from k3os.cluster.node import NodeView
from k3os.cluster.objects import inside, text, texts
from k3os.cluster.revision import LABEL
from k3os.cluster.secret_refs import NoSecret, SecretRef, seal_of, value_of
from k3os.cluster.spec import Pool
from k3os.cluster.target import Target
from k3os.cluster.views import REQUEST_LABEL
from k3os.operator.api import CONFLICT, NOT_FOUND, Api, ApiFailure, Secret, count
from k3os.operator.outage import words

log = logging.getLogger("k3os.operator")

SECONDS, RETRY = 15.0, 5.0  # between two looks at a Secret, and if something is missing
KEY, KEY_FILE, KEY_BYTES = "k3os-seals", "key", 32  # of the seals
TOKEN = "kubernetes.io/service-account-token"  # a type of Secret
Pools = list[tuple[Mapping[str, Any], Pool]]


class Changed(Exception):
    """A value is no longer the one that was decided on."""


class SecretReader:
    def __init__(self, api: Api) -> None:
        self._api = api
        self._key = b""
        self._next: dict[str, float] = {}
        self._seals: dict[tuple[str, str], str] = {}
        self._faults: dict[tuple[str, str], str] = {}
        self._unread: dict[str, str] = {}
        self._targets: dict[str, Target] = {}

    async def look(self, pools: Pools, others: Iterable[Target], now: float) -> Pools:
        """The same NodePools with the seals of their secrets, and what is missing. others: targets
        whose secrets are checked, too. now: monotonic."""
        targets = [*(pool.target for _, pool in pools), *others]
        refs = {ref for target in targets for ref in target.refs}
        await self._look_at_all(refs, now)
        self._forget({(ref.secret, ref.key) for ref in refs}, {pool.name for _, pool in pools})
        return [(body, self._of_pool(pool)) for body, pool in pools]

    async def sealed(self, target: Target) -> Target | None:
        """The target with the current seals of its secrets; None if one is missing."""
        await self._look_at_all(target.refs, time.monotonic())
        known = all((ref.secret, ref.key) in self._seals for ref in target.refs)
        return self._seal(target) if known else None

    async def _look_at_all(self, refs: Collection[SecretRef], now: float) -> None:
        """Read the Secrets that are due, and those with keys that were just added."""
        due: dict[str, list[SecretRef]] = {}
        for name in sorted({ref.secret for ref in refs}):
            own = [ref for ref in refs if ref.secret == name]
            is_new = not all(self._is_known(name, ref.key) for ref in own)
            if is_new or now >= self._next.get(name, 0.0):
                due[name] = own
        for name in [*due][:1]:  # so that the key is created only once
            await self._look_at(name, due.pop(name), now)
        # in parallel: without an answer, they all wait no longer than one
        await asyncio.gather(*(self._look_at(name, own, now) for name, own in due.items()))

    def wake(self, now: float) -> float:
        """Seconds until a Secret is due. now: monotonic."""
        return min((max(0.0, each - now) for each in self._next.values()), default=math.inf)

    def _is_known(self, name: str, key: str) -> bool:
        return (name, key) in self._seals or (name, key) in self._faults or name in self._unread

    def _forget(self, wanted: set[tuple[str, str]], pools: set[str]) -> None:
        named = {name for name, _ in wanted}
        self._next = {name: each for name, each in self._next.items() if name in named}
        self._unread = {name: each for name, each in self._unread.items() if name in named}
        self._seals = {ref: each for ref, each in self._seals.items() if ref in wanted}
        self._faults = {ref: each for ref, each in self._faults.items() if ref in wanted}
        self._targets = {name: each for name, each in self._targets.items() if name in pools}

    async def _look_at(self, name: str, refs: Iterable[SecretRef], now: float) -> None:
        try:
            key, found = await self._seal_key(), await self._get(name)
        except ApiFailure as error:  # what is known stays
            self._unread[name] = words(error)
            self._next[name] = now + RETRY
            log.warning("the Secret %s/%s is not read: %s", names.NAMESPACE, name, words(error))
            return
        self._unread.pop(name, None)
        there = [bool(self._note(ref, found, key)) for ref in refs]
        self._next[name] = now + (SECONDS if all(there) else RETRY)

    def _note(self, ref: SecretRef, found: Mapping[str, Any] | None, key: bytes) -> str:
        """Never raises: a missing value is a fault."""
        which = (ref.secret, ref.key)
        self._seals.pop(which, None)
        self._faults.pop(which, None)
        try:
            value = _value(ref, found)
        except NoSecret as error:
            self._faults[which] = str(error)
            return ""
        self._seals[which] = seal_of(key, value)
        return value

    def _of_pool(self, pool: Pool) -> Pool:
        if not pool.target.refs:
            return pool
        target, known = self._seal(pool.target), self._targets.get(pool.name)
        # the known one caches its result for each node
        target = self._targets[pool.name] = known if known == target else target
        missing, unread = [], []
        for ref in pool.target.refs:
            which = (ref.secret, ref.key)
            if which in self._faults:
                missing.append(self._faults[which])
            elif which not in self._seals:
                told = self._unread.get(ref.secret, "it is not read yet")
                unread.append(f"the Secret {names.NAMESPACE}/{ref.secret}: {told}")
        missing = list(dict.fromkeys([*missing, *unread]))
        # while it is unknown what nodes should have, those already started do not continue either
        return replace(
            pool,
            target=target,
            missing=tuple(missing),
            frozen=pool.frozen or bool(unread),
            held=missing[0] if missing else pool.held,
        )

    def _seal(self, target: Target) -> Target:
        if not target.refs:
            return target
        seals = {ref.name: self._seals.get((ref.secret, ref.key), "missing") for ref in target.refs}
        return replace(target, seals=seals)

    async def fill(self, target: Target, node: NodeView) -> tuple[Mapping[str, Any], str]:
        """What a node should have, with values in the places of marks, and what is wrong with it.
        Raises ApiFailure; Changed if a value does not match its seal."""
        own = target.of(node)
        if not own.refs:
            return own.config, own.fault
        return target.filled(node, await self._values(own))

    async def _values(self, target: Target) -> dict[str, str]:
        key = await self._seal_key()
        found: dict[str, str] = {}
        for name in sorted({ref.secret for ref in target.refs}):
            body = await self._get(name)
            for ref in target.refs:
                if ref.secret == name:
                    found[ref.name] = self._note(ref, body, key)
        if self._seal(target).seal != target.seal:
            raise Changed
        return found

    async def _get(self, name: str) -> dict[str, Any] | None:
        """None if it does not exist. Raises ApiFailure."""
        count("get", "secrets")
        try:
            return dict(await self._api.client.get(Secret, name, namespace=names.NAMESPACE))
        except ApiError as error:
            if error.status.code != NOT_FOUND:
                raise
            return None

    async def _seal_key(self) -> bytes:
        """Created by the first operator that needs it. Raises ApiFailure."""
        if not self._key:
            known = await self._get(KEY)
            if known is None:
                await self._make_key()
                known = await self._get(KEY)
            self._key = _decoded(known)
        return self._key

    async def _make_key(self) -> None:
        made = base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": KEY, "namespace": names.NAMESPACE},
            "immutable": True,
            "data": {KEY_FILE: made},
        }
        count("create", "secrets")
        try:
            await self._api.client.create(Secret(body), namespace=names.NAMESPACE)
        except ApiError as error:
            if error.status.code != CONFLICT:
                raise


def _decoded(secret: Mapping[str, Any] | None) -> bytes:
    """Raises OSError, which is retried like the API's own."""
    try:
        key = base64.b64decode(text(inside(secret, "data", KEY_FILE)), validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if len(key) < KEY_BYTES:
        hint = "delete it, and the operator makes another one"
        raise OSError(f"the Secret {names.NAMESPACE}/{KEY} holds no key: {hint}")
    return key


def _value(ref: SecretRef, secret: Mapping[str, Any] | None) -> str:
    """Raises NoSecret."""
    where = f"{names.NAMESPACE}/{ref.secret}"
    if secret is None:
        raise NoSecret(f"there is no Secret {where}, whose key {ref.key} is needed")
    labels = texts(inside(secret, "metadata", "labels"))
    is_token = secret.get("type") == TOKEN  # of an account in this namespace: the operator's
    if ref.secret == KEY or is_token or labels.keys() & {LABEL, REQUEST_LABEL}:
        raise NoSecret(f"the Secret {where} is the operator's own: use another one for {ref.key}")
    return value_of(ref, secret)
