"""What a change costs a node, according to the operator and to the node."""

from itertools import product

import pytest

from k3os.cluster.cost import Cost, cost, disrupts
from k3os.cluster.impact import fragment_hash, impact
from k3os.cluster.node import NodeView
from k3os.cluster.request import NodeRequest, Wanted, remaining
from k3os.cluster.target import Target, is_updated
from k3os.config.key import AT_BOOT, NOW, RESTART

AT_ONCE = {"k3os": {"sysctls": {"vm.max_map_count": "262144"}}}
# a fragment for each effect
EFFECTS: dict[str, dict[str, object]] = {
    NOW: dict(AT_ONCE),
    RESTART: {"k3os": {"k3s_args": ["server", "--debug"]}},
    AT_BOOT: {"boot_cmd": ["true"], **AT_ONCE},
}
K3OS, K3S = Wanted("v1.1.0", "https://example.com"), Wanted("v1.34.0+k3s1")


def node(config: dict[str, object]) -> NodeView:
    return NodeView(
        *("a", {}, True, False, "v1.0.0", "v1.33.0+k3s1"), config_hash=fragment_hash(config)
    )


@pytest.mark.parametrize(
    ("k3os", "k3s", "effect"), list(product((None, K3OS), (None, K3S), ("", *EFFECTS)))
)
def test_the_cost_is_what_the_node_does(
    k3os: Wanted | None, k3s: Wanted | None, effect: str
) -> None:
    config = EFFECTS.get(effect, {})
    target, has = Target(k3os, k3s, config), node({})
    found = cost(has, target, {})
    # what `k3os apply` decides, once it has the Job's request
    request = NodeRequest("r", k3os, k3s, config)
    work = remaining(request, {"k3os": has.k3os, "k3s": has.k3s}, {})
    assert (found.effect == AT_BOOT) == work.reboot
    assert (found.effect == NOW) == (not work.reboot and not work.restarts_k3s)
    # the operator drains for changes that it considers disruptive, else only if the node must
    # reboot
    assert found.drained == (disrupts(has, target) or work.reboot)
    assert found.sure
    assert is_updated(has, target) == work.is_nothing


@pytest.mark.parametrize("effect", EFFECTS)
def test_there_is_a_fragment_for_each_effect(effect: str) -> None:
    assert impact(EFFECTS[effect]) == effect


@pytest.mark.parametrize("effect", [NOW, RESTART, AT_BOOT])
def test_what_is_taken_away_costs_as_much(effect: str) -> None:
    config = EFFECTS[effect]
    found = cost(node(config), Target(), config)
    assert found == Cost(effect, drained=effect == AT_BOOT)


def test_a_part_that_stays_costs_nothing() -> None:
    before = EFFECTS[AT_BOOT]
    after = {**before, "k3os": {"sysctls": {"vm.max_map_count": "1"}}}
    found = cost(node(before), Target(config=after), before)
    # the operator only knows the hash of the node's configuration, so it drains the node anyway
    assert found == Cost(NOW, drained=True)


def test_what_is_not_known_may_cost_more() -> None:
    assert not cost(node(EFFECTS[AT_BOOT]), Target(), None).sure
    assert cost(node(EFFECTS[AT_BOOT]), Target(K3OS), None) == Cost(AT_BOOT, drained=True)
    # the same hash: the configuration does not change
    same = Target(k3s=K3S, config=AT_ONCE)
    assert cost(node(AT_ONCE), same, AT_ONCE) == Cost(RESTART, drained=True)
