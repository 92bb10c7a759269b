"""Download what a key refers to by URL, within the time left for the key."""

from __future__ import annotations

from k3os.phases.environment import adopt
from k3os.system.http import get
from k3os.system.http_failure import HttpError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.phases.budget import Budget
    from k3os.phases.node import Node

# DNS may be available later than the network
TRIES, PAUSE = 5, 1.0


def get_within(budget: Budget, node: Node, url: str, *, limit: int, most: float) -> bytes:
    """limit: bytes. most: seconds for this one. Raises HttpError, also if no time is left."""
    adopt(node.environment)
    seconds = budget.seconds(most)
    if seconds < 1:
        raise HttpError("there is no time left for it", "the next boot tries again")
    return get(url, limit=limit, tries=TRIES, pause=PAUSE, deadline=seconds)
