"""Network interfaces that are not the machine's own: of network plugins, containers, tunnels.

An address of such an interface does not mean that the node has a network. The names are prefixes,
for connman's NetworkInterfaceBlacklist (connman.conf(5)) and the greeting on the console
(overlay/rootfs), which contain the same list: a test compares them.
"""

NOT_OURS = (
    *("veth", "cni", "flannel", "cali", "cilium", "lxc", "antrea", "ovn", "ovs", "weave", "kilo"),
    *("cbr", "docker", "podman", "nerdctl", "kube-", "br-", "virbr", "vnet", "k6t", "vmnet"),
    *("ve-", "vb-", "vxlan", "vx-", "geneve", "genev_", "tun", "tap", "macvtap", "wg", "tailscale"),
    *("zt", "dummy", "ifb", "nodelocaldns"),
)
DUMMY = "dummy"
# what k3os.network can create besides VLANs: k3os.config.made
KINDS = ("bond", "bridge", DUMMY)
# the kernel's names for wireless cards
WIRELESS = ("wlan", "wlp", "wlx", "wls", "wlo")
# prefix of the node's own ports on bridges: k3os.config.made
TO = "to-"
