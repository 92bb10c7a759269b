"""`k3os status`: what was applied, when, what failed and why, versions, k3s, addresses, damage.

It reads /run/k3os/status.json, the generations, the network and systemd; it changes nothing.
"""

from __future__ import annotations

import json
import os
import sys

from k3os.boot.clock import WRONG
from k3os.boot.finish import K3S_LINK
from k3os.cli.clock import doubt
from k3os.cluster.readiness import FILE as READY
from k3os.config.key import PHASES
from k3os.phases.actions import FAILED
from k3os.phases.report import STATUS, read_status
from k3os.system.files import read_object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

USAGE = """\
usage: k3os status [--json]
       k3os status --verify [--running]

What was applied, what failed, versions, k3s, addresses. Exit code 1 when something is wrong.

  --json     the same for programs
  --verify   read every file of every generation from the disk and compare it with its checksum
  --running  with --verify: only those of the running system; k3os-verify.service does that
             some minutes after each boot, and once a week
"""
MAKE_ROOM = (
    "if it was this machine before a reset, type on a server: "
    "kubectl -n kube-system delete secret {}.node-password.k3s"
)
SYSTEM = "/k3os/system"
ON_TRIAL = "/run/k3os/trial"
VERIFIED = "/run/k3os/verify.json"  # k3os.upgrade.damage writes it
GENERATION = "/run/k3os/generation"
MEMORY_SHORT = "/run/k3os/memory-short"
SHORT_HINT = (
    "what helps: more memory; an agent instead of a server; less on it: `kubectl top pods -A`, "
    "`--disable=traefik` and the like in k3os.k3s_args; README, What k3s needs of memory"
)
NODE_NAME = "/var/lib/rancher/k3os/node-name"
REFUSED = "/run/k3os/refused"  # k3os-join.service writes it: the name that is taken


def main(argv: list[str]) -> int:
    """Exit code 0 when everything was applied, 1 when something failed, 2 for wrong usage."""
    if argv in (["-h"], ["--help"]):
        print(USAGE, end="")
        return 0
    if argv in (["--verify"], ["--verify", "--running"]):
        return verify(running_only="--running" in argv)
    if argv not in ([], ["--json"]):
        print(USAGE, end="", file=sys.stderr)
        return 2
    status = collect()
    if argv:
        print(json.dumps(status, indent=2))
    else:
        print("\n".join(lines(status)))
    return 1 if failures(status) else 0


def verify(*, running_only: bool, system: str = SYSTEM, record: str = VERIFIED) -> int:
    """Look for damaged files and tell; exit code 1 when there are some. Raises UserError."""
    from k3os.system.console import say
    from k3os.upgrade import damage
    from k3os.upgrade.plan import read_installed

    installed = read_installed(system, _text(GENERATION))
    generations = [installed.kept] if running_only else list(installed.manifests)
    wanted = damage.sums(installed, generations)

    def said(path: str, reason: str) -> None:
        print(f"DAMAGED  {path}: {reason}" if reason else f"fine     {path}", flush=True)

    found = damage.damaged(system, wanted, said)
    if os.geteuid() == 0:
        damage.record(record, found, len(wanted))
    if found and running_only:
        say(f"damaged: {', '.join(found)}; `sudo k3os status` says more")
    if found:
        print(f"k3os: {len(found)} of {len(wanted)} files are damaged; {damage.HINT}")
    return 1 if found else 0


def collect(root: str = "", system: str = SYSTEM) -> dict[str, Any]:
    """Everything that --json prints. Missing parts are empty, never an error."""
    status: dict[str, Any] = dict(read_status(root + STATUS))
    status["hostname"] = os.uname().nodename
    status["node_name"] = _text(root + NODE_NAME)
    status["versions"] = versions(root + system, _text(root + GENERATION))
    status["k3s"] = k3s_unit(root + K3S_LINK)
    status["refused"] = _text(root + REFUSED)
    status["ready"] = read_object(root + READY)
    status["k3s_given"] = k3s_given(root)
    status["addresses"] = addresses()
    status["memory"] = memory(root)
    status["rollback"] = rollback_record(root + system)
    status["taken_back"] = taken_back(root)
    status["verified"] = read_object(root + VERIFIED)
    status["boot_id"] = _text(f"{root}/proc/sys/kernel/random/boot_id")
    status["on_trial"] = os.path.exists(root + ON_TRIAL)
    status["clock_in_doubt"] = doubt(root + WRONG)
    return status


def k3s_given(root: str = "") -> dict[str, list[str]]:
    """k3s' settings by name, values only where they are no secrets; {} where only root may look."""
    from k3os.k3s import given

    return given.shown(given.given(root))


def taken_back(root: str = "") -> dict[str, Any]:
    """What k3os.cluster.former left when a NodePool's configuration did not prove itself, or {}."""
    from k3os.cluster import former

    return former.taken_back(root)


def rollback_record(system: str) -> dict[str, Any]:
    """What k3os.upgrade.trial left when a new version did not come up, or {}."""
    return read_object(f"{system}/rollback.json")


def versions(system: str, generation: str = "") -> dict[str, Any]:
    """Of the running system, and of the generations on the disk.

    generation: the one that was booted, "generations/3".
    """
    from k3os import __version__

    running = _parts(f"{system}/{generation}") if generation else {}
    found: dict[str, Any] = {
        "running": {"k3os": __version__, **running, "kernel": os.uname().release}
    }
    for name in ("current", "previous"):
        if parts := _parts(f"{system}/{name}"):
            found[name] = parts
    return found


def _parts(generation: str) -> dict[str, str]:
    manifest = read_object(f"{generation}/manifest.json")
    return {
        part: version_of(manifest.get(part))
        for part in ("k3os", "kernel", "k3s")
        if manifest.get(part)
    }


def version_of(part: object) -> str:
    """A manifest names a part by its version, or by a map that has one."""
    return str(part.get("version", "?")) if isinstance(part, dict) else str(part)


def addresses() -> list[str]:
    """Global addresses of interfaces that are not a network plugin's, by ip(8)."""
    from k3os.system.run import CommandError, run

    try:
        output = run(["ip", "-json", "address", "show", "scope", "global", "up"], timeout=10)
        interfaces = json.loads(output)
    except (CommandError, ValueError):
        return []
    return [
        f"{interface['ifname']} {address['local']}/{address.get('prefixlen', '')}"
        for interface in interfaces
        if not str(interface.get("ifname", "veth")).startswith(("veth", "cni", "flannel", "cali"))
        for address in interface.get("addr_info", [])
        if "local" in address
    ]


def memory(root: str = "") -> dict[str, Any]:
    """kB of memory and swap, and the reasons why it is short (/usr/lib/k3os/memory)."""
    from k3os.system import memory

    known = memory.read(f"{root}/proc/meminfo")
    names = ("MemTotal", "MemAvailable", "SwapTotal", "SwapFree")
    short = _text(root + MEMORY_SHORT).splitlines()
    return {**{name: known.get(name, 0) for name in names}, "short": short}


def _about_memory(memory: dict[str, Any]) -> list[str]:
    if not memory["MemTotal"]:
        return []
    total, available = (memory[name] // 1024 for name in ("MemTotal", "MemAvailable"))
    swap, free = (memory[name] // 1024 for name in ("SwapTotal", "SwapFree"))
    swapped = f"; swap {swap} MiB, {swap - free} MiB used" if swap else ""
    found = [f"memory     {total} MiB, {available} MiB available{swapped}"]
    found += [f"           SHORT: {reason}" for reason in memory["short"]]
    return found + ([f"           {SHORT_HINT}"] if memory["short"] else [])


def k3s_unit(link: str) -> dict[str, Any]:
    """What systemd says of k3s' unit, or of the one that fetches it where there is none.

    systemctl(1): unit, ActiveState, SubState, NRestarts; and there, a bool. {} without systemd.
    """
    from k3os.system.run import CommandError, run

    there = os.path.exists(link)
    unit = "k3s" if there else "k3os-k3s-fetch"
    names = ["ActiveState", "SubState", "NRestarts"]
    command = ["systemctl", "show", f"--property={','.join(names)}", f"{unit}.service"]
    try:
        output = run(command, timeout=10).decode(errors="replace")
    except CommandError:
        return {}
    found = dict(line.partition("=")[::2] for line in output.splitlines())
    return {"there": there, "unit": unit, **{name: found.get(name, "") for name in names}}


def _about_k3s(unit: dict[str, Any]) -> str:
    """In words; "" when there is nothing to say."""
    if not unit:
        return ""
    if unit["there"] and unit["ActiveState"] == "active":
        return "is running"
    what = "is not running" if unit["there"] else "is not there, the node fetches it"
    state = f"{unit['ActiveState']}, {unit['SubState']}"
    if _is_in_trouble(unit):
        state += f", restarts: {unit['NRestarts']}"
    return f"{what} ({state}): `journalctl -u {unit['unit']}`"


def _is_in_trouble(unit: dict[str, Any]) -> bool:
    """It ended by itself and is started again and again. While it starts, it is not."""
    return bool(unit) and unit["ActiveState"] != "active" and unit["NRestarts"] not in ("", "0")


def _text(path: str) -> str:
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return ""


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
    if _is_in_trouble(unit := status.get("k3s", {})):
        found.append(f"k3s: {_about_k3s(unit)}")
    if name := status.get("refused"):
        found.append(f"k3s: the cluster knows another node {name}; {MAKE_ROOM.format(name)}")
    for path, reason in status.get("verified", {}).get("damaged", {}).items():
        found.append(f"verify: {SYSTEM}/{path}: {reason}")
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
