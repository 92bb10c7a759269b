"""The hypervisors' guest agents, reduced to what a node needs; nobody logs in through a hypervisor.

udev starts an agent if its hypervisor is present: by Debian's rules for QEMU's and Hyper-V's, by
ours for VMware's, which Debian starts on every boot (overlay/rootfs/usr/lib/udev/rules.d).
"""

from __future__ import annotations

import fnmatch

from k3os.image.tree import DIRECTORY, Tree

PLUGINS = "usr/lib/*-linux-gnu/open-vm-tools/plugins"
# for addresses; for shutdown and reboot; for the clock; for backups
PLUGINS_KEPT = ("libguestInfo.so", "libpowerOps.so", "libtimeSync.so", "libvmbackup.so")
UNUSED = (
    "etc/qemu",  # hooks that the agent is not configured to run
    # vCenter logins, shared folders, and files that it would write into /etc
    *("usr/bin/VGAuthService", "usr/bin/vmware-vgauth-cmd", "usr/bin/vmware-alias-import"),
    *("usr/lib/systemd/system/vgauth.service", "etc/vmware-tools/vgauth*", "etc/pam.d/vmtoolsd"),
    *("usr/bin/vmhgfs-fuse", "usr/bin/vmware-hgfsclient", "usr/bin/vmware-vmblock-fuse"),
    *("usr/bin/vm-support", "usr/bin/vmware-xferlogs", "usr/share/open-vm-tools"),
    *(f"usr/lib/*-linux-gnu/lib{name}.so*" for name in ("DeployPkg", "hgfs", "vgauth")),
    "usr/lib/*-linux-gnu/libguestStoreClient.so*",
    # for network services other than connman
    *("etc/vmware-tools/scripts", "etc/vmware-tools/tools.conf.example"),
    "usr/lib/udev/rules.d/60-open-vm-tools.rules",  # included in udev's own rules
)


def choose_agents(tree: Tree) -> None:
    """Remove everything in UNUSED, and all plugins of VMware's agent except PLUGINS_KEPT."""
    tree.remove(*UNUSED)
    for path in fnmatch.filter(tree.entries, f"{PLUGINS}/*"):
        if tree.entries[path].kind != DIRECTORY and not path.endswith(PLUGINS_KEPT):
            tree.remove(path)
