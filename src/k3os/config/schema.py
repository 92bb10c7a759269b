"""Every key of config.yaml in one table. Checking, merging, phases, the JSON schema and the
docs/reference/configuration.md are all derived from it, so they cannot contradict each other.

It contains only data. The effects are in k3os.phases, one applier per file.
"""

from __future__ import annotations

from k3os.config.fields import FILE_FIELDS, NETWORK_FIELDS, WIFI_FIELDS
from k3os.config.k3s_keys import FILES_OF_K3S
from k3os.config.key import (
    ADD,
    ADD_BY,
    ALWAYS,
    AT_BOOT,
    BOOT,
    INITRD,
    KEYS,
    LATE,
    READY,
    RESTART,
    RUNTIME,
    Key,
)
from k3os.config.spelling import fold
from k3os.config.storage_keys import STORAGE

# described in k3os.datasource.platforms
DATA_SOURCES = (
    *("auto", "aws", "gcp", "openstack", "packet", "equinix", "scaleway", "vultr"),
    *("digitalocean", "hetzner", "azure", "cdrom", "nocloud", "configdrive"),
)

TABLE = (
    Key(
        "ssh_authorized_keys",
        "ssh keys",
        "who may log in as `rancher`: public keys, `github:NAME`, `gitlab:NAME`, or URLs",
        merge=ADD,
        phases=LATE,
        example="[github:octocat]",
    ),
    Key(
        "write_files",
        "maps",
        "files to write",
        merge=ADD_BY,
        identity="path",
        phases=ALWAYS,
        fields=FILE_FIELDS,
        example="[{path: /etc/motd, content: hello}]",
    ),
    Key("hostname", "hostname", "the node's name", phases=LATE, example="node1"),
    Key(
        "init_cmd",
        "commands",
        "commands in the initrd, before the root file system is built",
        merge=ADD,
        phases=(INITRD,),
    ),
    Key("boot_cmd", "commands", "commands before systemd starts", merge=ADD, phases=(BOOT,)),
    Key(
        "run_cmd",
        "commands",
        "commands at the end of the boot, when the network is up and before k3s starts",
        merge=ADD,
        phases=(RUNTIME,),
        example='["echo hello", [ls, -l]]',
    ),
    Key(
        "ready_cmd",
        "commands",
        "commands once k3s is ready; `KUBECONFIG` is set on a server",
        merge=ADD,
        phases=(RUNTIME, READY),
        example='["kubectl get nodes"]',
    ),
    Key(
        "k3os.data_sources",
        "choices",
        "where to look for cloud data, in this order; `auto`: media labelled as cloud data, and "
        "the platform that the machine's firmware names",
        phases=(RUNTIME,),
        values=DATA_SOURCES,
        example="[aws, cdrom]",
    ),
    Key(
        "k3os.modules",
        "texts",
        "kernel modules to load, with parameters after the name",
        merge=ADD,
        phases=ALWAYS,
        example="[kvm, nbd nbds_max=8]",
    ),
    Key(
        "k3os.sysctls",
        "text map",
        "kernel settings (sysctl)",
        merge=KEYS,
        phases=ALWAYS,
        example="{kernel.printk: 4 4 1 7}",
    ),
    Key(
        "k3os.kernel_args",
        "texts",
        "kernel arguments of an installed system, in this order; the next boot uses them, on trial "
        "like a new version",
        phases=(RUNTIME,),
        further="kernel_args.usable",
        effect=AT_BOOT,
        example="[hugepages=64, mitigations=off]",
    ),
    Key(
        "k3os.ntp_servers",
        "texts",
        "time servers, asked after those of DHCP",
        phases=LATE,
        example="[0.pool.ntp.org]",
        further="time_servers",
    ),
    Key(
        "k3os.dns_nameservers",
        "texts",
        "DNS servers for networks that name none",
        phases=LATE,
        example="[8.8.8.8]",
        further="name_servers",
    ),
    Key(
        "k3os.network",
        "networks",
        "addresses of interfaces, by name or MAC; the others use DHCP",
        merge=KEYS,
        phases=LATE,
        fields=NETWORK_FIELDS,
        example="{eth0: {address: 192.168.1.10/24, gateway: 192.168.1.1}}",
    ),
    Key(
        "k3os.wifi",
        "maps",
        "wireless networks",
        merge=ADD_BY,
        identity="ssid",
        phases=LATE,
        fields=WIFI_FIELDS,
        further="wireless.networks",
        example="[{name: home, passphrase: secret}]",
    ),
    Key(
        "k3os.password",
        "text",
        "the password of `rancher`, in plain text or crypt(5) form; without it only ssh keys work",
        phases=ALWAYS,
        secret=True,
        example="rancher",
    ),
    Key(
        "k3os.server_url",
        "url",
        "the k3s server to join; without it this node is a server",
        phases=LATE,
        example="https://server:6443",
        effect=RESTART,
        further="server",
    ),
    Key(
        "k3os.token",
        "text",
        "the cluster's secret, or a node token (`K10…`)",
        phases=LATE,
        secret=True,
        effect=RESTART,
    ),
    Key(
        "k3os.labels",
        "text map",
        "Kubernetes labels of this node",
        merge=KEYS,
        phases=LATE,
        example="{region: us-west-1}",
        further="labels",
    ),
    Key(
        "k3os.k3s_args",
        "arguments",
        "arguments of k3s; `server` or `agent` may come first",
        phases=LATE,
        example='[server, "--disable=traefik"]',
        effect=RESTART,
    ),
    Key(
        "k3os.k3s_sums",
        "text map",
        "the SHA-256 that the k3s of a version must have; for several architectures with spaces in "
        "between (`k3os k3s sums VERSION` prints it). With it, a mirror may use http",
        merge=KEYS,
        example="{v1.33.1+k3s1: HEX}",
        further="k3s_sums",
    ),
    Key(
        "k3os.k3s_insecure_http",
        "boolean",
        "accept k3s over plain http with the sum published there (false): an attacker on the "
        "network can become root",
    ),
    Key(
        "k3os.operator",
        "boolean",
        "run the operator of k3OS in the cluster: its image on the nodes, its objects from the "
        "servers. Without this key it is on all nodes that have room for it, with `true` on this "
        "one in any case; `false` does not delete objects that exist already",
        phases=LATE,
        example="false",
    ),
    Key(
        "k3os.environment",
        "text map",
        "environment variables of k3s, containerd, commands and logins",
        merge=KEYS,
        phases=(*ALWAYS, READY),
        secret=True,
        example="{http_proxy: http://proxy:3128}",
        effect=RESTART,
        further="variables",
    ),
    Key(
        "k3os.ca_certificates",
        "certificates",
        "certificates of authorities that k3s, containerd, curl and the node's own downloads "
        "trust, besides the public ones: PEM texts, URLs or paths (`#sha256=HEX` may follow)",
        merge=ADD,
        phases=LATE,
        effect=RESTART,
    ),
    *FILES_OF_K3S,
    Key(
        "k3os.taints",
        "taints",
        "Kubernetes taints of this node: `key=value:Effect`",
        merge=ADD,
        phases=LATE,
        example="[key1=value1:NoSchedule]",
        further="taints",
    ),
    Key(
        "k3os.hardening",
        "choice",
        "`cis`: set up k3s as its hardening guide requires; the host is as it requires in any case",
        phases=LATE,
        values=("cis",),
        example="cis",
        effect=RESTART,
    ),
    Key(
        "k3os.lockdown",
        "choice",
        "restrict what even root can do to the running kernel: `integrity` or `confidentiality`",
        phases=(BOOT,),
        values=("integrity", "confidentiality"),
        example="integrity",
    ),
    Key(
        "k3os.lock_modules",
        "boolean",
        "load no more kernel modules once k3s is ready",
        phases=(RUNTIME, READY),
        example="true",
        effect=AT_BOOT,
    ),
    Key(
        "k3os.shutdown.grace_period",
        "duration",
        "how long a shutdown waits for pods to end (30s); 0: not at all",
        phases=LATE,
        limits=(0, 600),
        example="45s",
        effect=RESTART,
    ),
    Key(
        "k3os.shutdown.critical_grace_period",
        "duration",
        "the last part of that time, for critical pods, which end after the others (10s)",
        phases=LATE,
        limits=(0, 600),
        example="15s",
        effect=RESTART,
    ),
    *STORAGE,
    Key(
        "k3os.install.device",
        "path",
        "the disk to install to; everything on it is lost",
        example="/dev/sda",
    ),
    Key(
        "k3os.install.config_url",
        "location",
        "a config.yaml that is installed with the system: http, https, ftp, tftp (`#sha256=HEX` "
        "may follow), or a path; `/.base` is the boot medium",
    ),
    Key(
        "k3os.install.iso_url",
        "url",
        "an ISO to install instead of the running k3OS (http, https); `#sha256=HEX` may follow",
    ),
    Key(
        "k3os.install.insecure",
        "boolean",
        "accept an ISO that no known key has signed, or one over http without a sum",
    ),
    Key(
        "k3os.install.no_cmdline",
        "boolean",
        "do not install keys on the kernel command line",
    ),
    Key("k3os.install.silent", "boolean", "install without questions"),
    Key(
        "k3os.install.force_efi",
        "boolean",
        "insist on a boot loader for UEFI (a formatted disk always gets both)",
    ),
    Key(
        "k3os.install.no_boot_entry",
        "boolean",
        "leave the firmware's boot list (UEFI) as it is; by default k3OS becomes its first entry",
    ),
    Key(
        "k3os.install.no_format",
        "boolean",
        "use the partition labelled K3OS_STATE without formatting it",
    ),
    Key("k3os.install.tty", "console", "the console of the installed system, e.g. ttyS0"),
    Key("k3os.install.debug", "boolean", "install with debug messages"),
    Key("k3os.install.power_off", "boolean", "power off instead of rebooting afterwards"),
    Key(
        "k3os.upgrade.timeout",
        "number",
        "seconds within which a new version must be healthy, or the previous one comes back (600)",
        limits=(30, 86400),
        example="900",
    ),
    Key(
        "k3os.upgrade.check",
        "commands",
        "commands that must succeed for a new version to count as healthy, besides k3s being ready",
        merge=ADD,
        example='["curl -fsS http://localhost:8080/healthz"]',
    ),
)

SECTIONS = (
    *("", "k3os", "k3os.registries", "k3os.shutdown", "k3os.swap", "k3os.install"),
    "k3os.upgrade",
)

# Only on the cmdline, read by the boot itself before there is a configuration.
BOOT_OPTIONS = (
    *("k3os.mode", "k3os.fallback_mode", "k3os.debug", "k3os.media_timeout", "rescue"),
    *("k3os.generation", "k3os.factory_reset", "k3os.takeover"),
    "k3os.medium_uuid",
    *("k3os.trial", "k3os.uncounted", "k3os.rollback", "k3os.args_of"),
)

# for k3os.mode, to boot in a mode that is not the medium's default
MODES = ("live", "disk", "install", "shell")

BY_PATH = {key.path: key for key in TABLE}


def children(section: str) -> dict[str, str]:
    """Folded name -> path of every key and section directly in a section ("" is the top)."""
    prefix = f"{section}." if section else ""
    paths = [key.path for key in TABLE] + [name for name in SECTIONS if name]
    return {
        fold(path[len(prefix) :]): path
        for path in paths
        if path.startswith(prefix) and "." not in path[len(prefix) :]
    }


CHILDREN = {section: children(section) for section in SECTIONS}
