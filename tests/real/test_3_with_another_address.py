"""An agent whose DHCP server gives it another address. Last: it stays with that one."""

from __future__ import annotations

from tests.real.cluster import Cluster
from tests.real.moving import check_move


def test_other_address(cluster: Cluster) -> None:
    """An agent gets another address, and is Ready with it; its pods keep running."""
    check_move(cluster.server, cluster.agent)
