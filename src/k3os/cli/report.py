"""`k3os report`: tell the cluster how this node is. k3os-report.service calls it.

`kubectl describe node` then shows which key could not be applied, and the operator knows what
runs. It changes this node's own Node and nothing else.
"""

from __future__ import annotations

import json
import os
import sys
import time

from k3os.errors import UserError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.load import Config

USAGE = """\
usage: k3os report [--dry-run]

Tell the cluster how this node is: the condition K3OSHealthy, labels and annotations of its Node.
The system does so when k3s is ready, and every 5 minutes.

  --dry-run  show what would be sent
"""
SENT = "/run/k3os/report.json"
NODE_NAME = "/var/lib/rancher/k3os/node-name"


def main(argv: list[str]) -> int:
    """Exit code 0 also before k3s has registered the node. Raises UserError."""
    if argv in (["-h"], ["--help"]):
        print(USAGE, end="")
        return 0
    if argv not in ([], ["--dry-run"]):
        print(USAGE, end="", file=sys.stderr)
        return 2
    from k3os.cli.status import collect, failures
    from k3os.cluster import kubelet, report, result
    from k3os.config.load import load_config
    from k3os.system.files import atomic_write, read_object

    config, _ = load_config(cloud=True)
    status = collect()
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    sent = report.condition(status, failures(status), now, read_object(SENT))
    known = result.read()
    outcome = result.completed(known, status, status["boot_id"])
    change = report.metadata(status, config.mapping("k3os.labels"), outcome)
    if argv:
        print(json.dumps({**change, "condition": sent}, indent=2))
        return 0
    if os.geteuid() != 0:
        raise UserError("only root may speak for this node", "write `sudo k3os report`")
    if outcome != known:
        result.write(outcome)
    api = kubelet.api()
    if api is None:
        print("k3s has not registered this node yet")
        return 0
    name = node_name(config)
    api.patch_node(name, change)
    api.patch_node(name, {"status": {"conditions": [sent]}}, status=True)
    atomic_write(SENT, json.dumps(sent).encode())
    print(f"{sent['type']}={sent['status']}: {sent['reason']}: {sent['message']}")
    return 0


def soon() -> None:
    """Have it done now. Without a cluster the unit does nothing; that it cannot be told is no
    failure of whoever has news."""
    from k3os.system.run import run

    run(["systemctl", "--no-block", "start", "k3os-report.service"], check=False, timeout=30)


def node_name(config: Config, path: str = NODE_NAME) -> str:
    """The name this node registers under: that of its arguments, the pinned one, the host's."""
    from k3os.phases.k3s import arguments

    words = [word for each in arguments(config) for word in each.replace("=", " ").split()]
    if "--node-name" in words[:-1]:
        return words[words.index("--node-name") + 1]
    try:
        with open(path) as file:
            pinned = file.read().strip()
    except FileNotFoundError:
        pinned = ""
    return pinned or os.uname().nodename.lower()
