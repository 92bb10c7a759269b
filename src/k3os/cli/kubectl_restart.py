"""`kubectl k3os reboot`, `rollback`, `upgrade`: drain a node, restart it (as it is, with its
previous generation, or with other versions), and let it take pods again.

It parses the arguments and prints; k3os.cluster.restart does the work, by the rules of a rollout.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from k3os import names
from k3os.cli.kubectl_history import undo
from k3os.cli.kubectl_node import NODE_NAME, add_command, end_in_order
from k3os.cluster.by_hand import check, owner
from k3os.cluster.kubectl import NODES, POOLS, Kubectl, NotThere, parsed
from k3os.cluster.node import NodeView
from k3os.cluster.objects import inside, texts
from k3os.cluster.on_node import find, on_node
from k3os.cluster.request import NodeRequest, Wanted, Work, parse
from k3os.cluster.restart import Order, cluster_of, restart
from k3os.cluster.spec import Pool
from k3os.cluster.target import changes
from k3os.config.key import AT_BOOT
from k3os.errors import UserError, visible
from k3os.node.apply import upgrade_arguments

FAILED = 1
SECONDS = 1200
TEXTS = {
    "reboot": "drain a node, restart it, and uncordon it",
    "rollback": "a node: drain it, boot its previous generation; a NodePool: as `rollout undo`",
    "upgrade": "drain one node and restart it with other versions; for several, use a NodePool",
}
NODE = ("NODE", NODE_NAME)
EITHER = ("NAME", "name of a node or a NodePool; node/NAME or nodepool/NAME if both have it")
BACK = ("k3os", "upgrade", "--rollback", "--no-reboot")
POD_SECONDS, ASK_SECONDS = 600, 120.0
CHECK_SECONDS = 500.0  # to check a release without downloading it
RESTARTS = tuple(TEXTS)
ABOUT = """\

The node is drained as in a rollout, with the strategy.drain of its NodePool: evictions in the
order of priorities, within PodDisruptionBudgets. A node that a rollout is working on is refused,
and so is a server while another one restarts or etcd has no member to spare. Meanwhile no rollout
starts with the node. The rights that it needs: docs/how-to/fleet.md.
"""


def add_parsers(
    commands: Any, shared: argparse.ArgumentParser, duration: Callable[[str], int | None]
) -> None:
    """commands: as add_subparsers returns them. duration: parses a time span."""
    for name, text in TEXTS.items():
        one = add_command(commands, shared, name, text, ABOUT)
        metavar, meant = EITHER if name == "rollback" else NODE
        one.add_argument("node", metavar=metavar, help=meant)
        one.add_argument(
            "--timeout",
            type=duration,
            default=SECONDS,
            metavar="DURATION",
            help="for the whole command: 10m, 1h30m (default: 20m)",
        )
        one.add_argument(
            "--force",
            action="store_true",
            help="also evict pods that no controller starts elsewhere",
        )
        if name == "upgrade":
            one.add_argument("--k3os", default="", metavar="VERSION", help="k3OS and its kernel")
            one.add_argument("--k3s", default="", metavar="VERSION", help="k3s")
            text = "where the releases of k3OS are (default: as its NodePool says)"
            one.add_argument("--url", default="", metavar="URL", help=text)
        if name == "rollback":
            one.add_argument(
                "--allow-rollback",
                action="store_true",
                help="for a NodePool: allow older versions (sets spec.strategy.rollback to Allow)",
            )


def restarts(kubectl: Kubectl, options: argparse.Namespace) -> int:
    """Exit code: FAILED when the node is back, but unhealthy. Raises UserError."""
    if options.command == "rollback" and (pool := _nodepool(kubectl, options.node)):
        return undo(kubectl, pool, None, allow=options.allow_rollback)
    end_in_order()
    before = find(kubectl, options.node)
    order = Order(options.command, options.timeout or SECONDS, force=options.force)
    if options.command == "rollback":
        return _back(kubectl, before, replace(order, program=BACK))
    if options.command == "upgrade":
        return _forward(kubectl, before, order, options)
    return restarted(kubectl, before, order)


def _nodepool(kubectl: Kubectl, name: str) -> str:
    """The name of the NodePool, "" when a node is meant. Raises UserError."""
    kind, slash, rest = name.rpartition("/")
    if slash:
        return rest if kind.startswith(("nodepool", names.SHORT)) else ""
    try:
        is_pool = name in kubectl.objects(POOLS)
    except NotThere:
        return ""
    if is_pool and name in kubectl.objects(NODES):
        raise UserError(
            f"there are a node and a NodePool {name!r}", f"write node/{name} or nodepool/{name}"
        )
    return name if is_pool else ""


def _back(kubectl: Kubectl, before: NodeView, order: Order) -> int:
    """Raises UserError."""
    cluster, pools = cluster_of(kubectl)
    check(before, cluster, time.time())
    with on_node(kubectl, before, POD_SECONDS) as there:
        answer = parsed(there.output(("k3os", "status", "--json"), ASK_SECONDS))
    versions = texts(inside(answer, "versions", "previous"))
    if not versions:
        raise UserError("has no previous generation", "nothing was changed", before.name)
    check_owner(before, owner(before, pools), versions)
    return restarted(kubectl, before, order, versions)


def _forward(kubectl: Kubectl, before: NodeView, order: Order, options: argparse.Namespace) -> int:
    """Raises UserError."""
    cluster, pools = cluster_of(kubectl)
    pool = owner(before, pools)
    request = requested(options, pool)
    pairs = (("k3os", request.k3os, before.k3os), ("k3s", request.k3s, before.k3s))
    new = {
        name: wanted.version for name, wanted, has in pairs if wanted and not wanted.is_met_by(has)
    }
    if not new:
        told(before.name, "has these versions already")
        return 0
    check(before, cluster, time.time())
    check_owner(before, pool, new)
    work = Work("k3os" in new, "k3s" in new, config=False, effect=AT_BOOT)
    looks = upgrade_arguments(replace(request, dry_run=True), work)
    with on_node(kubectl, before, POD_SECONDS) as there:
        there.output(("k3os", "upgrade", *looks), CHECK_SECONDS)
    program = ("k3os", "upgrade", *upgrade_arguments(request, work))
    return restarted(kubectl, before, replace(order, program=program), new)


def requested(options: argparse.Namespace, pool: Pool | None) -> NodeRequest:
    """The request that a NodePool would make of the node. Raises UserError."""
    if not options.k3os and not options.k3s:
        raise UserError("no version was given", "give --k3os VERSION, --k3s VERSION, or both")
    url = options.url
    if options.k3os and not url:
        url = pool.target.k3os.url if pool and pool.target.k3os else ""
    if options.k3os and not url:
        raise UserError(
            "the address of the k3OS release is not known", "give --url: the release is URL/VERSION"
        )
    asked = {
        "id": options.command,
        "k3os": {"version": options.k3os, "url": url} if options.k3os else None,
        "k3s": {"version": options.k3s} if options.k3s else None,
    }
    return parse(json.dumps(asked).encode())


def check_owner(node: NodeView, pool: Pool | None, versions: Mapping[str, str]) -> None:
    """Raises UserError when a rollout would undo the change at once. versions: those that the node
    will have, by component."""
    if pool is None:
        return
    then = replace(node, k3os=versions.get("k3os", node.k3os), k3s=versions.get("k3s", node.k3s))
    known = changes(node, pool.target)
    differs = [each for each in changes(then, pool.target) if each not in known]
    if not differs:
        return
    if pool.strategy.paused:
        told(
            node.name,
            f"the NodePool {pool.name} is paused, or it would undo this: {', '.join(differs)}",
        )
        return
    raise UserError(
        f"the NodePool {pool.name} would undo this: {', '.join(differs)}",
        f"change the NodePool (`kubectl k3os rollback nodepool/{pool.name}` takes it back), or "
        f"pause it first: `kubectl k3os rollout pause {pool.name}`",
        node.name,
    )


def restarted(
    kubectl: Kubectl, before: NodeView, order: Order, wanted: Mapping[str, str] | None = None
) -> int:
    """Restart it, and print its state. wanted: the versions that it should have then, by component.
    Raises UserError, with the node's name."""
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
    for name, has in (("k3os", after.k3os), ("k3s", after.k3s)):
        if (version := (wanted or {}).get(name)) and not Wanted(version).is_met_by(has):
            told(before.name, f"has {name} {has or 'unknown'}, not {version}")
            return FAILED
    return 0


def told(name: str, text: str) -> None:
    print(f"{name}: {visible(text)}", flush=True)
