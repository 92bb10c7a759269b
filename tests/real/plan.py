"""The network of a lab as data: a namespace with a bridge, a tap device for each machine, DHCP,
an internal DNS zone and a web server; and the ip(8) and dnsmasq(8) commands that set it up.

Pure: starts nothing. The namespace has no way out: there is no route to any outside address, and
no name outside of the zone resolves.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from k3os.vm.spec import Tap

ZONE = "lab.internal"
WEB_PORT = 80
BRIDGE = "br0"
PREFIX = "k3os-lab-"
HOSTS = "dhcp-hosts"
# PID and start time of the process that owns it, because PIDs are reused
NAMESPACE = re.compile(rf"{PREFIX}(\d+)-(\d+)")


@dataclass(frozen=True)
class Host:
    """A machine of the lab."""

    name: str
    number: int

    @property
    def address(self) -> str:
        return f"10.77.0.{10 + self.number}"

    @property
    def other_address(self) -> str:
        """The address that it gets when it is moved."""
        return f"10.77.0.{100 + self.number}"

    @property
    def mac(self) -> str:
        return f"52:54:00:77:00:{self.number:02x}"

    @property
    def device(self) -> str:
        return f"tap{self.number}"


@dataclass(frozen=True)
class Plan:
    """namespace: from `new_namespace`. hosts: at most 80, with unique numbers."""

    namespace: str
    hosts: tuple[Host, ...]
    network = ipaddress.IPv4Network("10.77.0.0/24")
    gateway = "10.77.0.1"

    @property
    def web(self) -> str:
        """The web server's URL, with its name in the zone."""
        return f"http://web.{ZONE}"

    def host(self, name: str) -> Host:
        return next(host for host in self.hosts if host.name == name)

    def tap(self, name: str) -> Tap:
        host = self.host(name)
        return Tap(host.device, host.mac, self.namespace)

    def commands(self) -> list[list[str]]:
        """The commands that set up the network, in this order."""
        ip = ["ip", "-n", self.namespace]
        address = f"{self.gateway}/{self.network.prefixlen}"
        made = [
            ["ip", "netns", "add", self.namespace],
            [*ip, "link", "set", "lo", "up"],
            [*ip, "link", "add", BRIDGE, "type", "bridge"],
            [*ip, "address", "add", address, "dev", BRIDGE],
            [*ip, "link", "set", BRIDGE, "up"],
        ]
        for host in self.hosts:
            made.append([*ip, "tuntap", "add", "dev", host.device, "mode", "tap"])
            made.append([*ip, "link", "set", host.device, "master", BRIDGE, "up"])
        return made

    def removal(self) -> list[str]:
        """Removes everything that is in the namespace, too."""
        return ["ip", "netns", "delete", self.namespace]

    def inside(self, *command: str) -> list[str]:
        """A command that sees the lab's network and no other."""
        return ["ip", "netns", "exec", self.namespace, *command]

    def dnsmasq(self, scratch: Path) -> list[str]:
        """DHCP and DNS, in the foreground. Refuses unknown names at once."""
        first, last = self.network[200], self.network[250]
        command = ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--log-facility=-"]
        command += ["--no-resolv", "--no-hosts", "--no-daemon", "--user=root", "--pid-file="]
        command += [f"--interface={BRIDGE}", "--bind-interfaces", "--dhcp-authoritative"]
        command += [f"--domain={ZONE}", f"--local=/{ZONE}/", "--expand-hosts"]
        command += [f"--dhcp-leasefile={scratch / 'leases'}", "--log-dhcp"]
        command += [f"--dhcp-range={first},{last},1h"]
        command += [f"--dhcp-option=option:router,{self.gateway}"]
        command += [f"--dhcp-option=option:dns-server,{self.gateway}"]
        for name in ("web", "gateway"):
            command.append(f"--host-record={name}.{ZONE},{self.gateway}")
        for host in self.hosts:
            command.append(f"--host-record={host.name}.{ZONE},{host.address}")
        command.append(f"--dhcp-hostsfile={scratch / HOSTS}")
        return command

    def dhcp_hosts(self, moved: Collection[str] = ()) -> str:
        """Contents of the --dhcp-hostsfile, which dnsmasq rereads on SIGHUP. moved: the names of
        hosts that get their other address."""
        return "".join(
            f"{host.mac},{host.other_address if host.name in moved else host.address},{host.name}\n"
            for host in self.hosts
        )


def new_namespace(pid: int) -> str:
    """A name that identifies the process it belongs to."""
    return f"{PREFIX}{pid}-{started(pid)}"


def leftovers(listed: Iterable[str]) -> list[str]:
    """The labs in the lines of `ip netns list` whose process is gone."""
    names = [line.split()[0] for line in listed if line.split()]
    matches = [match for name in names if (match := NAMESPACE.fullmatch(name))]
    return [each[0] for each in matches if started(int(each[1])) != int(each[2])]


def started(pid: int) -> int:
    """When a process started, in clock ticks since boot (proc_pid_stat(5)); -1: it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return -1
    # the program's name may contain spaces and parentheses
    return int(text.rpartition(")")[2].split()[19])


def own_namespace() -> str:
    return new_namespace(os.getpid())
