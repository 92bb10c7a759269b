"""Changes of k3os.network on a running node: take interfaces down while their settings change.

When a file changes, connman 1.44 disconnects and reconnects its services, with bugs: two of them
alternate forever, a DHCP client keeps running beside a fixed address, and removed name servers
stay. A service that appears is configured from its file alone. So the interfaces whose files change
are taken down, as if their cables were pulled, and come up with the new files; other interfaces do
not notice.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager

from k3os.config.value import Place
from k3os.phases.actions import DONE, UNCHANGED, Action
from k3os.phases.default_routes import USUAL_SYSCTLS, sysctls
from k3os.phases.ip_output import addresses, link_of
from k3os.phases.network_plan import ENTRY, USUAL_MTU, have_static, is_awaited
from k3os.phases.routes import service_name, services

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from k3os.phases.network_plan import Json
    from k3os.phases.node import Node

KEY = "k3os.network"
POLL_SECONDS = 0.05
FORGET_SECONDS = 5


class Replug(Action):
    """connman's files that change, and the interfaces (names, MACs) that must reconnect: those of
    the files, and those of `to_learn_anew`."""

    __slots__ = ("changes", "devices")

    def __init__(self, place: Place, changes: list[Action], devices: list[str]) -> None:
        super().__init__(KEY, place)
        self.changes = changes
        self.devices = devices

    def describe(self) -> str:
        what = "; ".join(each.describe() for each in self.changes) or "ask the network once more"
        return f"{what}; take {', '.join(self.devices)} down for it"

    def perform(self, node: Node) -> str:
        if not node.is_real:
            results = [each.perform(node) for each in self.changes]
        else:
            with unplugged(self.devices):
                results = [each.perform(node) for each in self.changes]
        return DONE if DONE in results or not self.changes else UNCHANGED


@contextmanager
def unplugged(devices: list[str]) -> Iterator[None]:
    """Keep those of the interfaces that connman uses down meanwhile. Raises CommandError."""
    from k3os.system.run import run

    present = addresses()
    links = [link_of(device, present) for device in devices]
    known = services()
    used = {link["ifname"]: service_name(link) for link in links if link}
    used = {name: service for name, service in used.items() if service in known}
    with ExitStack() as stack:
        stack.enter_context(uninterrupted())
        for name in used:
            command = ["ip", "link", "set", "dev", name]
            stack.callback(run, [*command, "up"], timeout=10)
            run([*command, "down"], timeout=10)
        end = time.monotonic() + FORGET_SECONDS
        while set(used.values()) & set(services()) and time.monotonic() < end:
            time.sleep(POLL_SECONDS)
        yield
        services()  # when connman answers, it has also seen the files


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Block signals, so that a person whose ssh session breaks off does not leave the node without
    a network."""
    import signal

    held = {signal.SIGHUP, signal.SIGINT, signal.SIGTERM}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, held)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class FromPlanToPlan(Action):
    """former: the entries of PLAN (k3os.phases.network_plan) so far; entries: those from now on."""

    __slots__ = ("entries", "former")

    def __init__(self, place: Place, former: list[Json], entries: list[Json]) -> None:
        super().__init__(KEY, place)
        self.former = former
        self.entries = entries

    def _run(self, commands: list[list[str]]) -> str:
        """Run the commands; returns the result."""
        from k3os.system.run import run

        for words in commands:
            run(words, timeout=10)
        self.note = "; ".join(" ".join(words[1:]) for words in commands)
        return DONE if commands else UNCHANGED


class Undo(FromPlanToPlan):
    """What left the configuration and is not handled by connman: VLANs, MTUs, further addresses."""

    __slots__ = ()

    def describe(self) -> str:
        return "undo VLANs, MTUs, routes and further addresses that nothing asks for any more"

    def perform(self, node: Node) -> str:
        if not node.is_real or self.former == self.entries:
            return UNCHANGED
        links = addresses()
        commands = undo(self.former, self.entries, links)
        if have_static(self.former):
            from k3os.phases.static_routes import Present, undo_static

            # before the addresses, which take their routes with them
            commands = [
                *undo_static(self.former, self.entries, links, Present.look(self.former)),
                *commands,
            ]
        return self._run(commands)


def undo(former: list[Json], entries: list[Json], links: list[Json]) -> list[list[str]]:
    """Commands of ip(8) that remove what only former asks for."""
    commands = []
    wanted = {each["device"]: each for each in entries}
    sized = {name for each in entries if each["mtu"] for name in (each["device"], each["below"])}
    for each in former:
        link, now = link_of(each["device"], links), wanted.get(each["device"])
        if each["mtu"]:
            for name in {each["device"], each["below"]} - sized:
                if name and (sized_link := link_of(name, links)):
                    dev = sized_link["ifname"]
                    commands.append(["ip", "link", "set", "dev", dev, "mtu", str(USUAL_MTU)])
        if link is None:
            continue
        if each["below"] and now is None:
            commands.append(["ip", "link", "delete", "dev", link["ifname"]])
            continue
        for name in _sysctls(each) - (_sysctls(now) if now else set()):
            setting = f"net/ipv6/conf/{link['ifname']}/{name}={USUAL_SYSCTLS[name]}"
            commands.append(["sysctl", "-e", "-q", "-w", setting])
        there = [f"{a['local']}/{a['prefixlen']}" for a in link.get("addr_info", [])]
        kept = now["fixed"] if now else []
        kept = [*kept, now["fallback"]] if now else kept
        more = [*each["more"], *filter(None, [each["fallback"]])]
        gone = [address for address in more if address in there and address not in kept]
        commands += [["ip", "address", "delete", a, "dev", link["ifname"]] for a in gone]
    return commands


def _sysctls(entry: Json) -> set[str]:
    return set(sysctls(use_routes=entry["use_routes"], metric=entry["metric"]))


def to_learn_anew(former: list[Json], entries: list[Json]) -> list[str]:
    """The interfaces that lost something that connman restores only when it reconnects: a default
    route, a name server."""
    wanted = {each["device"]: each for each in entries}
    found = []
    for each in former:
        now = wanted.get(each["device"], ENTRY)
        refused = any(now[name] and not each[name] for name in ("use_dns", "use_routes"))
        router = each["fallback_gateway"]
        is_left = router != "" and router != now["fallback_gateway"]
        is_told = refused or is_left or bool(now["metric"]) != bool(each["metric"])
        if is_told and not is_awaited(each["device"]):
            found.append(each["device"])
    new = wanted.keys() - {each["device"] for each in former}
    named = (name for name in wanted if name in new and not is_awaited(name))
    return found + [name for name in named if wanted[name]["metric"]]
