"""Waiting until the k3s of this node answers that it is ready. It starts and changes nothing.

A server is asked for /readyz of its API (kubernetes.io, "Kubernetes API health endpoints"), an
agent for the kubelet's /healthz. There is no end: a first start may load images for long.
"""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from k3os.system.console import Say

POLL_SECONDS = 2
TELL_SECONDS = 60
ANNOUNCE_SECONDS = 600
KUBELET = "http://127.0.0.1:10248/healthz"


def wait_until_ready(
    is_ready: Callable[[], bool],
    *,
    log: Say,
    say: Say,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Ask until it is; log gets a line each minute, say one on the consoles when it is long."""
    started = monotonic()
    tell = TELL_SECONDS
    announced = False
    while not is_ready():
        waited = monotonic() - started
        if waited >= tell:
            log(f"k3s is not ready after {waited / 60:.0f} min; still waiting")
            tell += TELL_SECONDS
        if waited >= ANNOUNCE_SECONDS and not announced:
            say("k3s is not ready after 10 minutes; see `journalctl -u k3s`")
            announced = True
        sleep(POLL_SECONDS)


def server_is_ready(kubeconfig: str) -> bool:
    """Whether the API server of the kubeconfig is."""
    from k3os.system.run import CommandError, run

    if not os.path.exists(kubeconfig):
        return False  # k3s writes it at its start; kubectl is large, and not for asking in vain
    try:
        answer = run(
            ["kubectl", "get", "--raw=/readyz"], env={"KUBECONFIG": kubeconfig}, timeout=30
        )
    except (CommandError, OSError):
        return False
    return answer.strip() == b"ok"


def agent_is_ready(url: str = KUBELET) -> bool:
    """Whether the kubelet is."""
    from k3os.system import http
    from k3os.system.http_failure import HttpError

    try:
        http.get(url, tries=1, timeout=10)
    except HttpError:
        return False
    return True
