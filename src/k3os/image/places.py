"""Where programs in pods by convention read and write on a node, in a system that is read-only.

Network plugins, CSI drivers and storage systems have fixed paths. Each leads to a place that
exists, is writable if they write to it, and survives a reboot if they rely on that: by links in the
image, which cost no boot time. They are listed in docs/reference/files.md.
"""

from __future__ import annotations

from k3os.image.tree import Tree

# Directories below /etc that survive a reboot, although /etc does not: links to below KEPT.
KEPT = "var/lib/rancher/k3os/etc"
PERSISTENT_ETC = {
    "cni/net.d": 0o755,  # containerd reads it before the plugin's DaemonSet is up again
    "origin": 0o755,  # Kube-OVN's databases
    "pwx": 0o755,  # Portworx
}
# Places in the read-only /usr that are links to the writable /usr/local.
WRITABLE_USR = ("usr/libexec/kubernetes", "usr/src")
# Places that must exist before anything uses them.
DIRECTORIES = (
    *("opt/cni/bin", "boot", "usr/local/share"),
    # FlexVolume, the kubelet's own kind of plugins; Calico and others still write there
    "usr/libexec/kubernetes/kubelet-plugins/volume/exec",
)

PROFILES, RULES = "etc/apparmor.d", "usr/share/apparmor"
# containerd's own profile includes these if they exist; all others are in RULES
SEEN_BY_CONTAINERD = ("abi/3.0", "abstractions/base", "tunables/global")
APPARMOR_UNUSED = (
    *("usr/lib/apparmor", "usr/sbin/aa-teardown", "usr/sbin/aa-remove-unknown", "usr/sbin/aa-load"),
    *("usr/bin/aa-features-abi", "usr/share/apport", "var/cache/apparmor"),
)
CRYPTSETUP_UNUSED = ("usr/sbin/integritysetup", "usr/sbin/veritysetup")
# the programs that create, grow, check and repair XFS stay, and those that kubelet and CSI use
XFS_UNUSED = (
    *("usr/libexec/xfsprogs", "usr/share/xfsprogs", "usr/lib/udev/rules.d/64-xfs.rules"),
    *(
        f"usr/sbin/xfs_{name}"
        for name in (
            *("copy", "estimate", "fsr", "logprint", "mdrestore", "metadump", "mkfile", "ncheck"),
            *("property", "protofile", "rtcp", "scrub*"),
        )
    ),
)


def add_places(tree: Tree) -> None:
    """Create the places in the tables above. /usr/local is already a link to /var/local."""
    for name, mode in PERSISTENT_ETC.items():
        tree.directory(f"{KEPT}/{name}", mode)
        up = "../" * (name.count("/") + 1)
        tree.link(f"etc/{name}", f"{up}{KEPT}/{name}")
    for path in WRITABLE_USR:
        below = path.removeprefix("usr/")
        tree.link(path, f"{'../' * below.count('/')}local/{below}")
        tree.directory(f"var/local/{below}")
    for path in DIRECTORIES:
        for link in WRITABLE_USR:
            path = path.replace(f"{link}/", f"var/local/{link.removeprefix('usr/')}/")
        tree.directory(path.replace("usr/local/", "var/local/"))


def choose_profiles(tree: Tree) -> None:
    """Keep AppArmor's parser and the rules that profiles include, but none of Debian's profiles.

    In /etc, every boot would copy these 170 files. The parser finds them in RULES.
    """
    kept = ("abi", "abstractions", "tunables")
    for path, entry in list(tree.entries.items()):
        if path.startswith(f"{PROFILES}/"):
            below = path.removeprefix(f"{PROFILES}/")
            del tree.entries[path]
            if below.split("/")[0] in kept:
                tree.add(f"{RULES}/{below}", entry)
    tree.remove(*APPARMOR_UNUSED, *CRYPTSETUP_UNUSED, *XFS_UNUSED)
    for path in SEEN_BY_CONTAINERD:
        tree.link(f"{PROFILES}/{path}", f"/{RULES}/{path}")
    settings = "etc/apparmor/parser.conf"
    tree.file(settings, tree.read(settings) + f"Include=/{RULES}\n".encode())
