"""Whether this boot is healthy, and the end of a trial: of a version, or of a NodePool's
configuration. k3os-confirm.service runs this in a boot that is a trial.

Healthy means: systemd has started everything, the network is up, k3s answers, and the commands of
k3os.upgrade.check succeed. Otherwise the machine restarts with the former version or configuration.
"""

from __future__ import annotations

import os
import time

from k3os.errors import UserError
from k3os.paths import BASE, EXTENSIONS, K3S_LINK, ON_TRIAL, RUNNING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from k3os.config.load import Config

POLL_SECONDS = 3.0
COMMAND_SECONDS = 60
# states of systemd that are fine; why a system is "degraded" is for people to find out
UP = ("running", "degraded")
OURS = ("k3os-confirm.service", "multi-user.target")


def conclude() -> bool:
    """Wait until this boot is healthy and keep what is on trial, or take it back and restart the
    machine; returns whether it stays. Only in a boot that is a trial."""
    from k3os.cluster import config_trial
    from k3os.config.load import load_config
    from k3os.generation import grub, trial
    from k3os.node.cluster_report import request_report
    from k3os.system import mounts
    from k3os.system.console import say
    from k3os.system.files import text_of

    config, _ = load_config(cloud=True)
    with open(ON_TRIAL, errors="replace") as file:
        seconds = float(file.read())
    # both are on trial if a request changed both
    version = bool(trial.on_trial(BASE)) or not config_trial.is_on_trial()
    missing = (lost_extensions() if version else "") or wait(checks(config), seconds)
    what, before = ("version", "previous") if version else ("configuration", "former")
    if version and trial.waits(BASE, text_of(RUNNING)):
        os.unlink(ON_TRIAL)
        say("what is on trial has not been booted yet, after a power cut: the next boot tries it")
        if missing:
            restart()
        return not missing
    if version:
        with mounts.writable(BASE):
            if missing:
                trial.fail(BASE, missing)
            else:
                trial.confirm(BASE)
                grub.name_medium(BASE, say)
    if missing:
        config_trial.fail(missing)
        say(f"this {what} is not healthy, the {before} one comes back: {missing}")
        restart()
        return False
    config_trial.confirm()
    os.unlink(ON_TRIAL)
    say(f"the new {what} is healthy: it stays")
    request_report()  # the cluster waits for this
    return True


def lost_extensions(report: str = EXTENSIONS) -> str:
    """Those of this boot that are not as they should be, which no waiting changes, or ""."""
    from k3os.generation.extensions import failures
    from k3os.system.files import read_object

    found = failures(read_object(report))
    return "; ".join(f"the extension {name}: {reason}" for name, reason in found.items())


def restart() -> None:
    """Restart the machine, even if systemd itself hangs."""
    from k3os.system import power
    from k3os.system.run import CommandError, run

    try:
        run(["systemctl", "--no-block", "reboot"], timeout=30)
    except CommandError:
        power.reboot()


def checks(config: Config) -> list[Callable[[], str]]:
    """What must be fine, in order; each returns what is missing, or ""."""
    asked = [systemd_is_up, network_is_up]
    if os.path.exists(K3S_LINK):
        asked.append(lambda: k3s_is_ready(config))
    return [*asked, lambda: own_checks(config)]


def wait(
    asked: list[Callable[[], str]],
    limit: float,
    *,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Ask until all is fine or limit seconds have passed; returns what is still missing, or ""."""
    end = monotonic() + limit
    while True:
        missing = next((said for check in asked if (said := check())), "")
        if not missing or monotonic() >= end:
            return f"{missing} (after {limit:.0f} s)" if missing else ""
        sleep(POLL_SECONDS)


def systemd_is_up() -> str:
    from k3os.system.run import run

    state = run(["systemctl", "is-system-running"], check=False, timeout=30).decode().strip()
    if state in UP:
        return ""
    if state != "starting":
        return f"systemd says {state or 'nothing'}"
    left = unfinished()
    return f"systemd says starting, not done: {', '.join(left)}" if left else ""


def unfinished() -> list[str]:
    """The units that systemd is still starting or stopping, except this service and what waits for
    it."""
    from k3os.system.run import run

    jobs = run(["systemctl", "list-jobs", "--no-legend"], check=False, timeout=30).decode()
    left = [line.split()[1] for line in jobs.splitlines() if len(line.split()) > 2]
    return [name for name in left if name not in OURS]


def network_is_up() -> str:
    from k3os.node.status import addresses

    return "" if addresses() else "no interface has an address"


def k3s_is_ready(config: Config) -> str:
    """What is not ready of the k3s that the configuration asks for, or ""."""
    from k3os.k3s import ready
    from k3os.k3s.settings import of_node
    from k3os.phases.commands import KUBECONFIG
    from k3os.phases.k3s import arguments
    from k3os.phases.node import Node
    from k3os.phases.shutdown import k3s_version

    try:
        settings = of_node(config)
    except UserError as error:
        return str(error)
    port = kubelet_port(config, k3s_version(Node()))
    return ready.missing(arguments(config)[0], settings, KUBECONFIG, port)


def kubelet_port(config: Config, version: tuple[int, int] | None) -> str:
    """Its health port: from k3os.kubelet, if this version of k3s (None: unknown) reads that."""
    from k3os.config.by_version import obstacle
    from k3os.config.kubelet import KEY
    from k3os.k3s import ready

    told = {} if obstacle(KEY, version) else config.mapping(KEY)
    return str(told.get("healthzPort", ready.HEALTHZ_PORT))


def own_checks(config: Config) -> str:
    from k3os.system.run import CommandError, run

    for item in config.items("k3os.upgrade.check"):
        words = item.data
        argv = [str(word.data) for word in words] if isinstance(words, list) else []
        argv = argv or ["/bin/sh", "-c", str(words)]
        try:
            run(argv, timeout=COMMAND_SECONDS)
        except CommandError as error:
            return f"k3os.upgrade.check: {error}"
    return ""
