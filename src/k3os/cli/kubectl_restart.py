"""`kubectl k3os reboot`: a node restarts when its pods have moved away, and takes pods again.

It reads the words and prints; k3os.cluster.restart does it, by the rules of a rollout.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from k3os.cli.kubectl_node import end_in_order
from k3os.cluster.kubectl import Kubectl
from k3os.cluster.node import NodeView
from k3os.cluster.on_node import find
from k3os.cluster.restart import Order, restart
from k3os.errors import UserError, visible

FAILED = 1
SECONDS = 1200
TEXTS = {
    "reboot": "restart a node: its pods move away before, and it takes pods again after it",
}
RESTARTS = tuple(TEXTS)
ABOUT = """\

The node is drained as a rollout drains it, with the strategy.drain of its NodePool: evictions in
the order of priorities, within PodDisruptionBudgets. A node that a rollout works on is refused, a
server as long as another one restarts or etcd has no member to spare, and no rollout begins with
the node meanwhile. The rights that it needs: docs/how-to/fleet.md.
"""


def add_parsers(
    commands: Any, shared: argparse.ArgumentParser, duration: Callable[[str], int | None]
) -> None:
    """commands: as add_subparsers returns them. duration: reads one."""
    for name, text in TEXTS.items():
        one = commands.add_parser(
            name,
            parents=[shared],
            help=text,
            description=f"{text}.\n{ABOUT}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        one.add_argument("node", metavar="NODE", help="its name, as `kubectl get nodes` has it")
        one.add_argument(
            "--timeout",
            type=duration,
            default=SECONDS,
            metavar="DURATION",
            help="for all of it: 10m, 1h30m (default: 20m)",
        )
        one.add_argument(
            "--force", action="store_true", help="also pods that no controller starts elsewhere"
        )


def restarts(kubectl: Kubectl, options: argparse.Namespace) -> int:
    """Exit code: FAILED where the node is back, but unwell. Raises UserError."""
    end_in_order()
    before = find(kubectl, options.node)
    order = Order(options.command, options.timeout or SECONDS, force=options.force)
    return restarted(kubectl, before, order)


def restarted(kubectl: Kubectl, before: NodeView, order: Order) -> int:
    """Do it, and say how the node is. Raises UserError, with the node's name."""
    try:
        after = restart(kubectl, before.name, order, lambda text: told(before.name, text))
    except UserError as error:
        error.where = error.where or before.name
        raise
    versions = ", ".join(filter(None, (f"k3OS {after.k3os}", after.k3s and f"k3s {after.k3s}")))
    told(before.name, f"is Ready again: {versions}")
    if after.healthy is False:
        told(before.name, f"is not healthy: {after.health_reason}: {after.health}")
        return FAILED
    return 0


def told(name: str, text: str) -> None:
    print(f"{name}: {visible(text)}", flush=True)
