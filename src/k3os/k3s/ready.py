"""Waiting until the k3s of this node reports that it is ready. It starts and changes nothing.

A server is asked for /readyz of its API (kubernetes.io, "Kubernetes API health endpoints"), an
agent for the kubelet's /healthz. There is no time limit: a first start may load images for long.
Which parts a server runs can be chosen (docs.k3s.io, "Managing Server Roles"): one for etcd only
has no API server, one without an agent has no kubelet.
"""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from k3os.k3s.settings import Settings
    from k3os.system.console import Say

POLL_SECONDS = 2
TELL_SECONDS = 60
ANNOUNCE_SECONDS = 600
HEALTHZ_PORT = "10248"  # the kubelet's default
KUBELET = "http://{}:{}/healthz"
# k3s' kubelet listens on the loopback address of the node's first IP family (pkg/daemons/agent)
LOOPBACK = ("127.0.0.1", "::1")
ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}
UNIT = "k3s.service"


def wait_until_ready(
    is_ready: Callable[[], bool],
    *,
    log: Say,
    say: Say,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Ask until it is; log gets a line per minute, say one on the consoles if it takes long."""
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


def missing(role: str, settings: Settings, kubeconfig: str, port: str = HEALTHZ_PORT) -> str:
    """What of this node's k3s is not ready, "" if everything is.

    role: "server" or "agent"; kubeconfig: where a server writes its own by default; port: from the
    kubelet's configuration file. If no part can be asked, systemd knows whether k3s has reported
    that it is ready (sd_notify(3)).
    """
    from k3os.k3s.settings import is_true, last

    is_server = role == "server"
    if is_server and not is_true(settings, "disable-apiserver"):
        kubeconfig = last(settings, "write-kubeconfig") or kubeconfig
        return "" if server_is_ready(kubeconfig) else "k3s' API server is not ready"
    port = of_kubelet(settings, "healthz-port") or port
    if port != "0" and not (is_server and is_true(settings, "disable-agent")):
        urls = [KUBELET.format(host, port) for host in _hosts(settings)]
        return "" if any(map(agent_is_ready, urls)) else "k3s' kubelet is not ready"
    return "" if has_said_so() else "k3s has not said that it is ready"


def of_kubelet(settings: Settings, wanted: str) -> str:
    """One of the kubelet's arguments; "" if it is not given."""
    values = [each.partition("=") for each in settings.get("kubelet-arg", [])]
    return next((value for name, _, value in reversed(values) if name == wanted), "")


def _hosts(settings: Settings) -> list[str]:
    """Where the kubelet may be listening, in the form for URLs."""
    told = of_kubelet(settings, "healthz-bind-address")
    addresses = [ANY.get(told, told)] if told else LOOPBACK
    return [f"[{each}]" if ":" in each else each for each in addresses]


def has_said_so() -> bool:
    """Whether its unit is active, which waits for that report."""
    from k3os.system.run import CommandError
    from k3os.system.units import properties

    try:
        return properties(UNIT, "ActiveState", timeout=30).get("ActiveState") == "active"
    except CommandError:
        return False


def server_is_ready(kubeconfig: str) -> bool:
    """Whether the kubeconfig's API server is ready."""
    from k3os.system.run import CommandError, run

    if not os.path.exists(kubeconfig):
        return False  # k3s writes it at start; kubectl is too large to start in vain
    try:
        answer = run(
            ["kubectl", "get", "--raw=/readyz"], env={"KUBECONFIG": kubeconfig}, timeout=30
        )
    except (CommandError, OSError):
        return False
    return answer.strip() == b"ok"


def agent_is_ready(url: str) -> bool:
    """Whether the kubelet is ready. It is on this host: ignore proxies of the environment."""
    from k3os.system import http
    from k3os.system.http_direct import Direct
    from k3os.system.http_failure import HttpError

    try:
        http.get(url, tries=1, timeout=10, direct=Direct(10))
    except HttpError:
        return False
    return True
