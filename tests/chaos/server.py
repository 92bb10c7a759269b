"""The API server as the operator reaches it: requests and watches, and what may happen to them.

lightkube's requests come through `Wire`, a transport of httpx2; kopf's lists and watches through
`Server.list_all` and `Server.watch` (tests/chaos/process.py).
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

import httpx2

from tests.chaos import faults
from tests.chaos.faults import Faults
from tests.chaos.store import KINDS, Body, Key, Refused, Store
from tests.operator import disruption
from tests.operator.semantics import fits

if TYPE_CHECKING:
    from tests.chaos.process import Process

TIMEOUT = 10.0  # of a request, as in operator/access.py
BOOKMARKS = 60.0
VERBS = {"GET": "get", "POST": "create", "PATCH": "patch", "PUT": "update", "DELETE": "delete"}
JSON = {"Content-Type": "application/json"}


class Cut(Exception):
    """A connection that ended."""


class Server:
    """down: it does not answer. wrote: called after each write of an operator: who, verb, plural,
    key, what was there, what is there. evict: what an accepted eviction does."""

    def __init__(self, store: Store, wrong: Faults) -> None:
        self.store, self.faults = store, wrong
        self.down = False
        self.up = asyncio.Event()
        self.up.set()
        self.starts = 0
        self.wrote: Callable[..., None] = lambda *_: None
        self.asked: Callable[..., None] = lambda *_: None
        self.kill: Callable[[Process], None] = lambda _: None
        self.evict: Callable[[Key], None] = lambda _: None
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}
        store.told.append(self._tell)

    def _tell(self, _kind: str, key: Key, _old: Body | None, _new: Body | None) -> None:
        self._wake(key[0])

    def _wake(self, plural: str) -> None:
        for each in self._waiting.pop(plural, ()):
            if not each.done():
                each.set_result(None)

    def stop(self) -> None:
        self.down = True
        self.up.clear()
        self.starts += 1
        for plural in list(self._waiting):
            self._wake(plural)

    def start(self, *, forgets: bool) -> None:
        self.down = False
        self.up.set()
        if forgets:
            self.store.forget()

    # requests

    async def request(self, process: "Process", request: httpx2.Request) -> httpx2.Response:
        where = _Place(request)
        verb = where.verb
        self.asked(process, verb, where)
        await process.thawed()
        await asyncio.sleep(self.faults.latency())
        wrong = self.faults.of_request(verb)
        if wrong == faults.DIES_BEFORE:
            await self._die(process)
        if self.down:
            raise httpx2.ConnectError("refused", request=request)
        if wrong == faults.LOST_BEFORE:
            await self._silent(request)
        if wrong in (faults.THROTTLED, faults.BROKEN_BEFORE, faults.NOT_READY):
            return _refusal(wrong, request)
        if wrong == faults.SLOW:
            await asyncio.sleep(self.faults.random.uniform(0.2, TIMEOUT - 1))
            if self.down:
                raise httpx2.ReadError("hung up", request=request)
        if wrong == faults.LATE:
            later = self.faults.random.uniform(1, 50)
            asyncio.get_running_loop().call_later(later, self._late, process, where, request)
            await self._silent(request)
        if where.watch:
            return self._stream(process, where, request)
        try:
            code, body = self._carry_out(process, where, request)
        except Refused as error:
            code, body = error.code, error.status
        if wrong == faults.DIES_AFTER:
            await self._die(process)
        if wrong == faults.LOST_AFTER:
            await self._silent(request)
        if wrong == faults.RESET_AFTER:
            raise httpx2.ReadError("hung up", request=request)
        if wrong == faults.BROKEN_AFTER:
            return _refusal(wrong, request)
        await process.thawed()
        return httpx2.Response(code, headers=JSON, content=json.dumps(body), request=request)

    async def _die(self, process: "Process") -> None:
        self.kill(process)
        await asyncio.get_running_loop().create_future()

    async def _silent(self, request: httpx2.Request) -> None:
        await asyncio.sleep(TIMEOUT)
        raise httpx2.ReadTimeout("no answer", request=request)

    def _late(self, process: "Process", where: "_Place", request: httpx2.Request) -> None:
        try:
            self._carry_out(process, where, request)
        except Refused:
            return  # nobody hears of it

    def _carry_out(
        self, process: "Process", where: "_Place", request: httpx2.Request
    ) -> tuple[int, Body]:
        """Raises Refused."""
        store, key = self.store, where.key
        if where.plural not in KINDS:
            raise Refused(404, "NotFound", "404 page not found")
        if where.verb == "get":
            return 200, store.get(key)
        if where.verb == "list":
            items = store.select(where.plural, where.namespace, where.labels, where.fields)
            meta = {"resourceVersion": str(store.version)}
            return 200, {"kind": "List", "apiVersion": "v1", "metadata": meta, "items": items}
        given = json.loads(request.content) if request.content else {}
        old = store.kept.get(key)
        if where.subresource == "eviction":
            new, answer = self._evict(key), {"kind": "Status", "apiVersion": "v1"}
        elif where.verb == "create":
            key = (where.plural, where.namespace, given["metadata"]["name"])
            old = store.kept.get(key)
            new = answer = store.create(where.plural, _with_data(given), where.namespace)
        elif where.subresource == "scale":
            new = answer = store.patch(key, {"spec": given["spec"]})
        elif where.verb == "patch":
            new = answer = store.patch(key, given, where.subresource)
        elif where.verb == "update":
            new = answer = store.replace(key, given)
        else:
            new = None
            answer = store.delete(key)
        self.wrote(process, where.verb, where.subresource, key, old, new)
        return 201 if where.verb == "create" else 200, answer

    def _evict(self, key: Key) -> Body:
        pod = self.store.get(key)
        for budget in self.store.select("poddisruptionbudgets", key[1]):
            pods = self.store.select("pods", key[1])
            if disruption.forbids({**budget, "status": disruption.status(budget, pods)}, pod):
                name = budget["metadata"]["name"]
                text = f"Cannot evict pod as it would violate the pod's disruption budget {name}."
                raise Refused(429, "TooManyRequests", text)
        self.evict(key)
        return self.store.kept.get(key) or pod

    # lists and watches

    async def list_all(self, plural: str, namespace: str) -> tuple[list[Body], int]:
        """As kopf asks, which tries again until there is an answer."""
        await asyncio.sleep(self.faults.latency())
        while self.down or self.faults.of_request("list"):
            await self.up.wait()
            await asyncio.sleep(1.0)
        return self.store.select(plural, namespace), self.store.version

    async def watch(
        self,
        process: "Process",
        plural: str,
        since: int,
        seconds: float,
        *,
        bookmarks: bool = False,
        **chosen: str,
    ) -> AsyncIterator[Body]:
        """Raises Cut."""
        loop = asyncio.get_running_loop()
        starts, end = self.starts, loop.time() + seconds
        manner, number = self.faults.of_watch()
        silent = loop.time() + number if manner == faults.DEAD_WATCH else end
        end = min(end, loop.time() + number) if manner == faults.CUT_WATCH else end
        marked = loop.time() + BOOKMARKS
        while loop.time() < end:
            if self.down or starts != self.starts:
                raise Cut
            try:
                news = list(self.store.since(since, plural))
            except Refused as error:
                yield {"type": "ERROR", "object": error.status}
                return
            since = self.store.version
            if news and loop.time() < silent:
                late = number if manner == faults.SLOW_WATCH and self.faults.on else 0.0
                await asyncio.sleep(late + self.faults.latency())
                await process.thawed()
                for kind, body in news:
                    if fits(body, **chosen):
                        yield {"type": kind, "object": body}
                continue
            if bookmarks and loop.time() >= marked and loop.time() < silent:
                marked = loop.time() + BOOKMARKS
                meta = {"resourceVersion": str(since)}
                yield {"type": "BOOKMARK", "object": {"metadata": meta}}
            await self._news(plural, min(end, marked if bookmarks else end) - loop.time())
        if manner == faults.CUT_WATCH and self.faults.random.random() < 0.5:
            raise Cut

    async def _news(self, plural: str, seconds: float) -> None:
        news = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(plural, set()).add(news)
        await asyncio.wait([news], timeout=max(0.01, seconds))

    def _stream(
        self, process: "Process", where: "_Place", request: httpx2.Request
    ) -> httpx2.Response:
        events = self.watch(
            *(process, where.plural, where.since, where.seconds),
            namespace=where.namespace,
            labels=where.labels,
            fields=where.fields,
        )
        return httpx2.Response(200, headers=JSON, stream=_Lines(events, request), request=request)


class _Lines(httpx2.AsyncByteStream):
    def __init__(self, events: AsyncIterator[Body], request: httpx2.Request) -> None:
        self._events, self._request = events, request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for event in self._events:
                yield json.dumps(event).encode() + b"\n"
        except Cut as error:
            raise httpx2.ReadError("hung up", request=self._request) from error


class Wire(httpx2.AsyncBaseTransport):
    def __init__(self, server: Server, process: "Process") -> None:
        self._server, self._process = server, process

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        return await self._server.request(self._process, request)


class _Place:
    """What a request is about."""

    def __init__(self, request: httpx2.Request) -> None:
        parts = request.url.path.strip("/").split("/")
        rest = parts[2:] if parts[0] == "api" else parts[3:]
        self.namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2:
            self.namespace, rest = rest[1], rest[2:]
        self.plural = rest[0]
        self.name = rest[1] if len(rest) > 1 else ""
        self.subresource = rest[2] if len(rest) > 2 else ""
        self.key = (self.plural, self.namespace, self.name)
        given = request.url.params
        self.watch = given.get("watch") == "true"
        self.labels = given.get("labelSelector") or ""
        self.fields = given.get("fieldSelector") or ""
        self.since = int(given.get("resourceVersion") or 0)
        self.seconds = float(given.get("timeoutSeconds") or 1800)
        self.verb = VERBS[request.method]
        if self.verb == "get" and not self.name:
            self.verb = "watch" if self.watch else "list"


def _with_data(body: Body) -> Body:
    """A Secret's stringData becomes its data."""
    texts = body.pop("stringData", None)
    if texts is None:
        return body
    data = {name: base64.b64encode(each.encode()).decode() for name, each in texts.items()}
    return {**body, "data": {**(body.get("data") or {}), **data}}


def _refusal(wrong: str, request: httpx2.Request) -> httpx2.Response:
    if wrong == faults.NOT_READY:
        text = {"Content-Type": "text/plain"}
        return httpx2.Response(503, headers=text, content="apiserver not ready", request=request)
    if wrong == faults.THROTTLED:
        error = Refused(429, "TooManyRequests", "too many requests, please try again later")
    else:
        error = Refused(500, "InternalError", "etcdserver: request timed out")
    return httpx2.Response(
        error.code, headers=JSON, content=json.dumps(error.status), request=request
    )
