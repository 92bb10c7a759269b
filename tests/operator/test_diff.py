"""What `kubectl k3os diff` predicts is what then happens."""

import json
from typing import Any

from k3os import names
from k3os.cli.kubectl_diff import DIFFERENT, SAME, applied, diff, sight_of
from k3os.cli.kubectl_history import REVISIONS
from k3os.cluster.kubectl import POOLS
from k3os.cluster.pool_difference import differences
from k3os.config.key import AT_BOOT
from tests.operator.agent import LABEL
from tests.operator.semantics import merged
from tests.operator.test_undo import ThroughTheApi
from tests.operator.world import URL, NodePool, World

AT_ONCE = {"k3os": {"sysctls": {"vm.max_map_count": "262144"}}}
FOR_BOOT = {"boot_cmd": ["true"]}


class DryRuns(ThroughTheApi):
    """Supports the dry run of `kubectl apply`, too."""

    def __init__(self, world: World, spec: dict[str, Any]) -> None:
        super().__init__(world)
        self.name = f"{world.run}-pool"
        self.spec = {"nodeSelector": {"matchLabels": {LABEL: world.run}}, **spec}

    def objects(self, path: str) -> dict[str, Any]:
        # the revisions of all NodePools; there are none from other tests
        return super().objects(f"{path}?" if path == REVISIONS else path)

    def run(self, *arguments: str, stdin: bytes | None = None) -> str:
        assert arguments[:2] == ("apply", "--dry-run=server")
        live = self.objects(POOLS).get(self.name, {"metadata": {"name": self.name}})
        return json.dumps(merged(live, {"kind": names.KIND, "spec": self.spec}))


def foretold(world: World, **spec: Any) -> tuple[int, dict[str, Any]]:
    """The exit code, and each node's difference by the node's short name."""
    kubectl: Any = DryRuns(world, spec)
    code = diff(kubectl, ["pool.yaml"])
    bodies = applied(kubectl, ["pool.yaml"])
    (found,) = differences(bodies, sight_of(kubectl, bodies), 0.0)
    return code, {each.name.removeprefix(f"{world.run}-"): each for each in found.nodes}


def asked(world: World) -> set[str]:
    """The nodes that got a request to change them."""
    found = {name.removeprefix(f"{world.run}-") for name in world.agent.machines}
    served = [each for each in world.agent.served if not each.endswith("-check")]
    return {name for name in found if any(f"-{world.run}-{name}-" in each for each in served)}


def is_over(world: World) -> bool:
    """Whether the latest generation of the NodePool is Updated."""
    found = dict(world.client.get(NodePool, f"{world.run}-pool"))
    status = found.get("status") or {}
    seen = status.get("observedGeneration") == found["metadata"]["generation"]
    return seen and status.get("phase") == "Updated"


def test_what_diff_says_is_what_then_happens(world: World) -> None:
    world.nodes("a", "b")
    world.nodes("new", versions={"k3os": "v1.1.0", "k3s": "v1.33.0+k3s1"})
    for name in ("a", "b", "new"):
        world.pod(f"on-{name}", name)
    wanted = {"k3os": {"version": "v1.1.0", "url": URL}}
    steps = [wanted, {**wanted, "config": AT_ONCE}, {**wanted, "config": FOR_BOOT}]
    for number, spec in enumerate(steps):
        code, said = foretold(world, **spec)
        assert code == DIFFERENT
        boots = {name: world.machine(name).boots for name in said}
        world.agent.served.clear()
        if number == 0:
            world.pool(**spec)
            world.start()
        else:
            world.change("pool", **{"config": None, **spec})
        world.until(lambda: is_over(world))
        assert foretold(world, **spec)[0] == SAME
        assert asked(world) == {name for name, each in said.items() if each.changes}
        booted = {name for name in said if world.machine(name).boots > boots[name]}
        assert booted == {
            name for name, each in said.items() if each.cost and each.cost.effect == AT_BOOT
        }
        # pods that are moved away do not come back in this test, so each node predicts it only once
        gone = {name for name in said if f"on-{name}" not in world.pods()}
        assert {name for name, each in said.items() if each.moves} <= gone
        if number < 2:
            assert gone == {"a", "b"}
    assert world.untouched()
