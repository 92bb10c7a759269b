"""Paths that pods read and write: those in the image, with links to the right places."""

import pytest

from k3os.image.places import PERSISTENT_ETC, add_places, choose_profiles
from k3os.image.tree import DIRECTORY, Tree

XFS_KEPT = (
    *("mkfs.xfs", "fsck.xfs", "xfs_repair", "xfs_admin", "xfs_db", "xfs_growfs", "xfs_info"),
    *("xfs_io", "xfs_quota", "xfs_spaceman", "xfs_freeze", "xfs_bmap"),
)
XFS_LEFT_OUT = ("xfs_scrub", "xfs_scrub_all", "xfs_protofile", "xfs_copy", "xfs_fsr")


@pytest.fixture
def tree() -> Tree:
    tree = Tree()
    tree.link("usr/local", "/var/local")
    tree.file(
        "etc/apparmor/parser.conf", b"policy-features=/usr/share/apparmor-features/features\n"
    )
    for name in (
        "Discord",
        "abi/3.0",
        "abstractions/base",
        "abstractions/crypto",
        "tunables/global",
    ):
        tree.file(f"etc/apparmor.d/{name}", name.encode())
    tree.file("usr/sbin/apparmor_parser", b"")
    for name in (*XFS_KEPT, *XFS_LEFT_OUT):
        tree.file(f"usr/sbin/{name}", b"")
    tree.file("usr/lib/apparmor/rc.apparmor.functions", b"")
    choose_profiles(tree)
    add_places(tree)
    return tree


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("etc/cni/net.d", "var/lib/rancher/k3os/etc/cni/net.d"),
        ("etc/origin", "var/lib/rancher/k3os/etc/origin"),
        ("etc/pwx", "var/lib/rancher/k3os/etc/pwx"),
        ("opt/cni/bin", "opt/cni/bin"),
        ("usr/src", "var/local/src"),
        ("usr/local/share", "var/local/share"),
        (
            "usr/libexec/kubernetes/kubelet-plugins/volume/exec",
            "var/local/libexec/kubernetes/kubelet-plugins/volume/exec",
        ),
        ("boot", "boot"),
    ],
)
def test_a_plugins_path_is_a_directory_in_a_place_that_fits(
    tree: Tree, path: str, place: str
) -> None:
    assert tree.resolve(path) == place
    assert tree.entries[place].kind == DIRECTORY


def test_of_xfs_stays_what_makes_grows_checks_and_mends_one(tree: Tree) -> None:
    """xfs_scrub alone needs 38 MB of libraries."""
    assert all(f"usr/sbin/{name}" in tree for name in XFS_KEPT)
    assert not any(f"usr/sbin/{name}" in tree for name in XFS_LEFT_OUT)


def test_no_link_below_etc_is_absolute(tree: Tree) -> None:
    """They must also work in a pod that has the node's root at /host."""
    links = [tree.entries[f"etc/{name}"].target for name in PERSISTENT_ETC]
    assert not [target for target in links if target.startswith("/")]


def test_of_apparmor_stay_the_parser_and_what_profiles_include(tree: Tree) -> None:
    assert "usr/sbin/apparmor_parser" in tree
    assert "usr/lib/apparmor/rc.apparmor.functions" not in tree
    assert tree.read("usr/share/apparmor/abstractions/crypto") == b"abstractions/crypto"
    assert tree.read("etc/apparmor/parser.conf").endswith(
        b"features\nInclude=/usr/share/apparmor\n"
    )


def test_a_boot_copies_no_rule_of_apparmor_to_etc_but_containerd_sees_those_it_asks_for(
    tree: Tree,
) -> None:
    found = [path for path in tree.entries if path.startswith("etc/apparmor.d/")]
    files = [path for path in found if tree.entries[path].kind != DIRECTORY]
    assert sorted(files) == [
        "etc/apparmor.d/abi/3.0",
        "etc/apparmor.d/abstractions/base",
        "etc/apparmor.d/tunables/global",
    ]
    assert tree.read("etc/apparmor.d/abstractions/base") == b"abstractions/base"
