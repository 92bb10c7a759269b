"""Of the hypervisors' guest agents what a node needs; nobody logs in through a hypervisor.

udev starts an agent, where its hypervisor is: by Debian's rules for QEMU's and Hyper-V's, by ours
for VMware's, which Debian starts at each boot everywhere (overlay/rootfs/usr/lib/udev/rules.d).
"""

from __future__ import annotations

import fnmatch

from k3os.image.tree import DIRECTORY, Tree

PLUGINS = "usr/lib/*-linux-gnu/open-vm-tools/plugins"
# addresses; shutdown and restart; the clock; backups
PLUGINS_KEPT = ("libguestInfo.so", "libpowerOps.so", "libtimeSync.so", "libvmbackup.so")
UNUSED = (
    "etc/qemu",  # hooks that the agent is not told to call
    # vCenter's logins, shared folders, and what it would write into /etc
    *("usr/bin/VGAuthService", "usr/bin/vmware-vgauth-cmd", "usr/bin/vmware-alias-import"),
    *("usr/lib/systemd/system/vgauth.service", "etc/vmware-tools/vgauth*", "etc/pam.d/vmtoolsd"),
    *("usr/bin/vmhgfs-fuse", "usr/bin/vmware-hgfsclient", "usr/bin/vmware-vmblock-fuse"),
    *("usr/bin/vm-support", "usr/bin/vmware-xferlogs", "usr/share/open-vm-tools"),
    *(f"usr/lib/*-linux-gnu/lib{name}.so*" for name in ("DeployPkg", "hgfs", "vgauth")),
    "usr/lib/*-linux-gnu/libguestStoreClient.so*",
    # for networks that other programs than connman set up
    *("etc/vmware-tools/scripts", "etc/vmware-tools/tools.conf.example"),
    "usr/lib/udev/rules.d/60-open-vm-tools.rules",  # udev's own rules have it
)


def choose_agents(tree: Tree) -> None:
    """Remove what is UNUSED, and the plugins of VMware's agent but PLUGINS_KEPT."""
    tree.remove(*UNUSED)
    for path in fnmatch.filter(tree.entries, f"{PLUGINS}/*"):
        if tree.entries[path].kind != DIRECTORY and not path.endswith(PLUGINS_KEPT):
            tree.remove(path)
