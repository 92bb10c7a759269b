"""What is done for pods when the machine goes down.

`watch` is started when logind says that a shutdown begins, while the kubelet ends the pods; it
says what is waited for. `finish` runs when k3s has stopped and ends what is left, so that nothing
holds the machine: pods that nobody has told, containerd's shims, mounts whose server is gone.
After the next boot `tidy` deletes the pods that were ended and have long been replaced, which
Kubernetes would list until there are thousands.
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
# survives the boot: the kubelet ended pods, so there is something to tidy
ENDED = f"{STATE}/pods-ended"
TIDY_SECONDS = 300
STEP, SAY_EVERY = 0.25, 5.0
# longer than the kubelet and logind wait
SPARE = 5
# what began that long before is another shutdown, which did not happen
CALLED_OFF_AFTER = 60
ASK_SECONDS = 3
# between SIGTERM and SIGKILL for a pod whose time was over before anybody told it: a kubelet that
# hangs takes no database's chance to write what it has
LAST_CHANCE = 2
MOST_NAMES = 6


class ShutdownGoesOn(BaseException):
    """systemd stops the services: the kubelet waits no longer."""


def watch(known: dict[str, Any]) -> None:
    """Until the pods have ended or their time is up; the kubelet is the one who ends them.

    A SIGTERM ends it with the same last line: on a slow machine it comes before the last pod's
    end was seen.
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
    """A SIGTERM ends what is inside, and nothing else."""

    def end(number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once: the last line is still to come
        raise ShutdownGoesOn

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except ShutdownGoesOn:
        return
    finally:
        signal.signal(signal.SIGTERM, before)


def finish(known: dict[str, Any]) -> None:
    """End the pods that are left, in their order and in what is left of the time; then the rest."""
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
    """The uids of this node's critical pods; None when the API server does not say."""
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
    """Exit code 1 when the API server did not answer in time: the next boot tries again."""
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
