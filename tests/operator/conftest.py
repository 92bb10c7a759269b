"""The cluster of these tests: the emulator, or with KUBECONFIG any real one.

Of a real one they need kube-apiserver and kube-controller-manager (with etcd or what stands for
it), no nodes: those are simulated. `k3s server --disable-agent` is enough.
"""

import os
from contextlib import nullcontext

import pytest

from tests.operator.cluster import real_cluster, real_world
from tests.operator.world import World, emulated_world


@pytest.fixture(scope="session")
def kubeconfig():
    """Of a real cluster, prepared; "" for the emulator."""
    found = os.environ.get("KUBECONFIG", "")
    with real_cluster(found) if found else nullcontext():
        yield found


@pytest.fixture
def world(kubeconfig, tmp_path) -> World:
    """A namespace, the CRD, an agent for simulated nodes, and an operator that is not started."""
    making = real_world(kubeconfig, tmp_path) if kubeconfig else emulated_world(tmp_path)
    with making as found:
        yield found
        assert not found.agent.errors
        # whatever happens to the API server
        assert "Traceback" not in found.log, found.log[-6000:]


def pytest_collection_modifyitems(items) -> None:
    """Some look into the emulator, which a real cluster cannot offer."""
    if os.environ.get("KUBECONFIG"):
        skip = pytest.mark.skip(reason="needs the emulator: it counts or refuses requests")
        for item in items:
            if item.get_closest_marker("emulator"):
                item.add_marker(skip)
