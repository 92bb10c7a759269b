"""The appliers in the order in which they run, and the keys each one owns.

In which phases a key is applied stands in schema.TABLE; an applier runs in the phases of its
keys. Modules are imported only when there is something to do.
"""

from __future__ import annotations


class Applier:
    """keys: their paths. always: runs without any of them set, too. phases: also in these."""

    __slots__ = ("always", "keys", "phases")

    def __init__(self, *keys: str, always: bool = False, phases: tuple[str, ...] = ()) -> None:
        self.keys = keys
        self.always = always
        self.phases = phases


# Has no applier: what it names is asked before the runtime phase is planned, see apply.py.
DATA_SOURCES = "k3os.data_sources"

# The environment comes first, because commands need it; modules before the settings they
# bring; files before the commands that use them; commands last.
APPLIERS = {
    "environment": Applier("k3os.environment", always=True),
    # its own files, before anybody but root is there
    "config_files": Applier(always=True, phases=("boot", "runtime")),
    # before anything is fetched
    "ca_certificates": Applier("k3os.ca_certificates"),
    "modules": Applier("k3os.modules"),
    # its settings are defaults, too: the user's come after them
    "swap": Applier("k3os.swap.zram", "k3os.swap.pods", always=True),
    "sysctls": Applier("k3os.sysctls"),
    # without the key, too: arguments that it asked for go with it
    "kernel_args": Applier("k3os.kernel_args", always=True, phases=("runtime",)),
    "hostname": Applier("hostname", always=True),
    "ssh_keys": Applier("ssh_authorized_keys", always=True),
    "connman": Applier("k3os.dns_nameservers", "k3os.ntp_servers", "k3os.wifi", always=True),
    "network": Applier("k3os.network", always=True),
    "password": Applier("k3os.password"),
    # before whoever writes to what is mounted
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
    # what the keys above have left and no longer ask for
    "leftovers": Applier(always=True, phases=("runtime",)),
    # what they say and what counts only later
    "changed": Applier(always=True, phases=("runtime",)),
    "commands": Applier("init_cmd", "boot_cmd", "run_cmd", "ready_cmd"),
    # commands may load modules still
    "lockdown": Applier("k3os.lockdown", "k3os.lock_modules"),
}
