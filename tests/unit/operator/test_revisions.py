"""The history of a NodePool: one revision per target, limited, without passwords."""

import asyncio
import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lightkube import ApiError

from k3os.cluster import revision as history
from k3os.cluster.request import Wanted
from k3os.cluster.revision import Revision, before, changed_by, parse_all, parse_revision
from k3os.cluster.spec import Pool, Strategy
from k3os.cluster.target import Target, parse_target
from k3os.operator.revisions import ControllerRevision, Revisions, plan, revision

SECRET = "topsecret-passphrase"
CONFIG = {"k3os": {"wifi": [{"name": "home", "passphrase": SECRET}]}}
BODY = {
    "metadata": {
        "annotations": {"kubernetes.io/change-cause": "CVE-2031-1"},
        "managedFields": [
            {"manager": "argocd", "time": "2031-01-01T00:00:00Z", "fieldsV1": {"f:spec": {}}},
            {"manager": "kubectl-edit", "time": "2031-01-02T00:00:00Z", "fieldsV1": {"f:spec": {}}},
            {"manager": "kubectl-label", "time": "2031-01-03T00:00:00Z", "fieldsV1": {}},
            {
                "manager": "k3os",
                "time": "2031-01-04T00:00:00Z",
                "subresource": "status",
                "fieldsV1": {"f:spec": {}},
            },
        ],
    }
}


def pool(version: str = "v1.0.0", config: dict[str, Any] | None = None, limit: int = 10) -> Pool:
    target = Target(Wanted(version, "https://example.com"), None, config or {})
    return Pool("workers", "u1", 1, {}, target, Strategy(), history_limit=limit)


class StubClient:
    """The part of the API that a history needs; dies: the number of the write at which it dies."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], dict[str, Any]] = {}
        self.writes = 0
        self.dies = 0

    def _write(self) -> None:
        self.writes += 1
        if self.writes == self.dies:
            raise OSError("killed")

    async def create(self, body: Any, namespace: str) -> Any:
        self._write()
        key = (body["kind"], body["metadata"]["name"])
        if key in self.kept:
            raise ApiError(response=answer(409))
        made = json.loads(json.dumps(dict(body)))
        made["metadata"]["uid"] = f"uid-{len(self.kept)}"
        for name, value in made.pop("stringData", {}).items():
            made.setdefault("data", {})[name] = base64.b64encode(value.encode()).decode()
        self.kept[key] = made
        return made

    async def get(self, kind: Any, name: str, namespace: str) -> Any:
        return self.kept["ControllerRevision", name]

    async def patch(self, kind: Any, name: str, change: Any, **_: Any) -> Any:
        self._write()
        found = self.kept["ControllerRevision", name]
        found["revision"] = change["revision"]
        found["metadata"]["annotations"] |= change["metadata"]["annotations"]
        return found

    async def delete(self, kind: Any, name: str, namespace: str) -> None:
        self._write()
        del self.kept["ControllerRevision", name]
        self.kept.pop(("Secret", name), None)

    async def list(self, kind: Any, namespace: str, labels: dict[str, str]) -> Any:
        wanted = "ControllerRevision" if kind is ControllerRevision else "Secret"
        for (found, _), body in list(self.kept.items()):
            if found == wanted and labels.items() <= body["metadata"]["labels"].items():
                yield body

    def numbers(self) -> dict[int, str]:
        found = parse_all([body for (kind, _), body in self.kept.items() if kind != "Secret"], "u1")
        return {each.number: each.k3os.version if each.k3os else "" for each in found}


def answer(code: int) -> Any:
    import httpx2

    body = {"kind": "Status", "code": code, "message": "exists"}
    return httpx2.Response(code, json=body, request=httpx2.Request("POST", "http://x"))


class StubApi:
    def __init__(self) -> None:
        self.client = StubClient()


def keep(api: StubApi, *pools: Pool) -> Revisions:
    found = Revisions(api)  # type: ignore[arg-type]

    async def all_of() -> None:
        for each in pools:
            error = await found.keep(each, BODY, 0.0)
            if error:
                raise error

    asyncio.run(all_of())
    return found


def test_what_is_wanted_becomes_a_revision_once() -> None:
    api = StubApi()
    keep(api, pool(), pool(), pool("v1.1.0"))
    keep(api, pool("v1.1.0"))
    assert api.client.numbers() == {1: "v1.0.0", 2: "v1.1.0"}
    assert api.client.writes == 2


def test_what_is_wanted_again_becomes_the_newest() -> None:
    api = StubApi()
    keep(api, pool(), pool("v1.1.0"), pool())
    assert api.client.numbers() == {2: "v1.1.0", 3: "v1.0.0"}


def test_who_when_and_why_are_noted() -> None:
    assert changed_by(BODY) == ("kubectl-edit", "2031-01-02T00:00:00Z")
    found = parse_revision(revision(pool(), BODY, 4, 0.0))
    assert found is not None
    assert (found.number, found.by, found.cause) == (4, "kubectl-edit", "CVE-2031-1")
    assert found.at == "2031-01-02T00:00:00Z"
    bare = parse_revision(revision(pool(), {}, 1, 0.0))
    assert bare and (bare.by, bare.at, bare.cause) == ("", "1970-01-01T00:00:00Z", "")


def test_a_configuration_is_in_a_secret_alone_and_comes_back() -> None:
    api = StubApi()
    wanted = pool(config=CONFIG)
    found = keep(api, wanted)
    (made,) = [body for (kind, _), body in api.client.kept.items() if kind != "Secret"]
    assert SECRET not in json.dumps(made)
    (known,) = found.known["u1"]
    assert asyncio.run(found.target("u1", known)) == wanted.target
    (secret,) = [body for (kind, _), body in api.client.kept.items() if kind == "Secret"]
    assert secret["metadata"]["ownerReferences"][0]["uid"] == made["metadata"]["uid"]
    secret["data"][history.FILE] = base64.b64encode(b'{"hostname": "other"}').decode()
    assert asyncio.run(found.target("u1", known)) is None, "somebody changed it"


@pytest.mark.parametrize("dies", [1, 2, 3, 4, 5])
def test_killed_between_two_writes_it_goes_on(dies: int) -> None:
    api = StubApi()
    pools = (pool(config=CONFIG), pool("v1.1.0", CONFIG, limit=0))
    api.client.dies = dies
    with pytest.raises(OSError, match="killed"):
        keep(api, *pools)
    keep(api, *pools)
    assert list(api.client.numbers().values()) == ["v1.1.0"]
    assert len(api.client.kept) == 2, "a revision and its Secret"


def test_of_what_is_not_understood_there_is_no_revision() -> None:
    api = StubApi()
    keep(api, replace(pool(), problems=("x",)), replace(pool(), unresolved={"k3s": "stable"}))
    assert api.client.kept == {}


def digests(numbers: list[int]) -> list[Revision]:
    return [
        Revision(f"r{number}", index + 1, f"{number:016x}") for index, number in enumerate(numbers)
    ]


@given(st.lists(st.integers(0, 30), unique=True, max_size=20), st.integers(0, 5), st.data())
def test_no_more_are_kept_than_wanted_and_never_the_current_or_the_stable(
    numbers, limit, data
) -> None:
    revisions = digests(numbers)
    current = pool(limit=limit)
    stable = data.draw(st.sampled_from([each.digest for each in revisions] or [""]))
    found = plan(revisions, current, stable)
    left = [each for each in revisions if each.name not in found.drop]
    assert len([each for each in left if each.digest != stable]) <= limit
    assert not stable or any(each.digest == stable for each in left)
    assert found.number == len(numbers) + 1
    oldest_first = [each.name for each in revisions if each.digest != stable]
    assert list(found.drop) == oldest_first[: len(found.drop)]


def test_the_one_before_is_the_newest_that_wants_something_else() -> None:
    revisions = digests([1, 2, 3])
    assert before(revisions, revisions[2].digest) == revisions[1]
    assert before(revisions, revisions[1].digest) == revisions[2]
    assert before(revisions[:1], revisions[0].digest) is None


@pytest.mark.parametrize(
    "body",
    [{}, {"data": None}, {"data": {"target": 7}}, {"data": {"target": "../x"}, "revision": []}],
)
def test_what_is_no_revision_of_ours_is_none(body: dict[str, Any]) -> None:
    assert parse_revision(body) is None


def test_overrides_and_secrets_come_back_with_a_revision_and_no_value_is_in_it() -> None:
    override = {
        "nodeSelector": {"matchLabels": {"room": "1"}},
        "config": {"k3os": {"token": "$(secret.t)", "password": SECRET}},
    }
    ref = {"name": "t", "valueFrom": {"secretKeyRef": {"name": "office", "key": "token"}}}
    parts = ("config", "overrides", "secrets")
    whole: dict[str, Any] = {"config": CONFIG, "overrides": [override], "secrets": [ref]}
    for left_out in ((), ("config",), ("overrides",), ("overrides", "secrets"), parts):
        spec = {name: each for name, each in whole.items() if name not in left_out}
        read = parse_target(spec)
        seals = {"t": "seal-of-the-value"}
        target = Target(None, None, read.config, read.overrides, refs=read.refs, seals=seals)
        data = history.data_of(target)
        assert SECRET not in json.dumps(data) and "seal-of" not in json.dumps(data)
        body = {"metadata": {"name": "r"}, "revision": 1, "data": data}
        found = parse_revision(body)
        assert found is not None and found.digest == read.plain_digest
        files = history.files_of(target)
        assert bool(files) == history.has_content(found) and "seal-of" not in str(files)
        encoded = {name: base64.b64encode(text.encode()).decode() for name, text in files.items()}
        content = history.content_of({"data": encoded}, found)
        assert content is not None
        assert history.target_of(found, content).plain_digest == read.plain_digest
        for name, text in encoded.items():
            broken = {**encoded, name: base64.b64encode(b'{"hostname": "x"}').decode()}
            assert text and history.content_of({"data": broken}, found) is None
