"""Whether the cluster counts this node as Ready, and what to do if it never will by itself.

A kubelet that cannot create its CSINode in about two minutes exits (Kubernetes, pkg/volume/csi). In
k3s up to 1.23 it is a thread: k3s keeps running, `systemctl` calls it active, and the node stays
NotReady until somebody restarts it. Seen on a machine that was busy during k3s' first start.
"""

from __future__ import annotations

from k3os.cluster.objects import conditions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

FILE = "/run/k3os/node-ready.json"
GIVEN_UP = "failed to initialize CSINode"
# seconds; the kubelet gives up in less than half of that
GIVES_UP_AFTER = 300
POLL = 10
# how long to watch a node; k3os-report.timer looks again later
LONGEST = 900


def of(node: dict[str, Any]) -> dict[str, str]:
    """status, since, reason and message of a Node's condition Ready; {} if it has none."""
    ready = conditions(node).get("Ready", {})
    names = {
        "status": "status",
        "since": "lastTransitionTime",
        "reason": "reason",
        "message": "message",
    }
    return {name: str(ready.get(field) or "") for name, field in names.items()} if ready else {}


def is_ready(ready: dict[str, str]) -> bool:
    return ready.get("status") == "True"


def has_given_up(ready: dict[str, str], running: float) -> bool:
    """Whether only a restart of k3s helps. running: seconds since k3s was started."""
    gave_up = ready.get("status") == "False" and GIVEN_UP in ready.get("message", "")
    return gave_up and running > GIVES_UP_AFTER


def watch(
    look: Callable[[], dict[str, str]],
    running: Callable[[], float],
    restart: Callable[[str], None],
    *,
    monotonic: Callable[[], float],
    sleep: Callable[[float], None],
) -> bool:
    """Wait until the node is Ready, at most LONGEST; returns whether it is. Calls restart with the
    kubelet's message if it has given up, at most once per start of k3s."""
    end = monotonic() + LONGEST
    while not is_ready(ready := look()):
        if has_given_up(ready, running()):
            restart(ready["message"])
        if monotonic() >= end:
            return False
        sleep(POLL)
    return True
