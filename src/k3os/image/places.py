"""Where programs in pods read and write on a node by convention, in a system that is read-only.

Network plugins, CSI drivers and storage systems bring their own paths. Each leads to a place that
exists, is writable where they write, and survives a reboot where they rely on it: by links in the
image, which cost a boot nothing. The table in docs/reference/files.md names them.
"""

from __future__ import annotations

from k3os.image.tree import Tree

# Directories below /etc, which is new at each boot, that survive it: links to below KEPT.
KEPT = "var/lib/rancher/k3os/etc"
PERSISTENT_ETC = {
    "cni/net.d": 0o755,  # containerd reads it before the plugin's DaemonSet is up again
    "origin": 0o755,  # Kube-OVN's databases
    "pwx": 0o755,  # Portworx
}
# Places in the read-only /usr that lead to the writable /usr/local.
WRITABLE_USR = ("usr/libexec/kubernetes", "usr/src")
# Places that must be there before the first who wants them.
DIRECTORIES = (
    *("opt/cni/bin", "boot", "usr/local/share"),
    # plugins of the kubelet's own kind, FlexVolume; Calico and others still write there
    "usr/libexec/kubernetes/kubelet-plugins/volume/exec",
)

PROFILES, RULES = "etc/apparmor.d", "usr/share/apparmor"
# containerd's own profile includes these where it sees them; the rest is found in RULES
SEEN_BY_CONTAINERD = ("abi/3.0", "abstractions/base", "tunables/global")
APPARMOR_UNUSED = (
    *("usr/lib/apparmor", "usr/sbin/aa-teardown", "usr/sbin/aa-remove-unknown", "usr/sbin/aa-load"),
    *("usr/bin/aa-features-abi", "usr/share/apport", "var/cache/apparmor"),
)
CRYPTSETUP_UNUSED = ("usr/sbin/integritysetup", "usr/sbin/veritysetup")
# what makes, grows, checks and mends an XFS stays, and what kubelet and CSI drivers call
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
    """Make the places of the tables above. /usr/local is a link to /var/local already."""
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
    """Of AppArmor the parser and the rules that profiles include; no profile of Debian's.

    The rules are 170 files: in /etc each boot would copy them. The parser finds them in RULES.
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
