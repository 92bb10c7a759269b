"""k3os.shutdown: how much time this node's pods have to end when it shuts down.

The kubelet ends them ("Graceful node shutdown", kubernetes.io): logind(8) waits for it as long as
InhibitDelayMaxSec= says. The kubelet reads the time only from a file (KubeletConfiguration,
v1beta1). k3s 1.32 and newer passes it every file of a directory, older ones only the one that an
argument names. `k3os shutdown`, which reads SETTINGS, ends the pods that the kubelet leaves.
"""

from __future__ import annotations

import json

from k3os.config.duration import parse
from k3os.config.k3s_flags import FILE
from k3os.config.value import Place
from k3os.paths import K3S_LINK
from k3os.phases.actions import DONE, UNCHANGED, Action, Later, Refused, Remove, WriteFile
from k3os.phases.k3s import data_directory
from k3os.system.links import resolve
from k3os.system.numbers import whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.load import Config
    from k3os.phases.node import Node

GRACE, CRITICAL = "k3os.shutdown.grace_period", "k3os.shutdown.critical_grace_period"
DEFAULTS = {GRACE: 30, CRITICAL: 10}
# logind's limit is later, so that the kubelet's decides
SPARE = 5
SETTINGS = "/run/k3os/shutdown.json"
LOGIND = "/etc/systemd/logind.conf.d/50-k3os-shutdown.conf"
DROP_IN = "agent/etc/kubelet.conf.d/50-k3os-shutdown.conf"
ARGUMENT = f"{FILE}.d/60-k3os-shutdown.yaml"
# the first k3s that supports it; the first that reads the directory
ABLE, READS_DIRECTORY = (1, 22), (1, 32)


def plan(config: Config, node: Node) -> list[Action]:
    place = _place(config)
    grace, critical, actions = periods(config)
    drop_in = f"{data_directory(config)}/{DROP_IN}"
    version = k3s_version(node)
    why = obstacle(config, version) if grace else ""
    if why:
        actions.append(Later(GRACE, place, "have the kubelet end the pods", why))
    settings = json.dumps({"grace": grace, "critical": critical})
    actions.append(WriteFile(GRACE, place, SETTINGS, f"{settings}\n".encode()))
    if not grace or why:
        return [*actions, *(Remove(GRACE, place, path) for path in (LOGIND, drop_in, ARGUMENT))]
    limit = WriteFile(GRACE, place, LOGIND, logind(grace).encode())
    actions += [limit, WriteFile(GRACE, place, drop_in, kubelet(grace, critical).encode())]
    if version and version < READS_DIRECTORY:
        actions.append(WriteFile(GRACE, place, ARGUMENT, argument(drop_in).encode()))
    else:
        actions.append(Remove(GRACE, place, ARGUMENT))
    if node.phase == "runtime":
        actions.append(ReloadLogind(GRACE, place, limit))
    return actions


def _place(config: Config) -> Place:
    for path in DEFAULTS:
        value = config.get(path)
        if value is not None:
            return value.place
    return Place("default")


def periods(config: Config) -> tuple[int, int, list[Action]]:
    """Seconds for all pods, the part of them for critical pods, and refusals."""
    grace, critical = (
        parse(config.text(path)) if config.text(path) else DEFAULTS[path] for path in DEFAULTS
    )
    value = config.get(CRITICAL)
    if critical <= grace:
        return grace, critical, []
    if value is None:  # only the total was set, and it is short
        return grace, grace // 3, []
    message = f"{critical}s is more than {GRACE} ({grace}s), which includes it"
    what = "set the time for critical pods"
    refused = Refused(CRITICAL, value.place, what, message, f"write {grace}s or less")
    return grace, grace // 3, [refused]


def obstacle(config: Config, version: tuple[int, int] | None) -> str:
    """Why the kubelet cannot do it, "" if it can; without it, `k3os shutdown` ends the pods."""
    if version and version < ABLE:
        return "this k3s is older than 1.22, whose kubelet cannot"
    words = config.texts("k3os.k3s_args") + [
        str(file.data["content"].data)
        for file in config.items("write_files")
        if isinstance(file.data, dict)
        and "content" in file.data
        and str(file.data["path"].data).startswith(FILE)
    ]
    if not words:
        return ""
    import re

    text = "\n".join(words)
    if "GracefulNodeShutdown=false" in text:
        return "GracefulNodeShutdown is switched off in the arguments of k3s"
    directory_counts = version is None or version >= READS_DIRECTORY
    if not directory_counts and re.search(r"(^|[\s=\"'])config=", text, re.MULTILINE):
        return "the arguments of k3s name a file for the kubelet; shutdownGracePeriod belongs there"
    return ""


def k3s_version(node: Node) -> tuple[int, int] | None:
    """Major and minor version of the installed k3s; None if its path does not tell."""
    # …/v1.33.1+k3s1/k3s; an unknown version is named after its hash
    major, _, rest = resolve(node.root, K3S_LINK).split("/")[-2].partition(".")
    minor = rest.partition(".")[0]
    number = whole(major[1:]) if major[:1] == "v" else None
    following = whole(minor)
    return None if number is None or following is None else (number, following)


def kubelet(grace: int, critical: int) -> str:
    return (
        "# written by k3os from k3os.shutdown\n"
        "apiVersion: kubelet.config.k8s.io/v1beta1\n"
        "kind: KubeletConfiguration\n"
        f"shutdownGracePeriod: {grace}s\n"
        f"shutdownGracePeriodCriticalPods: {critical}s\n"
    )


def argument(drop_in: str) -> str:
    """A configuration file for k3s; `+` adds to the kubelet-arg of other files."""
    from k3os.config.dump import double_quoted

    item = double_quoted(f"config={drop_in}")
    return f"# written by k3os from k3os.shutdown\nkubelet-arg+:\n  - {item}\n"


def logind(grace: int) -> str:
    return f"[Login]\nInhibitDelayMaxSec={grace + SPARE}\n"


class ReloadLogind(Action):
    """logind applies a new limit at once; sessions stay."""

    __slots__ = ("after",)

    def __init__(self, key: str, place: Place, after: Action) -> None:
        super().__init__(key, place)
        self.after = after

    def describe(self) -> str:
        return "reload systemd-logind.service, if its settings changed"

    def perform(self, node: Node) -> str:
        from k3os.system.run import run

        if not node.is_real or self.after.result != DONE:
            return UNCHANGED
        run(["systemctl", "reload", "systemd-logind.service"], check=False, timeout=30)
        return DONE
