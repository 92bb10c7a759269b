"""What the engine assumes while the watch lags behind: deleted nodes, NodePools that somebody else
changed."""

import asyncio
import json
from typing import Any

import pytest
from lightkube import ApiError
from prometheus_client import REGISTRY

from k3os import names
from k3os.operator import engine as engine_module
from k3os.operator.engine import Engine, Sight, seen
from k3os.operator.status import MOST_LISTED
from tests.unit.cluster import objects
from tests.unit.operator.test_hostile import NothingWatched, StubApi
from tests.unit.operator.test_leader import refusal

ALL = {"matchLabels": {"role": "worker"}}


class Api(StubApi):
    """An API with its own nodes and NodePools, and optimistic locking like the real one."""

    def __init__(self, nodes: list[Any], pools: list[Any]) -> None:
        super().__init__()
        self.there = {each["metadata"]["name"]: each for each in nodes}
        self.pools = {each["metadata"]["name"]: each for each in pools}
        self.asked: list[str] = []
        self.client.kept.clear()

    async def patch_node(self, patch: Any, version: str) -> dict[str, Any]:
        self.asked.append(f"patch {patch.node}")
        body = await self._known(self.there, patch.node, version)
        state = patch.state.as_json() if patch.state else ""
        notes = {**body["metadata"]["annotations"], names.ROLLOUT: state}
        return self._kept(self.there, patch.node, body, {"annotations": notes})

    async def get_node(self, name: str) -> dict[str, Any]:
        self.asked.append(f"get {name}")
        return await self._known(self.there, name)

    async def patch_status(self, pool: str, status: Any, version: str = "") -> dict[str, Any]:
        self.asked.append(f"patch {pool}")
        body = await self._known(self.pools, pool, version)
        return self._kept(self.pools, pool, {**body, "status": status}, {})

    async def get_pool(self, name: str) -> dict[str, Any]:
        return await self._known(self.pools, name)

    async def _known(self, where: dict[str, Any], name: str, version: str = "") -> dict[str, Any]:
        if name not in where:
            raise refusal(404)
        if version and where[name]["metadata"]["resourceVersion"] != version:
            raise refusal(409)
        return dict(where[name])

    def _kept(self, where: dict[str, Any], name: str, body: Any, meta: Any) -> dict[str, Any]:
        newer = str(int(body["metadata"]["resourceVersion"]) + 100)
        where[name] = {**body, "metadata": {**body["metadata"], **meta, "resourceVersion": newer}}
        return dict(where[name])


def versioned(body: Any, version: str = "5") -> Any:
    meta = {**body["metadata"], "resourceVersion": version, "uid": body["metadata"]["name"]}
    return {**body, "metadata": meta}


@pytest.fixture
def _nothing_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pods_of", "all_budgets", "all_attachments"):
        monkeypatch.setattr(f"k3os.operator.watched.{name}", NothingWatched)


def rounds(api: Api, sight: Sight, count: int) -> Engine:
    async def go() -> Engine:
        found = Engine(api, sight, lambda *_: None)  # type: ignore[arg-type]
        for _ in range(count):
            try:
                await found.reconcile()
            except ApiError as error:
                assert error.status.code != 500, error
        await found.close()
        return found

    return asyncio.run(go())


def sight_of(nodes: list[Any], pools: list[Any]) -> Sight:
    return Sight(
        {each["metadata"]["name"]: [each] for each in pools},
        {each["metadata"]["name"]: [seen(each)] for each in nodes},
        {},
        {},
    )


@pytest.mark.usefixtures("_nothing_watched")
def test_a_node_that_is_gone_is_asked_for_once_until_the_watch_says_so() -> None:
    """Otherwise each answer would start the next round at once."""
    nodes = [versioned(objects.node("a"))]
    pools = [versioned(objects.pool("workers", selector=ALL))]
    api = Api([], pools)
    rounds(api, sight_of(nodes, pools), 5)
    assert [each for each in api.asked if each.endswith(" a")] == ["patch a", "get a"]


@pytest.mark.usefixtures("_nothing_watched")
def test_a_node_that_comes_back_under_its_name_is_one_again() -> None:
    nodes = [versioned(objects.node("a"))]
    pools = [versioned(objects.pool("workers", selector=ALL))]
    api = Api([], pools)
    sight = sight_of(nodes, pools)

    async def go() -> None:
        found = Engine(api, sight, lambda *_: None)  # type: ignore[arg-type]
        await found.reconcile()
        back = api.there["a"] = versioned(objects.node("a"), "9")
        sight.nodes["a"][0] = seen(back)  # type: ignore[index]
        await found.reconcile()
        await found.close()

    asyncio.run(go())
    state = json.loads(api.there["a"]["metadata"]["annotations"][names.ROLLOUT])
    assert state["step"] == "Checking"


@pytest.mark.usefixtures("_nothing_watched")
def test_no_status_is_written_over_one_that_it_was_not_decided_on() -> None:
    """A former leader first has to see what the other operator wrote."""
    nodes = [versioned(objects.node("a", k3os="v1.1.0"))]
    pool = versioned(objects.pool("workers", selector=ALL))
    newer = {**versioned(pool, "7"), "status": {"canary": {"phase": "Failed"}, "phase": "Failed"}}
    api = Api(nodes, [newer])
    found = rounds(api, sight_of(nodes, [pool]), 1)
    assert api.pools["workers"] == newer
    ((body, _),) = found.pools.all()
    assert body == newer
    rounds(api, sight_of(nodes, [newer]), 1)
    assert api.pools["workers"]["status"]["phase"] == "Updated"


@pytest.mark.usefixtures("_nothing_watched")
def test_its_own_last_write_counts_until_the_watch_shows_a_newer_one() -> None:
    nodes = [versioned(objects.node("a", k3os="v1.1.0"))]
    pool = versioned(objects.pool("workers", selector=ALL))
    api = Api(nodes, [pool])
    rounds(api, sight_of(nodes, [pool]), 4)
    assert api.asked == ["patch workers"]
    assert engine_module.version_of(api.pools["workers"]) == 105


@pytest.mark.usefixtures("_nothing_watched")
def test_the_metrics_count_the_nodes_that_a_status_has_no_room_to_list() -> None:
    count = MOST_LISTED + 10
    failed = {"step": "Failed", "reason": "JobFailed"}
    nodes = [versioned(objects.node(f"n{number}", state=failed)) for number in range(count)]
    pools = [versioned(objects.pool("workers", selector=ALL))]
    rounds(Api(nodes, pools), sight_of(nodes, pools), 1)
    seen_as = REGISTRY.get_sample_value("k3os_nodepool_nodes_failed", {"pool": "workers"})
    assert seen_as == count
