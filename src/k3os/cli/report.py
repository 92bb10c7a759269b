"""`k3os report`: report this node's state to the cluster (k3os.node.cluster_report)."""

from __future__ import annotations

import json
import os

from k3os.cli import options
from k3os.errors import UserError
from k3os.node import cluster_report

HELP = """\
usage: k3os report [--dry-run | --until-ready]

Report this node's state to the cluster: the condition K3OSHealthy, and labels and annotations of
its Node.
The system does so when k3s is ready, when something changes, and every 5 minutes. While the API
server is not ready, it waits for 5 minutes at most; exit code 75 means it was not ready in time.

  --dry-run      show what would be sent
  --until-ready  send nothing; wait until the node is Ready in the cluster, 15 minutes at most. If
                 the kubelet has given up, k3s is restarted
"""


def main(argv: list[str]) -> int:
    """Exit code 0 also before k3s has registered the node. Raises UserError."""
    words, given = options.read(HELP, argv)
    options.count(HELP, words, 0, 0)
    options.alone(HELP, given, ("--dry-run", "--until-ready"))
    if "--dry-run" in given:
        from k3os.cluster import result

        change, sent = cluster_report.message(result.read())
        print(json.dumps({**change, "condition": sent}, indent=2))
        return 0
    if os.geteuid() != 0:
        raise UserError("only root may report for this node", "write `sudo k3os report`")
    return cluster_report.patiently(cluster_report.until_ready if given else cluster_report.tell)
