"""Settings for single nodes, with values from Secrets: who gets them, and who must not."""

import base64
import json
from typing import Any

from lightkube.types import PatchType

from k3os import names
from tests.operator.agent import LABEL, Node, Secret
from tests.operator.world import ControllerRevision, Event, NodePool, World

ONE, TWO = "topsecret-passphrase", "another-passphrase"
WIFI = {"k3os": {"wifi": [{"name": "home", "passphrase": "$(secret.wifi)"}]}}


def with_secret(world: World, name: str = "office") -> dict[str, Any]:
    """The spec of a NodePool whose nodes in room 1 get a value from a Secret of this test."""
    ref = {"name": f"{world.run}-{name}", "key": "passphrase"}
    override = {"nodeSelector": {"matchLabels": {"room": "1"}}, "config": WIFI}
    return {
        "config": {"k3os": {"labels": {"rack": "$(node.labels['rack'])"}}},
        "overrides": [override],
        "secrets": [{"name": "wifi", "valueFrom": {"secretKeyRef": ref}}],
    }


def put(world: World, value: str, name: str = "office") -> None:
    meta = world._meta(f"{world.run}-{name}")
    data = {"passphrase": base64.b64encode(value.encode()).decode()}
    body = Secret({"metadata": {**meta, "namespace": names.NAMESPACE}, "data": data})
    if any(each["metadata"]["name"] == meta["name"] for each in secrets(world)):
        world.client.replace(body, name=meta["name"], namespace=names.NAMESPACE)
    else:
        world.client.create(body, namespace=names.NAMESPACE)


def secrets(world: World) -> list[dict[str, Any]]:
    return [dict(each) for each in world.client.list(Secret, namespace=names.NAMESPACE)]


def label(world: World, name: str, **labels: str) -> None:
    change = {"metadata": {"labels": labels}}
    world.client.patch(Node, f"{world.run}-{name}", change, patch_type=PatchType.MERGE)


def labels_of(body: dict[str, Any]) -> dict[str, str]:
    return dict(body["metadata"].get("labels") or {})


def passphrase(world: World, name: str) -> str:
    wifi = world.machine(name).config.get("k3os", {}).get("wifi") or [{}]
    return str(wifi[0].get("passphrase", ""))


def test_a_secret_goes_to_the_nodes_that_need_it_and_nowhere_else(world: World) -> None:
    world.nodes("a", "b", "c")
    label(world, "a", rack="r1", room="1")
    label(world, "b", rack="r2")
    put(world, ONE)
    world.pool(**with_secret(world))
    world.start()
    # c has no label: it is named and left alone, and the others are updated
    world.until(lambda: world.status().get("updated") == 2)
    degraded = world.until(lambda: world.condition("Degraded"))
    assert degraded["reason"] == "NodeConfigInvalid"
    for part in (f"{world.run}-pool", f"{world.run}-c", "k3os.labels.rack", "has no label rack"):
        assert part in degraded["message"]
    assert world.machine("c").config == {}
    label(world, "c", rack="r3")
    world.until_phase("Updated")
    racks = {name: world.machine(name).config["k3os"]["labels"]["rack"] for name in "abc"}
    assert racks == {"a": "r1", "b": "r2", "c": "r3"}
    assert {name: passphrase(world, name) for name in "abc"} == {"a": ONE, "b": "", "c": ""}
    # another value: only to the same node
    world.agent.served.clear()
    put(world, TWO)
    world.until(lambda: passphrase(world, "a") == TWO)
    world.until_phase("Updated")
    assert {each.split(f"{world.run}-")[1][0] for each in world.agent.served} == {"a"}
    assert_hidden(world, ONE, TWO)
    assert world.untouched()


def assert_hidden(world: World, *values: str) -> None:
    """Check that the operator wrote these values only to requests for node a, and to no log."""
    if world.emulator is not None:
        assert_written_to_a_only(world.emulator.written, f"{world.run}-a-", values)
    for text in (world.log, *stored(world)):
        for each in values:
            assert each not in text
            assert base64.b64encode(each.encode()).decode() not in text


def assert_written_to_a_only(
    written: list[tuple[str, str, str]], request_of_a: str, values: tuple[str, ...]
) -> None:
    told = False
    for plural, name, body in written:
        for value in values:
            encoded = base64.b64encode(value.encode()).decode()
            if value not in body and encoded not in body:
                continue
            request = json.loads(json.loads(body)["stringData"]["request.json"])
            assert plural == "secrets" and request_of_a in request["id"], name
            told = True
    assert told


def stored(world: World) -> list[str]:
    """What the API has after all requests have ended, except this test's own Secrets."""
    world.until(lambda: not world.requests())
    kinds = ((NodePool, ""), (Node, ""), (Event, "default"), (ControllerRevision, names.NAMESPACE))
    listed = [
        dict(each)
        for kind, where in kinds
        for each in world.client.list(kind, **({"namespace": where} if where else {}))
    ]
    others = [
        each for each in secrets(world) if LABEL not in (each["metadata"].get("labels") or {})
    ]
    return [json.dumps(each) for each in (*listed, *others)]


def test_a_missing_secret_is_named_and_rolled_out_when_it_comes(world: World) -> None:
    world.nodes("a")
    label(world, "a", rack="r1", room="1")
    world.pool(**with_secret(world, "later"))
    world.start()
    world.until(lambda: world.condition("Degraded").get("status") == "True")
    degraded = world.condition("Degraded")
    assert degraded["reason"] == "SecretMissing"
    assert f"k3os-system/{world.run}-later" in degraded["message"]
    assert "passphrase" in degraded["message"]
    assert world.machine("a").config == {}
    put(world, ONE, "later")
    world.until_phase("Updated")
    assert passphrase(world, "a") == ONE
