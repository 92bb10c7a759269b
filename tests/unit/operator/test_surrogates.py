"""Lone surrogates ("\\ud800" in JSON), which cannot be encoded, in answers of the API."""

import json
from typing import Any

import pytest

from k3os.cluster.progress import progress
from tests.unit.cluster import objects
from tests.unit.operator import test_hostile
from tests.unit.operator.test_hostile import NODE, StubApi, changed, paths, round_of

HALF = "a\ud800b"
# with additional fields
POOL = changed(
    test_hostile.POOL,
    [
        (("spec", "overrides"), [{"nodeSelector": {"matchLabels": {"a": "b"}}, "config": {}}]),
        (("spec", "secrets"), [{"name": "a", "valueFrom": {"secretKeyRef": {"name": "s"}}}]),
        (("spec", "k3os"), {"version": "v1", "url": "https://a.example", "channel": "c"}),
    ],
)
SICK = objects.node("bad", healthy="False", role="bad")


class Encoding(StubApi):
    """Encodes bodies like httpx."""

    async def patch_node(self, patch: Any, version: str) -> dict[str, Any]:
        json.dumps([patch.node, patch.state and patch.state.as_json()], ensure_ascii=False).encode()
        return await super().patch_node(patch, version)

    async def patch_status(self, pool: str, status: Any, version: str = "") -> dict[str, Any]:
        json.dumps(status, ensure_ascii=False).encode()
        return await super().patch_status(pool, status, version)

    async def create_job(self, *bodies: Any) -> None:
        json.dumps(bodies[:2], ensure_ascii=False).encode()


@pytest.fixture(autouse=True)
def _encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_hostile, "StubApi", Encoding)


def ids(found: list[tuple[Any, ...]]) -> list[str]:
    return [".".join(map(str, each)) for each in found]


# without a spec the selector would select all nodes
POOLS = [each for each in paths(POOL) if each != ("spec",)]
NODES = list(paths(NODE))


@pytest.mark.parametrize("path", POOLS, ids=ids(POOLS))
def test_one_in_a_nodepool_keeps_nobody_from_going_on(path: tuple[Any, ...]) -> None:
    pool = changed(POOL, [(path, HALF)])
    api = round_of([NODE], [pool])
    assert "good" in api.nodes
    assert {"good", "bad"} <= api.statuses.keys()
    told = progress("bad", [pool], [NODE])
    assert told is not None


@pytest.mark.parametrize("path", NODES, ids=ids(NODES))
def test_one_in_a_node_keeps_nobody_from_going_on(path: tuple[Any, ...]) -> None:
    for node in (NODE, SICK):
        api = round_of([changed(node, [(path, HALF)])], [test_hostile.POOL])
        assert "good" in api.nodes
        assert {"good", "bad"} <= api.statuses.keys()


@pytest.mark.parametrize("path", [each for each in POOLS if each[0] == "spec"], ids=str)
def test_nor_does_a_name_of_a_field(path: tuple[Any, ...]) -> None:
    pool = changed(POOL, [(path, {HALF: HALF})])
    assert {"good", "bad"} <= round_of([NODE], [pool]).statuses.keys()
