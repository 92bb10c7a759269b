"""`rollout undo` through the API, with the history that the operator keeps."""

import json
from typing import Any

from lightkube import ApiError

from k3os import names
from k3os.cli.kubectl_history import REVISIONS, SECRETS, undo
from k3os.cluster.kubectl import NODES, POOLS
from k3os.cluster.revision import parse_all
from tests.operator.agent import Node, Secret
from tests.operator.world import URL, ControllerRevision, NodePool, World

CONFIG = {"k3os": {"wifi": [{"name": "home", "passphrase": "topsecret-passphrase"}]}}
OLD, NEW = ({"version": version, "url": URL} for version in ("v1.1.0", "v1.2.0"))


class ThroughTheApi:
    """Replaces kubectl, which the host need not have."""

    def __init__(self, world: World) -> None:
        self.client = world.client

    def objects(self, path: str) -> dict[str, Any]:
        kinds = {POOLS: NodePool, NODES: Node, REVISIONS: ControllerRevision}
        plain, _, query = path.partition("?")
        where = {"namespace": names.NAMESPACE} if query else {}
        listed = [dict(each) for each in self.client.list(kinds[plain], **where)]
        return {each["metadata"]["name"]: each for each in listed}

    def object(self, path: str) -> dict[str, Any]:
        name = path.removeprefix(f"{SECRETS}/")
        return dict(self.client.get(Secret, name, namespace=names.NAMESPACE))

    def run(self, *arguments: str, stdin: bytes) -> str:
        assert arguments == ("replace", "-f", "-")
        body = json.loads(stdin)
        self.client.replace(NodePool(body), name=body["metadata"]["name"])
        return ""


def history(world: World, pool: str) -> list[Any]:
    uid = dict(world.client.get(NodePool, pool))["metadata"]["uid"]
    listed = world.client.list(ControllerRevision, namespace=names.NAMESPACE)
    return parse_all([dict(each) for each in listed], uid)


def versions(world: World) -> set[str]:
    return {each.versions["k3os"] for each in world.agent.machines.values()}


def test_a_rollout_is_undone_to_what_was_before_it(world: World) -> None:
    world.nodes("a", "b")
    pool = world.pool(k3os=OLD, config=CONFIG)
    world.start()
    world.until_phase("Updated")
    world.change("pool", k3os=NEW, config=None)
    world.until(lambda: versions(world) == {NEW["version"]})
    world.until_phase("Updated")
    one, two = history(world, pool)
    assert (one.number, two.number) == (1, 2)
    assert one.by and one.at
    # many people may read the history, so it must not contain passwords
    bodies = world.client.list(ControllerRevision, namespace=names.NAMESPACE)
    assert "topsecret-passphrase" not in json.dumps([dict(each) for each in bodies])
    undo(ThroughTheApi(world), pool, None, allow=True)  # type: ignore[arg-type]
    world.until(lambda: versions(world) == {OLD["version"]})
    world.until_phase("Updated")
    assert world.machine("a").config == world.machine("b").config == CONFIG
    assert [each.number for each in history(world, pool)] == [2, 3]
    assert world.agent.most_away == 1
    assert world.untouched()
    world.client.delete(NodePool, pool)
    world.until(lambda: not history_left(world))


def test_nodes_refuse_an_older_version_as_long_as_nobody_allows_it(world: World) -> None:
    world.nodes("a")
    world.pool(k3os={"version": "v0.9.0", "url": URL})
    world.start()
    world.until_phase("Failed")
    assert world.condition("Degraded")["reason"] == "CheckFailed"
    assert "older" in world.condition("Degraded")["message"]
    assert world.machine("a").boots == 0
    world.client.delete(NodePool, f"{world.run}-pool")
    world.until(world.untouched)
    world.pool("again", k3os={"version": "v0.9.0", "url": URL}, strategy={"rollback": "Allow"})
    world.until_phase("Updated", "again")
    assert versions(world) == {"v0.9.0"}


def history_left(world: World) -> bool:
    try:
        return bool(list(world.client.list(ControllerRevision, namespace=names.NAMESPACE)))
    except ApiError:
        return True
