"""What is said of what k3os.node.status has collected: the lines for people, and what is wrong."""

from __future__ import annotations

from k3os.config.key import PHASES
from k3os.paths import OWN_SYSTEM
from k3os.phases.actions import FAILED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAKE_ROOM = (
    "if it was this machine before a reset, type on a server: "
    "kubectl -n kube-system delete secret {}.node-password.k3s"
)
SHORT_HINT = (
    "what helps: more memory; an agent instead of a server; less on it: `kubectl top pods -A`, "
    "`--disable=traefik` and the like in k3os.k3s_args; docs/explanation/resources.md#memory"
)
DISK_HINT = (
    "what helps: `sudo du -xhd 3 /var | sort -h | tail`, `sudo crictl rmi --prune`, a larger disk; "
    "docs/how-to/troubleshooting.md#var-is-full"
)


def _about_memory(memory: dict[str, Any]) -> list[str]:
    if not memory["MemTotal"]:
        return []
    total, available = (memory[name] // 1024 for name in ("MemTotal", "MemAvailable"))
    swap, free = (memory[name] // 1024 for name in ("SwapTotal", "SwapFree"))
    swapped = f"; swap {swap} MiB, {swap - free} MiB used" if swap else ""
    found = [f"memory     {total} MiB, {available} MiB available{swapped}"]
    found += [f"           SHORT: {reason}" for reason in memory["short"]]
    return found + ([f"           {SHORT_HINT}"] if memory["short"] else [])


def _about_disk(disk: dict[str, Any]) -> list[str]:
    if not disk:
        return []
    found = [f"/var       {disk['size']} MiB, {disk['free']} MiB free"]
    if disk["errors"]:
        found.append(f"           ERRORS: {disk['errors']}")
    if disk["level"]:
        found += [f"           {disk['level'].upper()}: {disk['words']}", f"           {DISK_HINT}"]
    return found


def _about_k3s(unit: dict[str, Any]) -> str:
    """In words; "" when there is nothing to say."""
    if not unit:
        return ""
    active = unit["ActiveState"]
    if unit["there"] and active == "active":
        return "is running"
    if unit["LoadState"] == "masked":
        return "is not started here: its unit is masked, as the mode install does"
    if unit["waits_for"]:
        what = "has not been started yet" if unit["there"] else "is not there, and not fetched yet"
        return f"{what}: the boot waits for {unit['waits_for']}"
    state = f"{active}, {unit['SubState']}"
    trouble = is_in_trouble(unit)
    if trouble:
        state += f", restarts: {unit['NRestarts']}"
    what = "is not there, the node fetches it"
    if unit["there"]:
        what = "is starting" if active == "activating" and not trouble else "is not running"
    return f"{what} ({state}): `journalctl -u {unit['unit']}`"


def is_in_trouble(unit: dict[str, Any]) -> bool:
    """It ended by itself and is started again and again. While it starts, it is not."""
    return bool(unit) and unit["ActiveState"] != "active" and unit["NRestarts"] not in ("", "0")


def failures(status: dict[str, Any]) -> list[str]:
    """A line for each failed action and each error of a source in all phases; k3s; damage."""
    found = []
    for phase, report in status.get("phases", {}).items():
        for action in report["actions"]:
            if action["result"] == FAILED:
                found.append(
                    f"{phase}: {action['from']}: {action['key']}: "
                    f"{action['what']}: {action['reason']}"
                )
        found += [f"{phase}: {_problem(each)}" for each in report["problems"] if _is_error(each)]
    if is_in_trouble(unit := status.get("k3s", {})):
        found.append(f"k3s: {_about_k3s(unit)}")
    if name := status.get("refused"):
        found.append(f"k3s: the cluster knows another node {name}; {MAKE_ROOM.format(name)}")
    if (disk := status.get("disk", {})) and disk["level"] == "full":
        found.append(f"disk: {disk['words']}")
    if disk and disk["errors"]:
        found.append(f"disk: {disk['errors']}")
    for path, reason in status.get("verified", {}).get("damaged", {}).items():
        found.append(f"verify: {OWN_SYSTEM}/{path}: {reason}")
    return list(dict.fromkeys(found))


def _is_error(problem: dict[str, Any]) -> bool:
    return bool(problem["level"] == "error")


def _problem(problem: dict[str, Any]) -> str:
    where = problem["source"]
    if problem["line"]:
        where += f":{problem['line']}:{problem['column']}"
    hint = f"; {problem['hint']}" if problem["hint"] else ""
    return f"{where}: {problem['key']}: {problem['message']}{hint}"


def lines(status: dict[str, Any]) -> list[str]:
    """The text for people."""
    found = [f"mode       {status.get('mode', 'unknown: no phase has reported')}"]
    for name, parts in status["versions"].items():
        listed = "  ".join(f"{part} {version}" for part, version in parts.items())
        found.append(f"{name:<10} {listed}")
    if about := _about_k3s(status["k3s"]):
        found.append(f"k3s        {about}")
    if words := status["k3s"].get("last_words"):
        found.append(f"           it ended with: {words}")
    if names := status.get("not_in_k3s"):
        found.append(f"           it runs without the new {', '.join(names)}:")
        found.append("           `sudo k3os config --restart`; pods go on")
    if name := status["refused"]:
        found.append(f"refused    the cluster knows another node {name}, and refuses this one")
        found.append(f"           {MAKE_ROOM.format(name)}")
    ready = status["ready"]
    if ready and ready["status"] != "True" and status["k3s"].get("ActiveState") == "active":
        found.append(f"node       is not Ready since {ready['since']}: {ready['message']}")
    for name, values in status.get("k3s_given", {}).items():
        if values:
            found.append(f"           {name}: {', '.join(values)}")
    found += _about_memory(status["memory"])
    found += _about_disk(status.get("disk", {}))
    if outdated := status.get("loaders"):
        from k3os.generation import boot_loaders

        found += boot_loaders.lines(outdated)
    if status["on_trial"]:
        found.append("trial      what is new is on trial: `journalctl -u k3os-confirm`")
    if rollback := status["rollback"]:
        parts = "  ".join(f"{part} {version}" for part, version in rollback["failed"].items())
        found.append(f"rollback   {rollback['when']}: {parts}")
        found.append(f"           {rollback['reason']}")
    if taken := status["taken_back"]:
        found.append(f"taken back {taken['restored']}: the NodePool's new configuration")
        found.append(f"           {taken['reason']}")
    if verified := status["verified"]:
        bad = len(verified["damaged"])
        result = f"{bad} damaged: `k3os status --verify`" if bad else "as they should be"
        found.append(f"files      {verified['when']}: {verified['files']} read, {result}")
    found.append(f"hostname   {status['hostname']}")
    if status["node_name"] and status["node_name"] != status["hostname"].lower():
        note = "the name it registered with; a rename of the host does not change it"
        found.append(f"node name  {status['node_name']} ({note})")
    found += [f"address    {address}" for address in status["addresses"]]
    if status["clock_in_doubt"]:
        note = "no time server has answered since: it is probably wrong"
        found.append(f"clock      said {status['clock_in_doubt']} at the start; {note}")
    for phase, report in status.get("phases", {}).items():
        counts = [each["result"] for each in report["actions"]]
        listed = ", ".join(f"{counts.count(each)} {each}" for each in dict.fromkeys(counts))
        title = f"phase {phase}" if phase in PHASES else phase
        found.append(f"\n{title}, {report['when']}, {report['seconds']} s: {listed}")
        for action in report["actions"]:
            note = f" ({action['reason']})" if action["reason"] else ""
            if action["result"] != FAILED:
                found.append(f"  {action['result']:<9} {action['key']}: {action['what']}{note}")
        found += [f"  warning   {_problem(p)}" for p in report["problems"] if not _is_error(p)]
    failed = failures(status)
    found += ["", *(f"FAILED {line}" for line in failed)] if failed else []
    return found
