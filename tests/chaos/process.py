"""The operator as a process: its lease, its watches, its engine, and its end at any moment.

What operator/app.py does with kopf is done here with kopf's own watch loop and indices, over lists
and watches of `Server`; all else is the operator's own code.
"""

import asyncio
import contextvars
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from kopf._cogs.clients import fetching, watching
from kopf._cogs.structs.references import Resource
from kopf._core.engines.indexing import OperatorIndexer
from lightkube import AsyncClient, KubeConfig
from lightkube.config.models import Cluster, User

from k3os import names
from k3os.cluster.views import REQUEST_LABEL
from k3os.operator import app, outage, relisting
from k3os.operator.access import TIMEOUT
from k3os.operator.api import Api
from k3os.operator.decisions import Said
from k3os.operator.engine import Engine, Sight, seen
from k3os.operator.leader import Leadership
from tests.chaos.clock import WHO, Someone
from tests.chaos.server import Cut, Server, Wire
from tests.chaos.store import Body

_INFINITE: Any = watching.infinite_watch
INACTIVE = 70.0  # seconds: kopf's settings.watching.inactivity_timeout
SERVER_ENDS = 1800.0  # seconds: the API server ends a watch


def _labelled(body: Body) -> bool:
    return REQUEST_LABEL in (body["metadata"].get("labels") or {})


# as app.handlers has them: the resource, where, which objects, what is kept of each
FOLLOWED: tuple[tuple[Resource, str, Callable[[Body], bool], Callable[[Body], Any]], ...] = (
    (
        *(Resource("", "v1", "nodes"), "", lambda _: True),
        lambda body: {body["metadata"]["name"]: seen(body)},
    ),
    (
        *(Resource(names.GROUP, names.VERSION, names.PLURAL), "", lambda _: True),
        lambda body: {body["metadata"]["name"]: body},
    ),
    (
        *(Resource("batch", "v1", "jobs"), names.NAMESPACE, _labelled),
        lambda body: {body["metadata"]["name"]: body},
    ),
    (
        *(Resource("", "v1", "pods"), names.NAMESPACE, _labelled),
        lambda body: {body["metadata"]["labels"][REQUEST_LABEL]: body},
    ),
)


class Process(Someone):
    """home: the node it runs on. over: called when it wants to begin anew. broke: with what went
    wrong in its own code."""

    def __init__(
        self,
        server: Server,
        name: str,
        home: str,
        over: Callable[["Process"], None],
        broke: Callable[["Process", BaseException], None],
    ) -> None:
        super().__init__()
        self.server, self.name, self.home = server, name, home
        self.over, self.broke = over, broke
        self.events: list[Said] = []
        self.engine: Engine | None = None
        self.leads = False
        self.froze_at = self.thawed_at = -1e9
        self._frozen: asyncio.Event | None = None
        self._settings = app.settings()
        self._indexers = [OperatorIndexer() for _ in FOLLOWED]

    def start(self) -> None:
        context = contextvars.copy_context()
        context.run(WHO.set, self)
        context.run(lambda: asyncio.get_running_loop().create_task(self._main()))

    def kill(self) -> None:
        """As SIGKILL: nothing of it does anything any more."""
        if self._frozen:
            self._frozen.set()
        for task in list(self.tasks):
            task.cancel()

    # a process that is stopped for a while: what it was about to do is done afterwards

    def freeze(self) -> None:
        self._frozen = asyncio.Event()
        self.froze_at = asyncio.get_running_loop().time()

    def thaw(self) -> None:
        if self._frozen:
            self._frozen.set()
        self._frozen = None
        self.thawed_at = asyncio.get_running_loop().time()

    async def thawed(self) -> None:
        while self._frozen is not None:
            await self._frozen.wait()

    # what it does

    async def _main(self) -> None:
        config = KubeConfig.from_one(
            cluster=Cluster(server="http://api", insecure=True), user=User(token="t")
        )
        wire = Wire(self.server, self)
        client = AsyncClient(config=config, timeout=TIMEOUT, transport=wire, trust_env=False)
        api = Api(client)
        leadership = Leadership(api, self.name)
        await leadership.acquire()
        self.leads = True
        holding = asyncio.create_task(leadership.hold(), name="lease")
        listed = [asyncio.Event() for _ in FOLLOWED]
        following = [
            asyncio.create_task(self._follow(number, listed[number]))
            for number in range(len(FOLLOWED))
        ]
        indexed = asyncio.ensure_future(asyncio.gather(*(each.wait() for each in listed)))
        await asyncio.wait([holding, indexed, *following], return_when=asyncio.FIRST_COMPLETED)
        tasks = [holding, *following]
        if indexed.done():
            pools, nodes, jobs, answers = (self._indexers[each].index for each in (1, 0, 2, 3))
            self.engine = Engine(api, Sight(pools, nodes, jobs, answers), self._say, self.home)
            running = asyncio.create_task(self.engine.run(), name="engine")
            tasks.append(running)
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done() and not task.cancelled() and (error := task.exception()):
                self.broke(self, error)
        self.leads = False
        self.over(self)

    def _say(self, _kind: str, _name: str, _uid: str, said: Said) -> None:
        self.events.append(said)

    async def _follow(self, number: int, listed: asyncio.Event) -> None:
        resource, namespace, wanted, kept = FOLLOWED[number]
        indexer = self._indexers[number]
        async for event in watching.infinite_watch(
            settings=self._settings, resource=resource, namespace=namespace or None
        ):
            if isinstance(event, watching.Bookmark):
                listed.set()
                continue
            body: Any = event["object"]
            if event["type"] == "BOOKMARK":
                continue
            meta = body["metadata"]
            key = (meta.get("namespace"), meta.get("name"), meta.get("uid"))
            if event["type"] == "DELETED" or not wanted(body):
                indexer.discard(key)
            else:
                indexer.replace(key, kept(body))
            if self.engine is not None:
                self.engine.changed()


async def _fetch(
    *, resource: Resource, namespace: str | None, **_: Any
) -> AsyncIterator[tuple[list[Body], str]]:
    """In the place of kopf's requests."""
    process = WHO.get()
    assert isinstance(process, Process)
    items, version = await process.server.list_all(resource.plural, namespace or "")
    yield items, str(version)


async def _watch(
    *, resource: Resource, namespace: str | None, since: str | None, **_: Any
) -> AsyncIterator[dict[str, Any]]:
    process = WHO.get()
    assert isinstance(process, Process)
    server = process.server
    if server.down:  # kopf itself tries again and again
        await server.up.wait()
        await asyncio.sleep(outage.FIRST_PAUSE)
        return
    events = server.watch(
        *(process, resource.plural, int(since or 0), SERVER_ENDS),
        bookmarks=True,
        namespace=namespace or "",
    )
    try:
        while True:
            yield dict(await asyncio.wait_for(anext(events), INACTIVE))
    except (Cut, TimeoutError, StopAsyncIteration):
        return
    finally:
        await events.aclose()  # type: ignore[attr-defined]


@contextmanager
def simulated_requests(chance: random.Random) -> Iterator[None]:
    """kopf's requests go to the process' Server; what is random comes from the seed."""

    def token(count: int) -> bytes:
        return chance.randbytes(count)

    with (
        mock.patch.object(fetching, "fetch_objs", _fetch),
        mock.patch.object(watching, "watch_objs", _watch),
        mock.patch.object(watching, "infinite_watch", relisting.whole(_INFINITE)),  # as app.run
        mock.patch("k3os.operator.secret_reader.secrets.token_bytes", token),
    ):
        yield
