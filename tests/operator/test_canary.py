"""A canary through the API, with a real query, and with an operator that is killed."""

from typing import Any

from tests.operator.world import URL, World
from tests.unit.local_server import content, local_site

OLD, NEW = ({"version": version, "url": URL} for version in ("v1.1.0", "v1.2.0"))


def answer(value: str) -> Any:
    result = f'[{{"metric": {{}}, "value": [0, "{value}"]}}]'
    data = f'{{"data": {{"resultType": "vector", "result": {result}}}}}'
    return content(data.encode())


def canary(world: World) -> dict[str, Any]:
    return world.status().get("canary") or {}


def test_a_gate_that_fails_takes_the_canary_back_and_one_that_opens_lets_it_go_on(
    world: World,
) -> None:
    world.nodes("a", "b", "c")
    world.pool(k3os=OLD)
    world.start()
    world.until_phase("Updated")
    boots = [each.boots for each in world.agent.machines.values()]
    with local_site() as site:
        site.page("/api/v1/query?query=errors", answer("0.3"))
        gate = {"address": site.url, "query": "errors", "thresholdRange": {"max": 0.1}}
        steps = {"steps": [{"nodes": 1}], "analysis": [{"name": "errors", "prometheus": gate}]}
        strategy = {"canary": {**steps, "analysisTimeout": "5s", "onFailure": "Rollback"}}
        world.change("pool", k3os=NEW, strategy=strategy)
        world.until(lambda: canary(world).get("phase") == "RollingBack")
        world.kill()  # everything it knew is in the API
        world.start()
        world.until(lambda: canary(world).get("phase") == "RolledBack")
        world.until_phase("Failed")
        assert {each.versions["k3os"] for each in world.agent.machines.values()} == {"v1.1.0"}
        after = [each.boots for each in world.agent.machines.values()]
        assert after == [boots[0] + 2, *boots[1:]], "one node, there and back"
        degraded = world.condition("Degraded")
        assert degraded["reason"] == "CanaryFailed"
        assert "step 1 of 1 (1 node): failed: gate errors: 0.3 is above 0.1" in degraded["message"]
        assert "rollout retry" in degraded["message"]
        world.until(lambda: world.events("CanaryRolledBack"))
        assert world.untouched()
        # a new target with an open gate; 5 minutes are enough to notice, even on a slow host
        site.page("/api/v1/query?query=errors", answer("0.05"))
        patient = {"canary": {"analysisTimeout": "5m"}}
        world.change("pool", k3os={"version": "v1.2.1"}, strategy=patient)
        world.until_phase("Updated")
    assert {each.versions["k3os"] for each in world.agent.machines.values()} == {"v1.2.1"}
    assert canary(world)["phase"] == "Completed"
    assert world.agent.most_away == 1
