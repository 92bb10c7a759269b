"""The Secrets that NodePools name: read late, stored nowhere, and reported by name if missing."""

import asyncio
import base64
import json
import logging
from typing import Any

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lightkube import ApiError

from k3os import names
from k3os.cluster.revision import LABEL, data_of, files_of
from k3os.cluster.spec import Pool, read_pool
from k3os.cluster.target import Target, is_updated
from k3os.cluster.views import REQUEST_LABEL
from k3os.operator.decisions import NewJob
from k3os.operator.job import job, secret
from k3os.operator.rollout import decide
from k3os.operator.secret_reader import KEY, SECONDS, Changed, SecretReader
from k3os.operator.status import status
from tests.unit.operator.simulator import FINE, World, node

VALUE = "topsecret-passphrase"
WIFI = {"k3os": {"wifi": [{"name": "home", "passphrase": "$(secret.wifi)"}]}}


class Client:
    """The part of the API that Secrets need. asked: the names of those that were read."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, Any]] = {}
        self.asked: list[str] = []
        self.broken = False

    def put(self, name: str, labels: dict[str, str] | None = None, **data: str) -> None:
        encoded = {key: base64.b64encode(each.encode()).decode() for key, each in data.items()}
        self.kept[name] = {"metadata": {"name": name, "labels": labels or {}}, "data": encoded}

    async def get(self, kind: Any, name: str, namespace: str) -> dict[str, Any]:
        assert namespace == names.NAMESPACE
        self.asked.append(name)
        if self.broken:
            raise httpx2.ConnectError("refused")
        if name not in self.kept:
            raise not_found()
        return self.kept[name]

    async def create(self, body: Any, namespace: str) -> dict[str, Any]:
        self.kept[body["metadata"]["name"]] = dict(body)
        return dict(body)


def not_found() -> ApiError:
    answer = {"kind": "Status", "code": 404, "reason": "NotFound", "message": "not found"}
    return ApiError(request=None, response=httpx2.Response(404, json=answer))  # type: ignore[arg-type]


class Api:
    def __init__(self) -> None:
        self.client = Client()


class There:
    """A NodePool, its nodes, and a reader of its Secrets."""

    def __init__(self, config: dict[str, Any] = WIFI, **spec: Any) -> None:
        ref = {"name": "wifi", "valueFrom": {"secretKeyRef": {"name": "office", "key": "pw"}}}
        whole = {"nodeSelector": {}, "config": config, "secrets": [ref], **spec}
        self.body = {"metadata": {"name": "p", "uid": "u", "generation": 1}, "spec": whole}
        self.api = Api()
        self.client = self.api.client
        self.client.put("office", pw=VALUE)
        self.reader = SecretReader(self.api)  # type: ignore[arg-type]
        self.now = 1000.0
        self.read = read_pool(self.body)

    def look(self, later: float = 0.0) -> Pool:
        self.now += later
        pools = [(self.body, self.read)]
        ((_, pool),) = asyncio.run(self.reader.look(pools, [], self.now))
        return pool


def told(pool: Pool) -> dict[str, Any]:
    world = World({"a": node("a")}, {"a": FINE})
    waiting = world.reconcile(pool).waiting
    found = status(pool, world.cluster(), waiting, world.now, {})
    degraded = next(each for each in found["conditions"] if each["type"] == "Degraded")
    return {"waiting": waiting, "begun": bool(world.nodes["a"].state), **degraded}


def test_only_what_a_nodepool_names_is_read_and_that_now_and_then() -> None:
    there = There()
    there.client.put("other", pw="x")
    there.look()
    assert there.client.asked == [KEY, KEY, "office"]  # the key did not exist yet
    there.look(later=SECONDS / 2)
    assert len(there.client.asked) == 3
    there.look(later=SECONDS)
    assert there.client.asked[3:] == ["office"]
    assert 0 < there.reader.wake(there.now) <= SECONDS


def test_nothing_is_asked_for_nodepools_without_secrets() -> None:
    there = There(config={"hostname": "h"})
    pool = there.look()
    assert there.client.asked == [] and pool is there.read


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (lambda client: client.kept.pop("office"), ["no Secret k3os-system/office", "pw"]),
        (lambda client: client.put("office", other="x"), ["k3os-system/office has no key pw"]),
        (lambda client: client.put("office", pw=""), ["k3os-system/office/pw", "empty"]),
        (
            lambda client: client.put("office", {REQUEST_LABEL: "x"}, pw="x"),
            ["k3os-system/office", "operator's own"],
        ),
        (
            lambda client: client.put("office", {LABEL: "x"}, pw="x"),
            ["k3os-system/office", "operator's own"],
        ),
    ],
)
def test_what_is_missing_is_named_and_nothing_is_rolled_out(change, parts) -> None:
    there = There()
    change(there.client)
    said = told(there.look())
    assert (said["status"], said["reason"], said["begun"]) == ("True", "SecretMissing", False)
    for part in parts:
        assert part in said["message"] and part in said["waiting"]
    # it is created
    there.client.put("office", pw=VALUE)
    assert told(there.look(later=SECONDS))["begun"]


def test_the_key_of_the_seals_is_nobodys_value() -> None:
    there = There()
    there.look()
    spec = there.body["spec"]
    spec["secrets"][0]["valueFrom"]["secretKeyRef"] = {"name": KEY, "key": "key"}
    there.read = read_pool(there.body)
    assert "operator's own" in there.look().missing[0]


def test_the_token_of_an_account_is_nobodys_value() -> None:
    there = There()
    there.client.kept["office"]["type"] = "kubernetes.io/service-account-token"
    assert "operator's own" in there.look().missing[0]


def test_an_api_server_that_hangs_is_waited_for_once_not_for_each_secret() -> None:
    refs = [
        {"name": f"s{n}", "valueFrom": {"secretKeyRef": {"name": f"o{n}", "key": "k"}}}
        for n in range(20)
    ]
    variables = {f"A{n}": f"$(secret.s{n})" for n in range(20)}
    there = There(config={"k3os": {"environment": variables}}, secrets=refs)
    waiting = most = 0

    async def hang(*_: Any, **__: Any) -> dict[str, Any]:
        nonlocal waiting, most
        waiting += 1
        most = max(most, waiting)
        await asyncio.sleep(0.01)
        waiting -= 1
        raise httpx2.ReadTimeout("")

    there.client.get = hang  # type: ignore[method-assign]
    assert there.look().frozen
    assert most == 19  # the first one would have created the key of the seals


def test_a_secret_that_cannot_be_read_holds_its_nodepool_until_it_can() -> None:
    there = There()
    there.client.broken = True
    pool = there.look()
    assert pool.missing and pool.frozen
    assert "office" in told(pool)["waiting"] and not told(pool)["begun"]
    there.client.broken = False
    assert told(there.look(later=SECONDS))["begun"]
    # known values are kept
    there.client.broken = True
    pool = there.look(later=SECONDS)
    assert not pool.missing and not pool.frozen


def test_a_changed_value_is_another_target_and_anything_else_about_it_is_not() -> None:
    there = There()
    before = there.look()
    there.client.put("office", {"some": "label"}, pw=VALUE, more="x")
    same = there.look(later=SECONDS)
    assert same.target.digest == before.target.digest
    assert same.target is before.target
    there.client.put("office", pw="another-passphrase")
    after = there.look(later=SECONDS)
    assert after.target.digest != before.target.digest
    # another operator, with the same key
    there.reader = SecretReader(there.api)  # type: ignore[arg-type]
    assert there.look(later=1).target.digest == after.target.digest


def test_a_value_that_changed_since_it_was_decided_on_goes_to_nobody() -> None:
    there = There()
    pool = there.look()
    there.client.put("office", pw="another-passphrase")
    with pytest.raises(Changed):
        asyncio.run(there.reader.fill(pool.target, node("a")))
    config, fault = asyncio.run(there.reader.fill(there.look().target, node("a")))
    assert not fault and config["k3os"]["wifi"][0]["passphrase"] == "another-passphrase"
    there.client.kept.pop("office")
    with pytest.raises(Changed):
        asyncio.run(there.reader.fill(there.look().target, node("a")))
    assert there.look().missing


def test_a_value_that_makes_the_configuration_wrong_is_not_shown() -> None:
    there = There()
    for value in ("two-secret\nlines", "e\nf"):
        there.client.put("office", pw=value)
        _, fault = asyncio.run(there.reader.fill(there.look(later=SECONDS).target, node("a")))
        assert "node a" in fault and "two-secret" not in fault
        assert "wifi" in fault or "office" in fault


@settings(max_examples=60)
@given(
    st.text(st.characters(codec="ascii", exclude_categories=("Cc",)), min_size=8, max_size=40)
    .map(lambda text: f"s3cret{text}")
    .filter(lambda text: text == text.strip())
)
def test_no_value_is_in_anything_but_the_secret_of_the_job(value: str) -> None:
    """Neither in other objects for the API, nor in what the operator remembers or logs."""
    files = {
        "write_files": [{"path": "/etc/a", "permissions": "0600", "content": "$(secret.wifi)"}]
    }
    there = There(config=files)
    there.client.put("office", pw=value)
    heard: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: heard.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("k3os.operator").addHandler(handler)
    try:
        pool = there.look()
        world = World({"a": node("a")}, {"a": FINE})
        decided = [decide(pool, world.cluster(), {}, {}, world.now)]
        world.reconcile(pool)
        view = world.nodes["a"]
        config, fault = asyncio.run(there.reader.fill(pool.target, view))
    finally:
        logging.getLogger("k3os.operator").removeHandler(handler)
    assert not fault
    assert view.state is not None
    order = NewJob("a", view.state.request, reboot=False)
    public = [
        repr(decided),
        repr(view),
        repr(pool),
        repr(vars(there.reader)),
        json.dumps(job(order, pool, view)),
        json.dumps(data_of(pool.target)),
        json.dumps(files_of(pool.target)),
        json.dumps(status(pool, world.cluster(), "", world.now, {})),
        *heard,
    ]
    forms = {value, json.dumps(value)[1:-1], base64.b64encode(value.encode()).decode()}
    for form in forms:
        assert not any(form in each for each in public)
    request = json.loads(secret(order, pool, view, config)["stringData"]["request.json"])
    assert request["config"]["write_files"][0]["content"] == value
    assert request["configHash"] == pool.target.of(view).config_hash


def test_a_node_that_has_the_secret_is_updated_and_another_value_begins_anew() -> None:
    there = There()
    pool = there.look()
    world = World({"a": node("a")}, {"a": FINE})
    for _ in range(10):
        world.reconcile(pool)
        world.live()
    assert is_updated(world.nodes["a"], pool.target) and not world.busy()
    there.client.put("office", pw="another-passphrase")
    pool = there.look(later=SECONDS)
    assert not is_updated(world.nodes["a"], pool.target)
    world.reconcile(pool)
    assert world.busy()
    assert isinstance(pool.target, Target)
