"""Report the state of this node to the cluster. Run by k3os-report.service.

Then `kubectl describe node` shows which key could not be applied, and the operator knows what
runs. It changes this node's own Node and nothing else.
"""

from __future__ import annotations

import json
import os
import sys
import time

from k3os import names
from k3os.paths import NODE_NAME
from k3os.system.files import text_of
from k3os.system.stamps import utc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from k3os.cluster.node_status import NodeStatus
    from k3os.config.load import Config

SENT = "/run/k3os/report.json"
# k3s creates it for --with-node-id
NODE_ID = "/etc/rancher/node/id"
# k3os-report.path starts the service while this file exists, and the service removes it first of
# all: news that arrive during a run trigger another one
WANTED = "/run/k3os/report-wanted"
PATIENCE = 300.0  # seconds
LONGEST_PAUSE = 10.0
READY_UNIT = "k3os-node-ready.service"


def message(known: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The current state: a patch of the Node, and its condition. known: the last result."""
    from k3os.node.status import collect

    return _message(known, *_configuration(), collect())


def _message(
    known: dict[str, Any], config: Config, sure: bool, status: NodeStatus
) -> tuple[dict[str, Any], dict[str, str]]:
    """sure: the configuration was read without an error."""
    from k3os.cluster import own_node, result
    from k3os.node.status_text import failures
    from k3os.system.files import read_object

    now = utc()
    sent = own_node.condition(status, failures(status), now, read_object(SENT))
    outcome = result.completed(known, status, status.boot_id)
    if outcome != known and os.geteuid() == 0:
        result.write(outcome)
    labels = own_node.labels(config.mapping("k3os.labels"), sure=sure)
    return own_node.metadata(status, labels, outcome), sent


def _completed_result() -> dict[str, Any]:
    """Of the last request. After the reboot that it announced, it is always completed, even if no
    API server is there to hear of it."""
    from k3os.cluster import result

    known = result.read()
    if known.get("state") == names.REBOOTING:
        from k3os.node.status import collect

        status = collect()
        outcome = result.completed(known, status, status.boot_id)
        if outcome != known:
            result.write(outcome)
        return outcome
    return known


def _configuration() -> tuple[Config, bool]:
    """The node's own, and whether it was read without an error."""
    from k3os.config.load import load_config

    config, problems = load_config(cloud=True)
    return config, not any(problem.is_error for problem in problems)


def tell() -> int:
    """Report once. Raises UserError, one of kubelet.LATER if the API server is not ready."""
    from k3os.cluster import kubelet, own_node, readiness
    from k3os.node import k3s_address
    from k3os.node.status import collect
    from k3os.system.files import atomic_write
    from k3os.system.run import run

    known = _completed_result()
    api = kubelet.api()
    if api is None:
        print("k3s has not registered this node yet")
        return 0
    with api:
        config, sure = _configuration()
        status = collect()
        change, sent = _message(known, config, sure, status)
        name = node_name(config)
        api.patch_node(name, change)
        node = api.patch_node(name, {"status": {"conditions": [sent]}}, status=True)
    own_node.remember_labels(change["metadata"]["labels"])
    atomic_write(SENT, json.dumps(sent).encode())
    print(f"{sent['type']}={sent['status']}: {sent['reason']}: {sent['message']}")
    if not readiness.is_ready(_keep(node)):
        run(["systemctl", "start", "--no-block", READY_UNIT], check=False, timeout=30)
    if k3s_address.remember(node, status.addresses):
        run(["systemctl", "start", "--no-block", k3s_address.UNIT], check=False, timeout=30)
    return 0


def _keep(node: dict[str, Any]) -> dict[str, str]:
    """Its condition Ready, kept for `k3os status`."""
    from k3os.cluster import readiness
    from k3os.system.files import atomic_write

    ready = readiness.of(node)
    atomic_write(readiness.FILE, json.dumps(ready).encode())
    return ready


def until_ready() -> int:
    """Raises UserError, one of kubelet.LATER if the API server is not ready."""
    from k3os.cluster import kubelet, readiness
    from k3os.system.console import say
    from k3os.system.run import run

    api = kubelet.api()
    if api is None:
        print("k3s has not registered this node yet")
        return 0
    name = node_name(_configuration()[0])

    def restart(words: str) -> None:
        say(f"restarting k3s, whose kubelet has given up: {words}")
        run(["systemctl", "restart", "--no-block", "k3s.service"], timeout=30)

    with api:
        ready = readiness.watch(
            lambda: _keep(api.node(name)),
            seconds_running,
            restart,
            monotonic=time.monotonic,
            sleep=time.sleep,
        )
    print(f"{name} is {'Ready' if ready else 'still not Ready: `k3os status` says why'}")
    return 0


def seconds_running(unit: str = "k3s.service") -> float:
    """Since systemd started it, 0 if it does not run: org.freedesktop.systemd1(5)."""
    from k3os.system.units import properties

    started = "ExecMainStartTimestampMonotonic"
    state = properties(unit, started, "ActiveState", timeout=30)
    if state.get("ActiveState") != "active":
        return 0.0
    return time.monotonic() - int(state.get(started) or 0) / 1e6


def patiently(
    attempt: Callable[[], int],
    *,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Retry until the API server accepts it or PATIENCE is over. Raises UserError."""
    from k3os.cluster import kubelet

    end, pause = monotonic() + PATIENCE, 1.0
    while True:
        try:
            return attempt()
        except kubelet.LATER as error:
            left = end - monotonic()
            if left <= 0:
                raise
            if pause == 1.0:
                print(f"waiting: {error.message}", flush=True)
        sleep(min(pause, left))
        pause = min(2 * pause, LONGEST_PAUSE)


def request_report(wanted: str = WANTED) -> None:
    """Start a report, or another one after the current. Without a cluster nothing happens; that
    nobody can be told is not a failure of the caller."""
    try:
        os.close(os.open(wanted, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))
    except OSError as error:
        print(f"k3os: the cluster hears of it later: {error}", file=sys.stderr)


def node_name(config: Config, path: str = NODE_NAME, node_id: str = NODE_ID) -> str:
    """The name this node registers under: from its configuration, else the pinned one, else the
    host name; plus the node id if k3s was asked for one."""
    from k3os.phases.k3s import given_name
    from k3os.phases.node import Node

    name = (given_name(config, Node()) or text_of(path) or os.uname().nodename).lower()
    known = text_of(node_id)
    return f"{name}-{known}" if known and _has_id(config) else name


def _has_id(config: Config) -> bool:
    from k3os.config.k3s_flags import FILE
    from k3os.k3s.settings import is_true, of_arguments, of_files
    from k3os.phases.k3s import arguments

    # a file that was broken later is not the one that k3s has read
    return is_true(of_files(FILE, lenient=True) | of_arguments(arguments(config)), "with-node-id")
