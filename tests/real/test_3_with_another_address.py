"""An agent that gets another address by DHCP. The last of these steps: it keeps that address."""

from __future__ import annotations

from tests.real.cluster import Cluster
from tests.real.moving import check_move


def test_other_address(cluster: Cluster) -> None:
    """An agent gets another address, becomes Ready with it, and its pods keep running."""
    check_move(cluster.server, cluster.agent)
