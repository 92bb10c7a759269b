"""k3os.lockdown: what even root may not do to the running kernel; k3os.lock_modules: no more
modules can be loaded once k3s is ready.

kernel_lockdown(7); kernel.modules_disabled, Documentation/admin-guide/sysctl/kernel.rst. With
Secure Boot, Debian's kernel turns on `integrity` by itself. Neither can be undone before the next
boot: the kernel's level can only be raised.
"""

from __future__ import annotations

import os

from k3os.config.key import BOOT, READY, RUNTIME
from k3os.phases.actions import DONE, LATER, UNCHANGED, Action
from k3os.phases.commands import READY_UNIT
from k3os.phases.units import StartUnit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.load import Config
    from k3os.config.value import Place
    from k3os.phases.node import Node

LOCKDOWN, MODULES = "k3os.lockdown", "k3os.lock_modules"
LEVELS = ("none", "integrity", "confidentiality")
SECURITY = "/sys/kernel/security"
FILE = f"{SECURITY}/lockdown"
DISABLED = "/proc/sys/kernel/modules_disabled"
# modules that kube-proxy, flannel, network policies and volumes load only when a pod needs them
NETWORK = (
    *("br_netfilter", "overlay", "veth", "vxlan", "ip_set", "ip_set_hash_ip", "ip_set_hash_net"),
    *("ip_set_hash_ipport", "ip_set_hash_ipportnet", "ip_set_list_set", "nf_conntrack"),
    *("nf_tables", "nft_compat", "nft_chain_nat", "nft_ct", "nft_fib_inet", "nft_limit"),
    *("nft_masq", "nft_nat", "nft_numgen", "nft_redir", "nft_reject_inet", "xt_addrtype"),
    *("xt_comment", "xt_conntrack", "xt_limit", "xt_mark", "xt_multiport", "xt_MASQUERADE"),
    *("xt_nat", "xt_NFLOG", "xt_physdev", "xt_recent", "xt_REDIRECT", "xt_set", "xt_statistic"),
    *("xt_tcpudp", "ipt_REJECT", "ip6t_REJECT", "iptable_nat", "iptable_filter", "loop", "tun"),
)


def plan(config: Config, node: Node) -> list[Action]:
    actions: list[Action] = []
    level, modules = config.get(LOCKDOWN), config.get(MODULES)
    if level is not None and node.phase == BOOT:
        actions.append(Lock(LOCKDOWN, level.place, str(level.data)))
    if modules is not None and modules.data:
        if node.phase == RUNTIME:
            actions.append(StartUnit(MODULES, modules.place, READY_UNIT))
        elif node.phase == READY:
            actions.append(LockModules(MODULES, modules.place))
    return actions


def level_of(text: str) -> str:
    """The level that is in effect: the one in brackets."""
    return text.partition("[")[2].partition("]")[0]


class Lock(Action):
    """Raise the level, if it is lower."""

    __slots__ = ("level",)

    def __init__(self, key: str, place: Place, level: str) -> None:
        super().__init__(key, place)
        self.level = level

    def describe(self) -> str:
        return f"lock the kernel down ({self.level})"

    def perform(self, node: Node) -> str:
        from k3os.errors import UserError

        if node.is_real and not os.path.ismount(SECURITY):
            from k3os.system import mounts

            mounts.mount("securityfs", SECURITY, "securityfs", mounts.SAFETY)
        known = level_of(node.read(FILE))
        if known not in LEVELS:
            raise UserError("this kernel has no lockdown", f"leave {self.key} out")
        if LEVELS.index(known) >= LEVELS.index(self.level):
            self.note = f"it is at {known}" if known != self.level else ""
            return UNCHANGED
        with open(node.path(FILE), "w") as file:
            file.write(self.level)
        return DONE


class LockModules(Action):
    """Load what k3s may need later, then prevent further loading."""

    __slots__ = ()

    def describe(self) -> str:
        return "let no more kernel modules be loaded"

    def perform(self, node: Node) -> str:
        from k3os.system import kernelmodules

        if node.read(DISABLED).strip() == "1":
            return UNCHANGED
        if not node.exists(DISABLED):
            self.note = "not on this machine"
            return LATER
        if node.is_real:
            kernelmodules.load(list(NETWORK))
        with open(node.path(DISABLED), "w") as file:
            file.write("1")
        return DONE
