"""hostname: the kernel's, /etc/hostname and /etc/hosts. If not set: a name generated once and kept.

In the runtime phase, a name that DHCP has set in the meantime stays if it is a valid host name,
unless the configuration has one.
"""

from __future__ import annotations

import os

from k3os.config.hostnames import is_nobodys, valid_hostname
from k3os.config.value import Place
from k3os.paths import STATE
from k3os.phases.actions import Action, SetKernel, WriteFile
from k3os.phases.managed_block import outside_block, replace_block

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.load import Config
    from k3os.phases.node import Node

KEY = "hostname"
KERNEL = "/proc/sys/kernel/hostname"
GENERATED = f"{STATE}/hostname"
HOSTS = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback"]


def plan(config: Config, node: Node) -> list[Action]:
    actions: list[Action] = []
    value = config.get(KEY)
    place = value.place if value is not None else Place("default")
    name, note = config.text(KEY), ""
    if not name:
        current = node.read(KERNEL).strip()
        if node.phase == "runtime" and not is_nobodys(current):
            name, place = valid_hostname(current), Place("the running system")
            note = (
                f"in place of {current}, which is not a valid host name" if name != current else ""
            )
        if not name:
            name = node.read(GENERATED).strip()
            if not name:
                name = f"k3os-{os.urandom(3).hex()}"
                data = name.encode() + b"\n"
                actions.append(WriteFile(KEY, place, GENERATED, data))
    actions.append(SetKernel(KEY, place, "kernel.hostname", KERNEL, name))
    actions[-1].note = note
    actions.append(WriteFile(KEY, place, "/etc/hostname", f"{name}\n".encode()))
    actions.append(WriteFile(KEY, place, "/etc/hosts", hosts(node.read("/etc/hosts"), name)))
    return actions


def hosts(text: str, name: str) -> bytes:
    """/etc/hosts in which the name refers to this host; other lines stay (hosts(5))."""
    if not outside_block(text):
        text = "\n".join(HOSTS) + "\n"
    short = name.partition(".")[0]
    names = name if short == name else f"{name} {short}"
    return replace_block(text, [f"127.0.1.1 {names}"]).encode(errors="surrogateescape")
