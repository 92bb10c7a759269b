"""What happens to pods when the machine goes down.

`watch` is started when logind announces a shutdown, while the kubelet ends the pods, and says what
is waited for. `finish` runs after k3s has stopped and ends what is left, so that nothing holds up
the machine: pods that were never told, containerd's shims, mounts whose server is gone. After the
next boot `tidy` deletes the pods that were ended and have been replaced; otherwise Kubernetes would
list them until there are thousands.
"""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import time

from k3os.paths import STATE
from k3os.system.plural import counted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from k3os.k3s.pods import Pod

# when this shutdown began (CLOCK_BOOTTIME), and which pods are critical
BEGUN = "/run/k3os/shutdown-begun.json"
# survives the reboot: the kubelet ended pods, so there is something to tidy
ENDED = f"{STATE}/pods-ended"
TIDY_SECONDS = 300
STEP, SAY_EVERY = 0.25, 5.0
# wait a little longer than the kubelet and logind
SPARE = 5
# if it began this long before, it was another shutdown, which was cancelled
CALLED_OFF_AFTER = 60
ASK_SECONDS = 3
# between SIGTERM and SIGKILL for a pod whose time was up before it was told: even if the kubelet
# hangs, a database gets a chance to write its data
LAST_CHANCE = 2
MOST_NAMES = 6


class ShutdownGoesOn(BaseException):
    """systemd stops the services: the kubelet no longer waits."""


def watch(known: dict[str, Any]) -> None:
    """Watch until the pods have ended or their time is up; the kubelet ends them.

    On SIGTERM it prints the same last line and ends: on a slow machine that comes before the end of
    the last pod was seen.
    """
    from k3os.k3s.pods import running
    from k3os.system.console import say
    from k3os.system.files import atomic_write

    begun, grace = _now(), known["grace"]
    atomic_write(BEGUN, json.dumps({"begun": begun}).encode())
    left = running()
    if not left or not grace:
        return
    with until_terminated():
        say(f"stopping {counted(len(left), 'pod')}, {grace} s at most")
        atomic_write(ENDED, b"")
        critical = critical_pods()
        if critical is not None:
            facts = {"begun": begun, "critical": sorted(critical)}
            atomic_write(BEGUN, json.dumps(facts).encode())
        said = _now()
        while left and _now() - begun < grace + SPARE:
            time.sleep(STEP)
            left = running()
            if _now() - said >= SAY_EVERY and left:
                said = _now()
                say(f"waiting for {listed(left)}")
    if not running():
        say(f"all pods have ended, after {_now() - begun:.0f} s")


@contextlib.contextmanager
def until_terminated() -> Iterator[None]:
    """SIGTERM ends the body of the `with`, and nothing else."""

    def end(number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # only once: the last line is still to come
        raise ShutdownGoesOn

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except ShutdownGoesOn:
        return
    finally:
        signal.signal(signal.SIGTERM, before)


def finish(known: dict[str, Any]) -> None:
    """End the remaining pods, in order and within the remaining time; then the rest."""
    from k3os.k3s.pods import kill_runtime, running
    from k3os.system.console import say
    from k3os.system.files import read_object
    from k3os.system.remote import end_iscsi, hurry_iscsi, let_go, remote_mounts

    left = running()
    if left:
        facts = read_object(BEGUN)
        if _now() - facts.get("begun", 0) > known["grace"] + CALLED_OFF_AFTER:
            facts = {}
        guess = [pod.uid for pod in left if pod.is_system]
        end(
            left,
            frozenset(facts.get("critical", guess)),
            begun=facts.get("begun", _now()),
            grace=known["grace"],
            last=known["critical"],
        )
    kill_runtime()
    sessions = hurry_iscsi()
    for mount in let_go(remote_mounts()):
        say(f"{mount.path} is given up: {mount.source} does not answer, or is in use")
    if sessions:
        end_iscsi()


def end(
    left: list[Pod], critical: frozenset[str], *, begun: float, grace: float, last: float
) -> None:
    """SIGTERM, wait, SIGKILL."""
    from k3os.k3s.pods import due, kill, running, terminate
    from k3os.system.console import say

    told: dict[str, float] = {}
    killed: set[str] = set()
    say(f"stopping {counted(len(left), 'pod')} without k3s: {listed(left)}")
    said = _now()
    limit = max(begun + grace, said + LAST_CHANCE) + SPARE
    while left:
        now = _now()
        ask, over = due(left, critical, now - begun, grace, last)
        for pod in (*ask, *over):
            if pod.uid not in told:
                told[pod.uid] = now
                terminate(pod)
        for pod in over:
            if grace and now - told[pod.uid] < LAST_CHANCE:
                continue
            if pod.uid not in killed:
                killed.add(pod.uid)
                say(f"{pod.name} did not end in time")
            kill(pod)
        if now >= limit:
            return  # it hangs in the kernel, where no signal reaches it
        if now - said >= SAY_EVERY:
            said = now
            say(f"waiting for {listed(left)}")
        time.sleep(STEP)
        left = running()


def critical_pods() -> set[str] | None:
    """The uids of this node's critical pods; None if the API server does not answer."""
    from k3os.cluster.kubelet import api, is_critical
    from k3os.errors import UserError

    try:
        server = api()
        if server is None:
            return None
        pods = server.pods(own_name(), ASK_SECONDS)
        return {pod["metadata"]["uid"] for pod in pods if is_critical(pod)}
    except UserError as error:
        print(f"which pods are critical is not known: {error}", file=sys.stderr)
        return None


def own_name() -> str:
    from k3os.config.load import load_config
    from k3os.node.cluster_report import node_name

    return node_name(load_config(cloud=True)[0])


def tidy() -> int:
    """Exit code 1 if the API server did not answer in time: the next boot tries again."""
    import os

    from k3os.cluster.kubelet import api, is_replaced
    from k3os.errors import UserError

    end = _now() + TIDY_SECONDS
    while True:
        try:
            server = api()
            if server is not None:
                for pod in server.pods(own_name(), ASK_SECONDS, "Failed"):
                    if is_replaced(pod):
                        meta = pod["metadata"]
                        server.delete_pod(meta["namespace"], meta["name"], meta["uid"])
                        print(f"deleted {meta['namespace']}/{meta['name']}, which was replaced")
                os.unlink(ENDED)
                return 0
            why = "k3s has not registered this node yet"
        except UserError as error:
            why = str(error)
        if _now() > end:
            print(why, file=sys.stderr)
            return 1
        time.sleep(SAY_EVERY)


def listed(pods: list[Pod]) -> str:
    names = ", ".join(pod.name for pod in pods[:MOST_NAMES])
    more = len(pods) - MOST_NAMES
    return f"{names} and {more} more" if more > 0 else names


def _now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)
