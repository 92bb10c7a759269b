"""The cluster of these tests: the emulator, or any real cluster if KUBECONFIG is set.

A real cluster needs kube-apiserver and kube-controller-manager (with etcd or a substitute), but no
nodes: those are simulated. `k3s server --disable-agent` is enough.
"""

import os
from collections.abc import Iterator
from contextlib import nullcontext

import pytest

from tests.operator.cluster import RealCluster, real_cluster, real_world
from tests.operator.world import World, emulated_world

FORBIDDEN = "is forbidden: User"  # what the API server says when a right is missing


@pytest.fixture(scope="session")
def cluster(tmp_path_factory) -> Iterator[RealCluster | None]:
    """A real cluster, prepared; None for the emulator."""
    found = os.environ.get("KUBECONFIG", "")
    directory = tmp_path_factory.mktemp("cluster")
    with real_cluster(found, directory) if found else nullcontext() as prepared:
        yield prepared


@pytest.fixture
def world(cluster, tmp_path) -> Iterator[World]:
    """A namespace, the CRD, an agent for simulated nodes, and an operator that is not running."""
    making = real_world(cluster, tmp_path) if cluster else emulated_world(tmp_path)
    with making as found:
        yield found
        assert not found.agent.errors
        # no matter what happens to the API server
        assert "Traceback" not in found.log, found.log[-6000:]
        assert FORBIDDEN not in found.log, found.log[-6000:]


def pytest_collection_modifyitems(items) -> None:
    """Skip tests that look into the emulator on a real cluster, and tests that need a real cluster
    on the emulator."""
    away, why = (
        ("emulator", "needs the emulator: it counts or refuses requests")
        if os.environ.get("KUBECONFIG")
        else ("cluster", "needs a real API server: the emulator validates no object")
    )
    for item in items:
        if item.get_closest_marker(away):
            item.add_marker(pytest.mark.skip(reason=why))
