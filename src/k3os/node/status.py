"""The state of this node: what was applied when, what failed and why, versions, k3s, damage.

It reads /run/k3os/status.json, the generations, the network and systemd; it changes nothing.
"""

from __future__ import annotations

import os

from k3os.cluster.node_status import (
    Disk,
    Extensions,
    K3sUnit,
    Memory,
    NodeStatus,
    Ready,
    Rollback,
    TakenBack,
    Verified,
)
from k3os.cluster.readiness import FILE as READY
from k3os.node import k3s_address
from k3os.node.clock import doubt
from k3os.paths import (
    CLOCK_WRONG,
    EXTENSIONS,
    K3S_LINK,
    NODE_NAME,
    ON_TRIAL,
    OWN_SYSTEM,
    RUNNING,
)
from k3os.phases.phase_report import STATUS, read_status
from k3os.system.files import read_object, text_of
from k3os.system.frozen import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

VERIFIED = "/run/k3os/verify.json"  # k3os.generation.damage writes it
MEMORY_SHORT = "/run/k3os/memory-short"
DISK_SHORT = "/run/k3os/disk-short"
DISK_ERRORS = "/run/k3os/disk-errors"
# what k3s.service is ordered after and may take a while, in order
BEFORE_K3S = {
    "k3os-network-online.service": "an address on some network, 30 s at most",
    "k3os-clock.service": "a time server, because the clock was wrong",
    "k3os-config.service": "the configuration's runtime phase: `journalctl -u k3os-config`",
    "k3os-k3s-fetch.service": "its download: `journalctl -u k3os-k3s-fetch`",
}
# how much of k3s' log is read for its last words; it logs more in a second than people read a day
LOG_LINES, LONGEST_WORDS = 400, 300
REFUSED = "/run/k3os/refused"  # k3os-join.service writes it: the name that is taken


def collect(root: str = "", system: str = OWN_SYSTEM) -> NodeStatus:
    """The whole status. Missing parts are empty, never an error."""
    generation = text_of(root + RUNNING)
    return NodeStatus(
        phases_file=read_status(root + STATUS),
        hostname=os.uname().nodename,
        node_name=text_of(root + NODE_NAME),
        versions=versions(root + system, generation),
        k3s=k3s_unit(root + K3S_LINK),
        refused=text_of(root + REFUSED),
        k3s_address=text_of(root + k3s_address.MESSAGE),
        k3s_moved_to=text_of(root + k3s_address.TAKEN),
        ready=Ready(read_object(root + READY)),
        k3s_given=k3s_given(root),
        not_in_k3s=not_in_k3s(root),
        addresses=addresses(),
        memory=memory(root),
        disk=disk(root),
        loaders=loaders(root + system, generation),
        kernel_args=kernel_args(root + system, generation),
        extensions=extensions(root + system, generation, root + EXTENSIONS),
        rollback=rollback(root + system),
        taken_back=taken_back(root),
        verified=Verified(read_object(root + VERIFIED)),
        boot_id=text_of(f"{root}/proc/sys/kernel/random/boot_id"),
        on_trial=os.path.exists(root + ON_TRIAL),
        clock_in_doubt=doubt(root + CLOCK_WRONG),
    )


def k3s_given(root: str = "") -> dict[str, list[str]]:
    """k3s' settings by name, with values if they are not secret; {} if only root may look."""
    from k3os.k3s import given

    return given.shown(given.given(root))


def not_in_k3s(root: str = "") -> list[str]:
    """What has changed since k3s was started; [] if only root may look."""
    from k3os.phases import changed
    from k3os.phases.node import Node

    try:
        return changed.not_in_k3s(Node(root))
    except PermissionError:
        return []


def taken_back(root: str = "") -> TakenBack:
    from k3os.cluster import config_trial

    return TakenBack(config_trial.taken_back(root))


def loaders(system: str, generation: str) -> dict[str, Any]:
    """Those on the disk, compared with those of the running k3OS; {} if there is nothing to say."""
    from k3os.generation import boot_loaders

    return boot_loaders.compare(system, generation or "current")


def kernel_args(system: str, generation: str) -> dict[str, Any]:
    """Those of the running generation ("generations/3"), of the one that boots next, and those that
    failed; {} if there are none."""
    from k3os.generation import kernel_args

    current, running = kernel_args.of_next_and_running(system, generation)
    refused = kernel_args.refused(system)
    if not (refused or current or running):
        return {}
    return {"running": list(running), "current": list(current), "refused": refused}


def extensions(system: str, generation: str, report: str = EXTENSIONS) -> Extensions:
    """Of this boot, of the generation that runs ("generations/3") and of the one that boots next.
    report: what k3os.boot.extensions has left."""
    from k3os.generation import extensions
    from k3os.generation.manifest import read_record

    known = read_object(report)
    now, then = (
        extensions.of(read_record(f"{system}/{each}"))
        for each in (generation or "current", "current")
    )
    return Extensions(known, tuple(extensions.lines(known, now, then)))


def rollback(system: str) -> Rollback:
    return Rollback(read_object(f"{system}/rollback.json"))


def versions(system: str, generation: str = "") -> dict[str, dict[str, str]]:
    """Of the running system, and of the generations on the disk.

    generation: the one that was booted, "generations/3".
    """
    from k3os import __version__

    running = _parts(f"{system}/{generation}") if generation else {}
    found = {"running": {"k3os": __version__, **running, "kernel": os.uname().release}}
    for name in ("current", "previous"):
        if parts := _parts(f"{system}/{name}"):
            found[name] = parts
    return found


def _parts(generation: str) -> dict[str, str]:
    from k3os.generation.manifest import read_record, versions_of

    known = versions_of(read_record(generation))
    return {part: known[part] for part in ("k3os", "kernel", "k3s") if part in known}


def addresses() -> list[str]:
    """Global addresses of the machine's own interfaces, by ip(8).

    Those of network plugins and tunnels are left out, unless they carry a default route: a user may
    have called a bridge br-lan.
    """
    from k3os.phases.ip_output import links_in
    from k3os.system.interfaces import NOT_OURS
    from k3os.system.run import CommandError, run

    try:
        output = run(["ip", "-json", "address", "show", "scope", "global", "up"], timeout=10)
    except CommandError:
        return []
    links = [link for link in links_in(output) if link["addr_info"]]
    others = {link["ifname"] for link in links if link["ifname"].startswith(NOT_OURS)}
    others -= carriers() if others else set()
    return [
        f"{interface['ifname']} {address['local']}/{address['prefixlen']}"
        for interface in links
        if interface["ifname"] not in others
        for address in interface["addr_info"]
    ]


def carriers() -> set[str]:
    """The interfaces that carry default routes."""
    from contextlib import suppress

    from k3os.phases.default_routes import DEFAULTS, VERSIONS
    from k3os.phases.ip_output import routes_of
    from k3os.system.run import CommandError

    found = set()
    for version in VERSIONS:
        with suppress(CommandError):  # a kernel without IPv6 has no such routes
            found |= {each["dev"] for each in routes_of(version) if each["dst"] in DEFAULTS}
    return found


def memory(root: str = "") -> Memory:
    from k3os.system import memory

    known = memory.read(f"{root}/proc/meminfo")
    return Memory(
        known.get("MemTotal", 0),
        known.get("MemAvailable", 0),
        known.get("SwapTotal", 0),
        known.get("SwapFree", 0),
        tuple(text_of(root + MEMORY_SHORT).splitlines()),
    )


def disk(root: str = "") -> Disk | None:
    """None if there is no /var."""
    try:
        known = os.statvfs(f"{root}/var")
    except OSError:
        return None
    level, _, words = text_of(root + DISK_SHORT).partition("\n")
    size, free = (each * known.f_frsize >> 20 for each in (known.f_blocks, known.f_bavail))
    return Disk(size, free, level, words, text_of(root + DISK_ERRORS))


def k3s_unit(link: str) -> K3sUnit | None:
    """From systemctl(1); None without systemd. link: exists once the node has k3s."""
    from k3os.system.run import CommandError, run
    from k3os.system.units import properties

    there = os.path.exists(link)
    unit = "k3s" if there else "k3os-k3s-fetch"
    names = ["LoadState", "ActiveState", "SubState", "NRestarts"]
    try:
        known = properties(f"{unit}.service", *names)
        jobs = ""
        if known.get("ActiveState") == "inactive":
            jobs = run(["systemctl", "list-jobs", "--plain", "--no-legend"], timeout=10).decode()
    except CommandError:
        return None
    load, active, sub, restarts = (known.get(name, "") for name in names)
    waits_for = waiting(f"{unit}.service", jobs)
    seen = K3sUnit(there, unit, load, active, sub, restarts, waits_for)
    return replace(seen, last_words=last_words(_journal(unit))) if seen.is_in_trouble else seen


def _journal(unit: str) -> str:
    """The end of its log in this boot; "" for users who may not read it."""
    from k3os.system.run import CommandError, run

    command = ["journalctl", "-b", "-q", "-o", "cat", "--no-pager", "-n", str(LOG_LINES)]
    try:
        return run([*command, "-u", unit], timeout=10).decode(errors="replace")
    except CommandError:
        return ""


def last_words(log: str) -> str:
    """Why k3s ended, from its log: logfmt with the level fatal, or Go's panic; "" otherwise.

    The address of a datastore is shown without its password.
    """
    import re

    from k3os.errors import discreet

    found = ""
    for line in log.splitlines():
        if fatal := re.search(r'\blevel=fatal msg=("(?:[^"\\]|\\.)*"|\S+)', line):
            text = fatal[1]
            found = re.sub(r"\\(.)", r"\1", text[1:-1]) if text[0] == '"' else text
        elif line.startswith(("panic: ", "fatal error: ")):
            found = line
    # cut after masking: a cut address could hide where its login ends
    return discreet(found)[:LONGEST_WORDS]


def waiting(unit: str, jobs: str) -> str:
    """What a unit's start waits for, in words; "" if it does not wait. jobs: systemctl(1),
    list-jobs: number, unit, type, state."""
    fields = [line.split() for line in jobs.splitlines()]
    states = {each[1]: each[3] for each in fields if len(each) == 4 and each[2] == "start"}
    if states.get(unit) != "waiting":
        return ""
    running = [name for name, state in states.items() if state == "running"]
    known = [name for name in BEFORE_K3S if name in running]
    return BEFORE_K3S[known[0]] if known else ", ".join(running) or "the boot"
