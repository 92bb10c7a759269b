"""Commands on nodes, and an operator: its rollouts and their Jobs do not affect each other."""

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

from lightkube.types import CascadeType, PatchType

from k3os import names
from k3os.cluster.node import parse_node
from k3os.cluster.node_pod import LABEL
from k3os.cluster.on_node import PODS, on_node
from tests.operator.agent import Pod
from tests.operator.test_rollout import NEW, all_updated
from tests.operator.world import Job, World

WHERE = {"namespace": names.NAMESPACE}


class ThroughTheApi:
    """Replaces kubectl, which the host need not have, and the kubelet, which reports that the pod
    runs."""

    def __init__(self, world: World) -> None:
        self.client = world.client

    def objects(self, path: str) -> dict[str, Any]:
        plain, _, query = path.partition("?")
        assert plain == PODS
        label, value = unquote(query.removeprefix("labelSelector=")).split("=")
        assert label == LABEL
        found = {}
        for each in self.client.list(Pod, labels={label: value}, **WHERE):
            running = {"containerStatuses": [{"state": {"running": {}}}]}
            name = each["metadata"]["name"]
            body = self.client.patch(
                *(Pod.Status, name, {"status": running}), patch_type=PatchType.MERGE, **WHERE
            )
            found[name] = dict(body)
        return found

    def run(self, *arguments: str, stdin: bytes = b"") -> str:
        if arguments[0] == "delete":
            assert arguments[1] == "jobs.batch"
            self.client.delete(Job, arguments[2], cascade=CascadeType.BACKGROUND, **WHERE)
            return ""
        body = json.loads(stdin)
        if body["kind"] == "Job":
            self.client.create(Job(body))
        return json.dumps({"status": {"allowed": True}})

    def inside(self, pod: str, _: str, program: Sequence[str], *flags: str) -> list[str]:
        return ["echo", pod, program[-1], *flags]


def jobs(world: World) -> list[str]:
    return [each["metadata"]["name"] for each in world.client.list(Job, **WHERE)]


def test_a_rollout_goes_on_beside_a_command_and_leaves_its_job_alone(
    world: World, capfd: Any
) -> None:
    world.nodes("a", "b")
    world.pool(k3os=NEW)
    node = parse_node(world.node("a"))
    kubectl: Any = ThroughTheApi(world)
    with on_node(kubectl, node, 600) as there:
        assert there.show(["status"]) == 0
        assert capfd.readouterr().out.endswith("status\n")
        (own,) = jobs(world)
        world.start()
        world.until_phase("Updated")
        assert all_updated(world)
        world.until(lambda: jobs(world) == [own])
    assert jobs(world) == []
    assert not list(world.client.list(Pod, labels={LABEL: own}, **WHERE))
