"""Two replicas of the operator if there are two nodes for them."""

import pytest

from k3os import names
from k3os.operator.manifests import ARCH_LABEL
from k3os.operator.replicas import replicas
from tests.unit.operator.simulator import node

OWN = {names.VERSION_LABEL: "v1", ARCH_LABEL: "amd64"}


def nodes(*more: dict[str, str]) -> list:
    found = [node("home")]
    found += [node(f"n{number}") for number in range(len(more))]
    for each, labels in zip(found, ({}, *more), strict=True):
        each.labels.update({**OWN, **labels})  # type: ignore[attr-defined]
    return found


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        ([], 1),
        ([{}], 2),
        ([{}, {}, {}], 2),
        ([{names.OPERATOR_LABEL: "false"}], 1),
        ([{names.VERSION_LABEL: "v2"}], 1),
        ([{ARCH_LABEL: "arm64"}], 1),
        ([{ARCH_LABEL: "arm64"}, {}], 2),
    ],
)
def test_a_second_one_needs_a_second_node_that_has_its_image(
    more: list[dict[str, str]], wanted: int
) -> None:
    assert replicas(nodes(*more), "home") == wanted


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        ([], 1),
        ([{names.OPERATOR_LABEL: "false"}], 2),
        ([{names.VERSION_LABEL: "v2"}], 2),
        ([{ARCH_LABEL: "arm64"}], 1),
    ],
)
def test_an_image_of_a_registry_can_be_on_any_node(more: list[dict[str, str]], wanted: int) -> None:
    assert replicas(nodes(*more), "home", pulled=True) == wanted


def test_outside_of_the_cluster_it_scales_nothing() -> None:
    assert replicas(nodes({}), "") == 0
