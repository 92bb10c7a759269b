"""Bonds, bridges and dummies of k3os.network: from the output of ip(8) to commands of ip(8).
connman creates none of them, so k3os-links.service does, before connman starts and when a member
appears.

connman 1.44 treats a bond as a wired interface, and ignores its members (IFF_SLAVE) by itself. It
ignores a bridge (DEVTYPE=bridge), but would request addresses for a bridge's ports: these get a
file that turns this off. The node has a port of its own in the bridge, one end of a veth(4) pair,
whose addresses connman manages like those of any card.

A device whose configuration changed is deleted and created again: most options of a bond can only
be set while it has no members.
"""

from __future__ import annotations

import os
import time

from k3os.config.made import peer
from k3os.phases.actions import DONE, UNCHANGED
from k3os.phases.ip_output import addresses, hardware_address, link_of
from k3os.phases.network_plan import PLAN, file_of, plan_at
from k3os.phases.replug import FromPlanToPlan, uninterrupted, unplugged

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.phases.network_plan import Json
    from k3os.phases.node import Node

WAIT_SECONDS = 10.0
POLL_SECONDS = 0.05
TRIES = 3
ORDER = ("bond", "dummy", "bridge")
CONNMAN_UNIT = "connman.service"


def makes(entries: list[Json]) -> list[Json]:
    """The entries that ask for a device; devices that others may need come first."""
    found = [each for each in entries if each["made"]]
    return sorted(found, key=lambda each: ORDER.index(each["made"]["kind"]))


def creation(entry: Json, links: list[Json]) -> list[list[str]]:
    """The commands that create a device without its members."""
    made = entry["made"]
    name, kind = made["name"], made["kind"]
    mtu = ["mtu", str(made["mtu"])] if made["mtu"] else []
    words = ["ip", "link", "add", "name", name, *mtu]
    first = next((link for each in made["members"] if (link := link_of(each, links))), None)
    mac = hardware_address(first) if first else ""
    if kind == "bond":
        # connman identifies a service by it, and DHCP a node; without members it would be random
        words += ["address", mac] if mac and "fail_over_mac" not in made["words"] else []
        return [[*words, "type", kind, *made["words"]]]
    up = ["ip", "link", "set", "dev", name, "up"]
    if kind == "dummy":
        own = [["ip", "address", "add", each, "dev", name] for each in entry["fixed"]]
        return [[*words, "type", kind], up, *own]
    commands = [[*words, "type", kind, *made["words"]], _without_ipv6(name), up]
    if made["port"]:
        commands += _port(made, mac, mtu)
    return commands


def _port(made: Json, mac: str, mtu: list[str]) -> list[list[str]]:
    name, other = made["port"], peer(made["name"])
    words = ["ip", "link", "add", "name", name, *mtu, "address", own_address(mac, made["name"])]
    return [
        [*words, "type", "veth", "peer", "name", other, *mtu],
        _without_ipv6(other),
        ["ip", "link", "set", "dev", other, "master", made["name"]],
        ["ip", "link", "set", "dev", other, "up"],
    ]


def _without_ipv6(name: str) -> list[str]:
    """A bridge and its end of the pair only forward packets and must have no addresses, not even
    from router advertisements."""
    return ["sysctl", "-e", "-q", "-w", f"net/ipv6/conf/{name}/disable_ipv6=1"]


def own_address(mac: str, name: str) -> str:
    """The MAC of the node's port: the same at each boot, but not that of a card, whose packets the
    bridge would not forward to it."""
    import hashlib

    digest = bytearray(hashlib.sha256(f"{mac} {name}".encode()).digest()[:6])
    digest[0] = digest[0] & 0xFE | 0x02  # unicast, locally administered: IEEE 802, 8.2
    return ":".join(f"{each:02x}" for each in digest)


def attachment(made: Json, member: str, links: list[Json]) -> list[list[str]]:
    """The commands that make an interface a member; none if it already is, or does not exist."""
    link = link_of(member, links)
    if link is None or link.get("master") == made["name"]:
        return []
    name = link["ifname"]
    join = ["ip", "link", "set", "dev", name, "master", made["name"]]
    if made["kind"] == "bond":  # it must be down to join a bond, which then brings it up
        return [["ip", "link", "set", "dev", name, "down"], join]
    return [join]


def primary(made: Json, links: list[Json]) -> list[list[str]]:
    """The command that sets a bond's primary, once that is a member."""
    link = link_of(made["primary"], links) if made["primary"] else None
    if link is None or link.get("master") != made["name"]:
        return []
    words = ["ip", "link", "set", "dev", made["name"], "type", "bond", "primary", link["ifname"]]
    return [words]


def removal(former: list[Json], entries: list[Json], links: list[Json]) -> list[list[str]]:
    """The commands that delete devices of former that entries do not ask for in the same way."""
    kept = [each["made"] for each in entries]
    commands = []
    for entry in reversed(makes(former)):
        made = entry["made"]
        if made in kept:
            continue
        for name in (made["port"], made["name"]):
            if name and link_of(name, links):
                commands.append(["ip", "link", "delete", "dev", name])
    return commands


def freed(former: list[Json], entries: list[Json]) -> list[str]:
    """Interfaces that are no longer members."""
    members = {name for each in makes(entries) for name in each["made"]["members"]}
    return [
        name for each in makes(former) for name in each["made"]["members"] if name not in members
    ]


class Report:
    """The result of make_links: done, in words; missing: members that do not exist; failed: why a
    device or member is not as it should be; alone: members that are not in their device."""

    __slots__ = ("alone", "done", "failed", "missing")

    def __init__(self) -> None:
        self.done: list[str] = []
        self.missing: list[str] = []
        self.failed: list[str] = []
        self.alone: list[str] = []


def make_links(entries: list[Json], wait: float = 0) -> Report:
    """Create missing devices and attach existing members. Raises CommandError if ip(8) cannot list
    the interfaces.

    wait: seconds for members to appear before a device is created, which gets the first one's MAC.
    """
    report = Report()
    wanted = makes(entries)
    end = time.monotonic() + wait
    links = addresses()
    while _awaited(wanted, links) and time.monotonic() < end:
        time.sleep(POLL_SECONDS)
        links = addresses()
    for entry in wanted:
        links = _make(entry, links, report)
    return report


def _awaited(wanted: list[Json], links: list[Json]) -> bool:
    """Whether a device is to be created and one of its hardware members does not exist yet."""
    made = {each["made"]["name"] for each in wanted}
    return any(
        not link_of(member, links)
        for each in wanted
        if not link_of(each["made"]["name"], links)
        # a VLAN on a device that we create is created later
        for member in each["made"]["members"]
        if member not in made and member.rpartition(".")[0] not in made
    )


def _make(entry: Json, links: list[Json], report: Report) -> list[Json]:
    """Create one device; returns the links afterwards."""
    from k3os.system.run import CommandError, run

    made, before = entry["made"], len(report.done)
    if link_of(made["name"], links) is None:
        try:
            _run(creation(entry, links), report)
            links = addresses()
        except CommandError as error:
            report.failed.append(f"{made['name']} cannot be made: {_why(error)}")
            report.alone += made["members"]
            for name in (made["port"], made["name"]):  # half of it would be taken for all of it
                if name:
                    run(["ip", "link", "delete", "dev", name], timeout=10, check=False)
            return addresses()
    for member in made["members"]:
        links = _attach(made, member, links, report)
    try:
        _run(primary(made, links) if len(report.done) > before else [], report)
    except CommandError as error:
        report.failed.append(f"{made['primary']} is not the primary: {_why(error)}")
    return links


def _attach(made: Json, member: str, links: list[Json], report: Report) -> list[Json]:
    from k3os.system.run import CommandError

    for attempt in range(TRIES):
        commands = attachment(made, member, links)
        if not commands:
            if link_of(member, links) is None:
                report.missing.append(f"{member} of {made['name']} is not there")
            return links
        try:
            _run(commands, report)
        except CommandError as error:  # something may have brought it up meanwhile
            if attempt == TRIES - 1:
                name = made["name"]
                report.failed.append(f"{member} cannot be a member of {name}: {_why(error)}")
                report.alone.append(member)
        links = addresses()
    return links


def _run(commands: list[list[str]], report: Report) -> None:
    from k3os.system.run import run

    for words in commands:
        run(words, timeout=10)
        report.done.append(" ".join(words))


def _why(error: Exception) -> str:
    from k3os.system.run import CommandError

    output = error.output if isinstance(error, CommandError) else b""
    lines = output.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else str(error)


def main() -> Report:
    """What k3os-links.service does. Members that are not in their device get addresses by DHCP, so
    that somebody can log in and fix it. Raises CommandError."""
    from k3os.system.files import durable_remove

    entries = plan_at(PLAN)
    if entries is None:
        return Report()
    report = make_links(entries, WAIT_SECONDS)
    for name in report.alone:
        durable_remove(file_of(name))
    return report


class Unmake(FromPlanToPlan):
    """Deletes devices that nothing asks for any more, or not in this form."""

    __slots__ = ()

    def describe(self) -> str:
        names = ", ".join(each["made"]["name"] for each in makes(self.former))
        return f"take away what is not wanted any more of {names}"

    def perform(self, node: Node) -> str:
        if not node.is_real or not makes(self.former):
            return UNCHANGED
        with uninterrupted():
            return self._run(removal(self.former, self.entries, addresses()))


def joined(entries: list[Json], report: Report) -> list[str]:
    """The names of interfaces that have just become members of bonds."""
    bonds = {each["made"]["name"] for each in makes(entries) if each["made"]["kind"] == "bond"}
    words = [line.split() for line in report.done]
    return [each[-3] for each in words if each[-2] == "master" and each[-1] in bonds]


def forget(members: list[str]) -> None:
    """Make connman forget them. It ignores members of a bond only if they are members when it first
    sees them; one that it already knew keeps its service, which has the bond's MAC and so its name.
    All interfaces lose their addresses for a second or two. Raises CommandError."""
    from k3os.system.run import run

    try:
        run(["systemctl", "stop", CONNMAN_UNIT], timeout=30)
        for name in members:
            run(["ip", "address", "flush", "dev", name], timeout=10)
            run(["ip", "link", "set", "dev", name, "up"], timeout=10)
    finally:
        run(["systemctl", "start", CONNMAN_UNIT], timeout=30)


class Make(FromPlanToPlan):
    """Creates devices on a running node, and releases interfaces that are no longer members."""

    __slots__ = ()

    def describe(self) -> str:
        names = ", ".join(each["made"]["name"] for each in makes(self.entries))
        return f"make {names}" if names else "give the members back"

    def perform(self, node: Node) -> str:
        from k3os.errors import UserError
        from k3os.system.files import durable_remove
        from k3os.system.run import run

        if not node.is_real:
            return UNCHANGED
        with uninterrupted():
            report = make_links(self.entries)
            if members := joined(self.entries, report):
                forget(members)
            links = addresses()
            for name in [*freed(self.former, self.entries), *report.alone]:
                link = link_of(name, links)
                if link and "UP" not in link["flags"]:
                    run(["ip", "link", "set", "dev", link["ifname"], "up"], timeout=10)
                    report.done.append(f"{link['ifname']} up")
            files = [name for name in report.alone if os.path.exists(file_of(name))]
            if files:
                with unplugged(files):
                    for name in files:
                        durable_remove(file_of(name))
        if report.failed:
            raise UserError("; ".join(report.failed), "its members use DHCP; see `ip -d link`")
        self.note = "; ".join([*report.done, *report.missing])
        return DONE if report.done else UNCHANGED
