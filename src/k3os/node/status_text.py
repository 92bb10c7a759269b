"""The text of `k3os status`: the lines for people, and what is wrong."""

from __future__ import annotations

from k3os.cluster.node_status import DISK, EXTENSION, K3S, VERIFY, Failure
from k3os.config.key import PHASES
from k3os.paths import OWN_SYSTEM
from k3os.phases.actions import FAILED, UNCHANGED
from k3os.phases.table import DATA_SOURCES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.cluster.node_status import Disk, K3sUnit, Memory, NodeStatus

MAKE_ROOM = (
    "if it was this machine before a reset, type on a server: "
    "kubectl -n kube-system delete secret {}.node-password.k3s"
)
NO_ADDRESS = "none: `sudo k3os network show` says why"
SHORT_HINT = (
    "what helps: more memory; an agent instead of a server; less on it: `kubectl top pods -A`, "
    "`--disable=traefik` and the like in k3os.k3s_args; docs/explanation/resources.md#memory"
)
DISK_HINT = (
    "what helps: `sudo du -xhd 3 /var | sort -h | tail`, `sudo crictl rmi --prune`, a larger disk; "
    "docs/how-to/troubleshooting.md#var-is-full"
)


def _about_memory(memory: Memory) -> list[str]:
    if not memory.total:
        return []
    total, available = memory.total // 1024, memory.available // 1024
    swap, free = memory.swap_total // 1024, memory.swap_free // 1024
    swapped = f"; swap {swap} MiB, {swap - free} MiB used" if swap else ""
    lines = [f"memory     {total} MiB, {available} MiB available{swapped}"]
    lines += [f"           SHORT: {reason}" for reason in memory.short]
    return lines + ([f"           {SHORT_HINT}"] if memory.short else [])


def _about_disk(disk: Disk | None) -> list[str]:
    if disk is None:
        return []
    lines = [f"/var       {disk.size} MiB, {disk.free} MiB free"]
    if disk.errors:
        lines.append(f"           ERRORS: {disk.errors}")
    if disk.level:
        lines += [f"           {disk.level.upper()}: {disk.words}", f"           {DISK_HINT}"]
    return lines


def _about_k3s(unit: K3sUnit) -> str:
    if unit.there and unit.active == "active":
        return "is running"
    if unit.load == "masked":
        return "is not started here: its unit is masked, as the mode install does"
    if unit.waits_for:
        what = "has not been started yet" if unit.there else "is not there, and not fetched yet"
        return f"{what}: the boot waits for {unit.waits_for}"
    state = f"{unit.active}, {unit.sub}"
    trouble = unit.is_in_trouble
    if trouble:
        state += f", restarts: {unit.restarts}"
    what = "is not there, the node fetches it"
    if unit.there:
        what = "is starting" if unit.active == "activating" and not trouble else "is not running"
    return f"{what} ({state}): `journalctl -u {unit.unit}`"


def failures(status: NodeStatus) -> list[Failure]:
    """Each failed action and each error of a source in all phases; k3s; the disk; damage."""
    failed = []
    for name, phase in status.phases.items():
        for action in phase.actions:
            if action.result == FAILED:
                text = f"{action.place}: {action.key}: {action.what}: {action.reason}"
                failed.append(Failure(name, text, action.source))
        failed += [
            Failure(name, str(each), each.source) for each in phase.problems if each.is_error
        ]
    if status.k3s and status.k3s.is_in_trouble:
        failed.append(Failure(K3S, _about_k3s(status.k3s)))
    if name := status.refused:
        text = f"the cluster knows another node {name}; {MAKE_ROOM.format(name)}"
        failed.append(Failure(K3S, text))
    if status.k3s_address:
        failed.append(Failure(K3S, status.k3s_address))
    if status.disk and status.disk.is_full:
        failed.append(Failure(DISK, status.disk.words))
    if status.disk and status.disk.errors:
        failed.append(Failure(DISK, status.disk.errors))
    for name, reason in status.extensions.wrong.items():
        failed.append(Failure(EXTENSION, f"{name}: {reason}"))
    for path, reason in status.verified.damaged.items():
        failed.append(Failure(VERIFY, f"{OWN_SYSTEM}/{path}: {reason}"))
    return list(dict.fromkeys(failed))


def failures_from(status: NodeStatus, source: str) -> list[str]:
    """What failed of one file of the configuration."""
    return [str(each) for each in failures(status) if each.source == source]


def lines(status: NodeStatus, *, every: bool = False) -> list[str]:
    """The text for people. every: also the actions that had nothing to do."""
    said = [f"mode       {status.mode or 'unknown: no phase has reported'}"]
    for name, parts in status.versions.items():
        listed = "  ".join(f"{part} {version}" for part, version in parts.items())
        said.append(f"{name:<10} {listed}")
    said += _about_kernel_args(status)
    for number, line in enumerate(status.extensions.lines):
        said.append(f"{'extensions' if not number else '':<10} {line}")
    said += _about_k3s_and_cluster(status)
    said += _about_memory(status.memory)
    said += _about_disk(status.disk)
    if status.loaders:
        from k3os.generation import boot_loaders

        said += boot_loaders.lines(dict(status.loaders))
    said += _about_trials(status)
    if verified := status.verified:
        bad = len(verified.damaged)
        result = f"{bad} damaged: `k3os status --verify`" if bad else "as they should be"
        said.append(f"files      {verified.when}: {verified.files} read, {result}")
    said.append(f"hostname   {status.hostname}")
    if status.node_name and status.node_name != status.hostname.lower():
        note = "the name it registered with; a rename of the host does not change it"
        said.append(f"node name  {status.node_name} ({note})")
    said += [f"address    {address}" for address in status.addresses or [NO_ADDRESS]]
    if status.clock_in_doubt:
        note = "no time server has answered since: it is probably wrong"
        said.append(f"clock      said {status.clock_in_doubt} at the start; {note}")
    said += _about_phases(status, every)
    failed = failures(status)
    said += ["", *(f"FAILED {each}" for each in failed)] if failed else []
    return said


def _about_k3s_and_cluster(status: NodeStatus) -> list[str]:
    said = []
    if status.k3s:
        said.append(f"k3s        {_about_k3s(status.k3s)}")
        if status.k3s.last_words:
            said.append(f"           it ended with: {status.k3s.last_words}")
    if status.k3s_moved_to:
        said.append(f"           it restarted for this node's new address {status.k3s_moved_to}")
    if status.not_in_k3s:
        said.append(f"           it runs without the new {', '.join(status.not_in_k3s)}:")
        said.append("           `sudo k3os config --restart`; pods keep running")
    if name := status.refused:
        said.append(f"refused    the cluster knows another node {name}, and refuses this one")
        said.append(f"           {MAKE_ROOM.format(name)}")
    ready = status.ready
    if ready and not ready.is_ready and status.k3s and status.k3s.active == "active":
        said.append(f"node       is not Ready since {ready.since}: {ready.message}")
    for name, values in status.k3s_given.items():
        if values:
            said.append(f"           {name}: {', '.join(values)}")
    return said


def _about_kernel_args(status: NodeStatus) -> list[str]:
    from k3os.generation.kernel_args import shown

    running, current = (status.kernel_args.get(name) or [] for name in ("running", "current"))
    said = [f"arguments  {' '.join(running)}"] if running else []
    if running != current:
        title = "arguments " if not said else " " * 10
        said.append(f"{title} after the next boot: {shown(current)}: `sudo reboot`")
    return said


def _about_trials(status: NodeStatus) -> list[str]:
    said = []
    if status.on_trial:
        said.append("trial      what is new is on trial: `journalctl -u k3os-confirm`")
    if rollback := status.rollback:
        parts = "  ".join(f"{part} {version}" for part, version in rollback.failed.items())
        said.append(f"rollback   {rollback.when}: {parts}")
        if rollback.kernel_args:
            said.append(f"           with the kernel's arguments {rollback.kernel_args}")
        if rollback.extensions:
            said.append(f"           with the extensions {rollback.extensions}")
        said.append(f"           {rollback.reason}")
    if taken := status.taken_back:
        said.append(f"taken back {taken.restored}: the NodePool's new configuration")
        said.append(f"           {taken.reason}")
    return said


def _about_phases(status: NodeStatus, every: bool) -> list[str]:
    said = []
    for name, phase in status.phases.items():
        counts = [each.result for each in phase.actions]
        listed = ", ".join(f"{counts.count(each)} {each}" for each in dict.fromkeys(counts))
        title = f"phase {name}" if name in PHASES else name
        said.append(f"\n{title}, {phase.when}, {phase.seconds} s: {listed or 'nothing to do'}")
        for action in phase.actions:
            note = f" ({action.reason})" if action.reason else ""
            # the result of a data source is always worth showing
            told = every or note or action.result != UNCHANGED or action.key == DATA_SOURCES
            if told and action.result != FAILED:
                said.append(f"  {action.result:<9} {action.key}: {action.what}{note}")
        said += [f"  warning   {each}" for each in phase.problems if not each.is_error]
    return said
