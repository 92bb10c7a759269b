"""What people and Prometheus see of a running operator."""

import json
import socket
import urllib.request

import pytest

from k3os import names
from k3os.operator import manifests
from k3os.operator.metrics import NAMES
from tests.operator.test_rollout import NEW
from tests.operator.world import Deployment, World


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_its_metrics_probes_and_log_lines_can_be_read_by_machines(world: World) -> None:
    world.nodes("a", "b")
    world.pod("web", "a")
    pool = world.pool(k3os=NEW)
    port = free_port()
    world.start(port, "json")
    world.until_phase("Updated")

    def get(path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
            assert answer.status == 200
            return answer.read().decode()

    assert get("/healthz") == get("/readyz") == "ok\n"
    metrics = get("/metrics")
    for name in NAMES:
        assert f"# TYPE {name} " in metrics
    assert "k3os_leader 1.0" in metrics
    assert f'k3os_nodepool_nodes_updated{{pool="{pool}"}} 2.0' in metrics
    assert f'k3os_nodepool_phase{{phase="Updated",pool="{pool}"}} 1.0' in metrics
    assert f'k3os_node_changes_total{{pool="{pool}",result="Updated"}} 2.0' in metrics
    assert 'k3os_evictions_total{result="evicted"} 1.0' in metrics
    lines = [json.loads(line) for line in world.log.splitlines()]
    own = [each for each in lines if each.get("node") == f"{world.run}-a"]
    steps = [each["step"] for each in own if "step" in each]
    assert steps == ["Checking", "Draining", "Changing", "Waiting"]
    assert all(each["severity"] in ("info", "warn") for each in lines)


@pytest.mark.emulator
def test_there_are_two_replicas_as_soon_as_there_are_two_nodes(world: World) -> None:
    meta = {"name": manifests.NAME, "namespace": names.NAMESPACE}
    world.client.create(Deployment({"metadata": meta, "spec": {}}), namespace=names.NAMESPACE)

    def replicas() -> int:
        found = world.client.get(Deployment, manifests.NAME, namespace=names.NAMESPACE)
        return int(found["spec"].get("replicas", 0))

    (home,) = world.nodes("a")
    world.start(home=home)
    world.until(lambda: replicas() == 1)
    world.nodes("b")
    world.until(lambda: replicas() == 2)
    assert world.end() == 0


@pytest.mark.emulator
@pytest.mark.parametrize("served", [True, False])
def test_the_api_server_is_given_the_policy_where_it_knows_such_things(
    world: World, served: bool
) -> None:
    assert world.emulator is not None
    world.emulator.has_policies = served
    world.nodes("a")
    world.pool(k3os=NEW)
    world.start()
    world.until_phase("Updated")
    world.until(lambda: served or "has no ValidatingAdmissionPolicies" in world.log)
    kinds = {plural for plural, _, _ in world.emulator.kept}
    assert ("validatingadmissionpolicybindings" in kinds) == served
    assert ("validatingadmissionpolicies" in kinds) == served
