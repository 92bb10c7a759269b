"""The operator as a program: the lease, kopf's watches, the engine, and a small web server.

A replica that does not hold the lease waits and serves its probes. One that loses it re-executes
itself as a fresh process, so no stale state remains.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import kopf
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from k3os import names
from k3os.cluster.pulled_image import Pulled
from k3os.cluster.views import REQUEST_LABEL
from k3os.operator import access, leader, metrics, relisting
from k3os.operator.api import Api
from k3os.operator.decisions import Said
from k3os.operator.engine import Engine, Seen, Sight, seen
from k3os.operator.outage import TROUBLE, Pauses, Quiet, pause, words
from k3os.operator.own_image import own_image
from k3os.system.signals import end_when_asked

log = logging.getLogger("k3os.operator")

AGAIN = "K3OS_OPERATOR_AGAIN"  # how many times in a row it failed
FINE_SECONDS = 60.0  # after running this long, the next failure counts as the first
STUCK_SECONDS = 120.0  # without a turn of the loop: the liveness probe fails
# not exit codes, but reasons to restart: the lease was lost, or something failed
LEASE_LOST, BROKEN = 3, 4


@dataclass(frozen=True)
class Options:
    """address: of the web server, "" for all addresses."""

    address: str = ""
    port: int = 8080
    lease_seconds: float = leader.DURATION
    json_logs: bool = True


class Operator:
    """One process: its parts and its state."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.access = access.find()
        self.api = Api(self.access.client())
        identity = f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}"
        self.leadership = leader.Leadership(self.api, identity, options.lease_seconds)
        self.engine: Engine | None = None
        self.image: Pulled | None = None
        self._running: asyncio.Task[None] | None = None
        self.stop = asyncio.Event()
        self.code = 0  # exit code: 0 after a signal

    def begin(self, sight: Sight) -> None:
        """The indices are complete: there is something to decide on."""
        if self.engine is None:
            home = os.environ.get("NODE_NAME", "")
            self.engine = Engine(self.api, sight, say, home, self.image)
            self._running = asyncio.create_task(self.engine.run(), name="engine")
            self._running.add_done_callback(self._ended)
        self.engine.changed()

    def _ended(self, task: asyncio.Task[None]) -> None:
        """The loop never ends by itself: an error in it is our bug, so stop and restart."""
        if not task.cancelled() and (error := task.exception()) is not None:
            log.critical("the loop ended", exc_info=error)
            self._start_again(BROKEN)

    def _lost(self, holding: asyncio.Task[None]) -> None:
        if not holding.cancelled():
            self._start_again(LEASE_LOST)

    def _start_again(self, code: int) -> None:
        self.code = self.code or code
        self.stop.set()

    async def end(self) -> None:
        """Make no more decisions."""
        if self._running is not None and self.engine is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
            await self.engine.close()

    def is_alive(self) -> bool:
        return self.engine is None or time.monotonic() - self.engine.beat < STUCK_SECONDS

    async def serve(self) -> int:
        """Lead when it is our turn, until a signal (0) or something that a restart fixes."""
        site = await self._web() if self.options.port else None
        try:
            await self.leadership.acquire()
            metrics.LEADER.set(1)
            holding = asyncio.create_task(self.leadership.hold(), name="lease")
            holding.add_done_callback(self._lost)
            try:
                self.image = await own_image(self.api, os.environ.get("POD_NAME", ""))
                await kopf.operator(
                    registry=handlers(self),
                    settings=settings(),
                    standalone=True,
                    namespaces=[names.NAMESPACE],
                    stop_flag=self.stop,
                )
            except TROUBLE as error:
                log.warning("the watches ended: %s", words(error))
                self.code = BROKEN
            except Exception:  # in kopf's own tasks: a restart fixes it
                log.exception("the watches ended")
                self.code = BROKEN
            holding.cancel()
            await asyncio.gather(holding, return_exceptions=True)
            if not self.code:
                await self.leadership.release()
            return self.code
        finally:
            metrics.LEADER.set(0)
            await self.api.close()
            if site is not None:
                await site.cleanup()

    async def _web(self) -> web.AppRunner:
        application = web.Application()
        application.add_routes(
            [
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._healthz),
                web.get("/metrics", _metrics),
            ]
        )
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, self.options.address or None, self.options.port).start()
        return runner

    async def _healthz(self, _: web.Request) -> web.Response:
        alive = self.is_alive()
        text = "ok\n" if alive else f"the loop has not turned for {STUCK_SECONDS:.0f} s\n"
        return web.Response(text=text, status=200 if alive else 503)


async def _metrics(_: web.Request) -> web.Response:
    return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})


def settings() -> kopf.OperatorSettings:
    found = kopf.OperatorSettings()
    found.posting.level = logging.INFO
    # wait for an API server that restarts, perhaps because of us
    found.networking.error_backoffs = Pauses()
    found.networking.connect_timeout = 5
    found.networking.request_timeout = 30
    found.watching.connect_timeout = 5
    found.process.ultimate_exiting_timeout = 20
    return found


def handlers(operator: Operator) -> kopf.OperatorRegistry:
    """What kopf watches and reports to the engine."""
    registry = kopf.OperatorRegistry()
    ours = {REQUEST_LABEL: kopf.PRESENT}

    @kopf.on.login(registry=registry)
    async def login(**more: Any) -> kopf.ConnectionInfo | kopf.AiohttpSession | None:
        return await operator.access.login(**more)

    @kopf.on.cleanup(registry=registry)
    async def end(**_: Any) -> None:
        await operator.end()

    @kopf.index("", "v1", "nodes", id="k3os_nodes", registry=registry)
    def index_node(body: kopf.Body, name: str, **_: Any) -> dict[str, Seen]:
        return {name: seen(body, operator.image)}

    @kopf.index(names.GROUP, names.VERSION, names.PLURAL, id="k3os_pools", registry=registry)
    def index_pool(body: kopf.Body, name: str, **_: Any) -> dict[str, dict[str, Any]]:
        return {name: dict(body)}

    @kopf.index("batch", "v1", "jobs", id="k3os_jobs", labels=ours, registry=registry)
    def index_job(body: kopf.Body, name: str, **_: Any) -> dict[str, dict[str, Any]]:
        return {
            name: {"metadata": dict(body["metadata"]), "status": dict(body.get("status") or {})}
        }

    @kopf.index("", "v1", "pods", id="k3os_answers", labels=ours, registry=registry)
    def index_answer(body: kopf.Body, meta: kopf.Meta, **_: Any) -> dict[str, dict[str, Any]]:
        return {meta["labels"][REQUEST_LABEL]: {"status": dict(body.get("status") or {})}}

    def tell(
        k3os_nodes: Mapping[str, Any],
        k3os_pools: Mapping[str, Any],
        k3os_jobs: Mapping[str, Any],
        k3os_answers: Mapping[str, Any],
        **_: Any,
    ) -> None:
        operator.begin(Sight(k3os_pools, k3os_nodes, k3os_jobs, k3os_answers))

    async def told(**more: Any) -> None:
        tell(**more)

    for group, version, plural in (
        ("", "v1", "nodes"),
        (names.GROUP, names.VERSION, names.PLURAL),
        ("batch", "v1", "jobs"),
        ("", "v1", "pods"),
    ):
        kopf.on.event(group, version, plural, id=f"told-{plural}", registry=registry)(told)
    return registry


def say(kind: str, name: str, uid: str, said: Said) -> None:
    """Post an Event; kopf does it in the background, with retries. The uid of a Node in an Event
    is its name, as in the kubelet's own."""
    version = "v1" if kind == "Node" else f"{names.GROUP}/{names.VERSION}"
    body: Any = {"apiVersion": version, "kind": kind, "metadata": {"name": name, "uid": uid}}
    level = logging.WARNING if said.warning else logging.INFO
    log.log(level, "%s %s: %s: %s", kind, name, said.reason, said.message)
    kopf.event(
        body,
        type="Warning" if said.warning else "Normal",
        reason=said.reason,
        message=said.message,
    )


def run(options: Options) -> int:
    """The whole program; returns its exit code. Re-executes itself when the lease is lost."""
    kopf.configure(
        log_format=kopf.LogFormat.JSON if options.json_logs else kopf.LogFormat.FULL,
        log_prefix=False,
    )
    relisting.install()
    for handler in logging.getLogger().handlers:
        handler.addFilter(Quiet())
    # do not log every request and every object
    for noisy in ("httpx2", "httpcore2", "kopf.objects", "kopf._core.engines.activities"):
        logging.getLogger(noisy).setLevel(logging.WARNING)

    async def main() -> int:
        return await Operator(options).serve()

    began = time.monotonic()
    code = asyncio.run(main())
    end_when_asked()  # asyncio has removed its own handlers
    if code in (LEASE_LOST, BROKEN):
        fine = code == LEASE_LOST or time.monotonic() - began > FINE_SECONDS
        broken = 0 if fine else int(os.environ.get(AGAIN, "0")) + 1
        os.environ[AGAIN] = str(broken)
        time.sleep(pause(broken))
        sys.stdout.flush()
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    return code
