"""The appliers in the order in which they run, and the keys of each.

The phases of a key are defined in schema.TABLE; an applier runs in the phases of its keys. Modules
are imported only if there is something to do.
"""

from __future__ import annotations


class Applier:
    """keys: their paths. always: run even if none of them is set. phases: additional phases."""

    __slots__ = ("always", "keys", "phases")

    def __init__(self, *keys: str, always: bool = False, phases: tuple[str, ...] = ()) -> None:
        self.keys = keys
        self.always = always
        self.phases = phases


# Has no applier: its sources are asked before the runtime phase is planned, see apply.py.
DATA_SOURCES = "k3os.data_sources"

# The environment comes first, because commands need it; modules before their settings; files before
# the commands that use them; commands last.
APPLIERS = {
    "environment": Applier("k3os.environment", always=True),
    # the configuration's files, before anybody but root can log in
    "config_files": Applier(always=True, phases=("boot", "runtime")),
    # before anything is fetched
    "ca_certificates": Applier("k3os.ca_certificates"),
    "modules": Applier("k3os.modules"),
    # it sets default sysctls, which the user's must override
    "swap": Applier("k3os.swap.zram", "k3os.swap.pods", always=True),
    "sysctls": Applier("k3os.sysctls"),
    # always, to remove arguments when the key is removed
    "kernel_args": Applier("k3os.kernel_args", always=True, phases=("runtime",)),
    "hostname": Applier("hostname", always=True),
    "ssh_keys": Applier("ssh_authorized_keys", always=True),
    "connman": Applier("k3os.dns_nameservers", "k3os.ntp_servers", "k3os.wifi", always=True),
    "network": Applier("k3os.network", always=True),
    "password": Applier("k3os.password"),
    # before anything writes to what is mounted
    "disks": Applier("k3os.disks", "k3os.mounts"),
    "k3s": Applier(
        *("k3os.server_url", "k3os.token", "k3os.labels", "k3os.k3s_args", "k3os.taints"),
        always=True,
    ),
    "registries": Applier("k3os.registries.mirrors", "k3os.registries.configs"),
    "embedded_registry": Applier("k3os.embedded_registry"),
    "images": Applier("k3os.images", always=True, phases=("runtime",)),
    "kubelet": Applier("k3os.kubelet"),
    "containerd": Applier("k3os.containerd"),
    "manifests": Applier("k3os.manifests"),
    "operator": Applier("k3os.operator", always=True),
    "shutdown": Applier(
        "k3os.shutdown.grace_period", "k3os.shutdown.critical_grace_period", always=True
    ),
    "hardening": Applier("k3os.hardening", always=True),
    "write_files": Applier("write_files"),
    # what the keys above left earlier and no longer ask for
    "leftovers": Applier(always=True, phases=("runtime",)),
    # changes of the keys above that take effect only later
    "changed": Applier(always=True, phases=("runtime",)),
    "commands": Applier("init_cmd", "boot_cmd", "run_cmd", "ready_cmd"),
    # after the commands, which may load modules
    "lockdown": Applier("k3os.lockdown", "k3os.lock_modules"),
}
