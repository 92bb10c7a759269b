"""The flags of `k3s server` and `k3s agent`, and the versions that have them.

docs.k3s.io/cli/server and /cli/agent, and the release notes. Imported by the check, and when
arguments contain blanks.
"""

from __future__ import annotations

from k3os.system.numbers import whole

# name[,short], then ? for a switch or * for a list, then @ the first version (of the oldest minor
# release that has it) and < the first one without it
COMMON = """
config,c debug? v vmodule log,l alsologtostderr? token,t token-file server,s data-dir,d node-name
with-node-id? node-label* node-taint* node-ip,i* node-external-ip* node-internal-dns*@1.31
node-external-dns*@1.31 resolv-conf flannel-iface flannel-conf flannel-cni-conf@1.23 kubelet-arg*
kube-proxy-arg* protect-kernel-defaults? selinux? lb-server-port image-credential-provider-bin-dir
image-credential-provider-config container-runtime-endpoint image-service-endpoint@1.27
default-runtime@1.28 pause-image snapshotter private-registry airgap-extra-registry* docker?
rootless? disable-default-registry-endpoint?@1.29 nonroot-devices?@1.31 vpn-auth@1.26
vpn-auth-file@1.26 enable-pprof?@1.24 prefer-bundled-bin?@1.24 help,h? bind-address
disable-selinux?<1.26 no-flannel?<1.26 cluster-secret<1.26
"""
AGENT = "disable-apiserver-lb?@1.27"
SERVER = """
https-listen-port advertise-address advertise-port tls-san* tls-san-security?@1.25
cluster-cidr* service-cidr* service-node-port-range cluster-dns* cluster-domain flannel-backend
flannel-ipv6-masq?@1.23 flannel-external-ip?@1.24 egress-selector-mode@1.23 servicelb-namespace@1.25
write-kubeconfig,o write-kubeconfig-mode write-kubeconfig-group@1.27 write-kubeconfig-name@1.37
agent-token agent-token-file cluster-init? cluster-reset? cluster-reset-restore-path
kube-apiserver-arg* kube-controller-manager-arg* kube-scheduler-arg*
kube-cloud-controller-manager-arg* etcd-arg*@1.23 helm-job-image@1.26 helm-controller-arg*@1.33
datastore-endpoint datastore-cafile datastore-certfile datastore-keyfile kine-tls?@1.27
etcd-expose-metrics? etcd-disable-snapshots? etcd-snapshot-name etcd-snapshot-schedule-cron
etcd-snapshot-retention etcd-snapshot-dir etcd-snapshot-compress?
etcd-snapshot-reconcile-interval@1.31 etcd-s3? etcd-s3-endpoint etcd-s3-endpoint-ca
etcd-s3-skip-ssl-verify? etcd-s3-access-key etcd-s3-secret-key etcd-s3-bucket etcd-s3-region
etcd-s3-folder etcd-s3-insecure? etcd-s3-timeout etcd-s3-proxy@1.28 etcd-s3-config-secret@1.28
etcd-s3-retention@1.31 etcd-s3-session-token@1.31 etcd-s3-bucket-lookup-type@1.31
default-local-storage-path disable* disable-scheduler? disable-cloud-controller? disable-kube-proxy?
disable-network-policy? disable-helm-controller? disable-apiserver? disable-controller-manager?
disable-etcd? embedded-registry?@1.26 supervisor-metrics?@1.27 secrets-encryption?
secrets-encryption-provider@1.30 system-default-registry disable-agent? kube-controller-arg*
kube-cloud-controller-arg* supervisor-port apiserver-port apiserver-bind-address no-deploy*<1.26
"""
# the replacement of a flag, or value, that was removed
SUCCESSORS = {
    "no-deploy": "write --disable={}",
    "cluster-secret": "write k3os.token",
    "no-flannel": "write --flannel-backend=none",
    "disable-selinux": "leave it out: SELinux is off unless --selinux is there",
}
BACKENDS = ("none", "vxlan", "host-gw", "wireguard-native")
# backend -> first version without it, replacement
FORMER_BACKENDS = {
    "ipsec": ((1, 27), "write --flannel-backend=wireguard-native"),
    "wireguard": ((1, 26), "write --flannel-backend=wireguard-native"),
}
# flags of k3s that are useless on a node of k3OS
USELESS = {
    "docker": ("there is no Docker on this node", "leave it out: k3s brings containerd"),
    "rootless": ("k3s runs as root on this node", "leave it out"),
    "cluster-reset": (
        "resets the cluster at each start",
        "leave it out here; call `k3s server --cluster-reset` by hand while k3s is stopped",
    ),
    "config": ("k3OS writes what k3s reads, to /etc/rancher/k3s/config.yaml", "leave it out"),
}


class Flag:
    """name: the long one. kind: "", "?" for a switch, "*" for a list. since, until: as (1, 26)."""

    __slots__ = ("is_server", "kind", "name", "since", "until")

    def __init__(self, entry: str, is_server: bool) -> None:
        entry, _, until = entry.partition("<")
        entry, _, since = entry.partition("@")
        self.kind = entry[-1] if entry[-1] in "?*" else ""
        self.name = entry.rstrip("?*").partition(",")[0]
        self.since = minor(since)
        self.until = minor(until)
        self.is_server = is_server


def minor(version: str) -> tuple[int, int]:
    """(1, 33) for v1.33.1+k3s1; (0, 0) for anything else."""
    major, _, rest = version.removeprefix("v").partition(".")
    numbers = whole(major), whole(rest.partition(".")[0])
    return (0, 0) if None in numbers else (numbers[0] or 0, numbers[1] or 0)


def flags(role: str) -> dict[str, Flag]:
    """Long and short name -> flag; an agent's include those of a server, marked as such."""
    found: dict[str, Flag] = {}
    for table, of_server in ((SERVER, True), (COMMON, False), (AGENT, False)):
        for entry in table.split():
            flag = Flag(entry, of_server)
            names = entry.partition("<")[0].partition("@")[0].rstrip("?*").split(",")
            found.update(dict.fromkeys(names, flag))
    if role == "server":
        del found["disable-apiserver-lb"]
    return found
