"""Network interfaces that are not the machine's own: of network plugins, containers, tunnels.

An address of such an interface does not say that the node has a network. The names are beginnings,
for connman's NetworkInterfaceBlacklist (connman.conf(5)) and the greeting on the console
(overlay/rootfs), which have the same list: a test compares them.
"""

NOT_OURS = (
    *("veth", "cni", "flannel", "cali", "cilium", "lxc", "antrea", "ovn", "ovs", "weave", "kilo"),
    *("cbr", "docker", "podman", "nerdctl", "kube-", "br-", "virbr", "vnet", "k6t", "vmnet"),
    *("ve-", "vb-", "vxlan", "vx-", "geneve", "genev_", "tun", "tap", "macvtap", "wg", "tailscale"),
    *("zt", "dummy", "ifb", "nodelocaldns"),
)
DUMMY = "dummy"
# what k3os.network can ask for beside hardware and VLANs: k3os.config.made
KINDS = ("bond", "bridge", DUMMY)
# what the kernel calls wireless cards
WIRELESS = ("wlan", "wlp", "wlx", "wls", "wlo")
# the node's own ports of bridges: k3os.config.made
TO = "to-"
