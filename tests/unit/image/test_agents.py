"""The hypervisors' agents: which packages, which of their files, and that only udev starts them."""

import re
from pathlib import Path

import pytest

from k3os.image.agents import choose_agents
from k3os.image.packages import BUILD_TIME_PACKAGES, base_options
from k3os.image.rootfs import WANTS, remove_unused
from k3os.image.settings import from_environment
from k3os.image.tree import Tree

RULES = Path(__file__).parents[3] / "overlay/rootfs/usr/lib/udev/rules.d"
LIBRARIES = "usr/lib/x86_64-linux-gnu"


@pytest.mark.parametrize(
    ("arch", "wanted"),
    [
        ("amd64", {"qemu-guest-agent", "hyperv-daemons", "open-vm-tools"}),
        ("arm64", {"qemu-guest-agent", "hyperv-daemons", "open-vm-tools"}),
        ("arm", {"qemu-guest-agent"}),
    ],
)
def test_an_architecture_has_the_agents_of_its_hypervisors(arch: str, wanted: set[str]) -> None:
    (option,) = (
        each
        for each in base_options(from_environment({"ARCH": arch}))
        if each.startswith("--include=")
    )
    packages = set(option.removeprefix("--include=").split(","))
    assert packages & {"qemu-guest-agent", "hyperv-daemons", "open-vm-tools"} == wanted


def test_of_vmwares_plugins_only_those_for_a_node_stay() -> None:
    tree = Tree()
    plugins = f"{LIBRARIES}/open-vm-tools/plugins"
    for name in ("common/libvix.so", "vmsvc/libdeployPkgPlugin.so", "vmsvc/libpowerOps.so"):
        tree.file(f"{plugins}/{name}", b"")
    tree.file("usr/bin/vmtoolsd", b"")
    tree.file("usr/bin/VGAuthService", b"")
    choose_agents(tree)
    assert {path for path in tree.entries if tree.entries[path].kind != "dir"} == {
        *(f"{plugins}/vmsvc/libpowerOps.so", "usr/bin/vmtoolsd"),
    }


@pytest.mark.parametrize("listing", ["libxml2:amd64.list", "libxml2.list"])
def test_a_package_that_is_not_needed_goes_however_dpkg_names_its_list(listing: str) -> None:
    assert "libxml2" in BUILD_TIME_PACKAGES
    tree = Tree()
    tree.file(f"var/lib/dpkg/info/{listing}", b"/.\n/usr\n/usr/lib/libxml2.so.2\n")
    tree.file("usr/lib/libxml2.so.2", b"")
    tree.file("usr/lib/libxml2-of-another.so.2", b"")
    remove_unused(tree)
    assert "usr/lib/libxml2.so.2" not in tree
    assert "usr/lib/libxml2-of-another.so.2" in tree


def test_no_boot_starts_an_agent_by_itself() -> None:
    started = " ".join(unit for units in WANTS.values() for unit in units)
    assert not re.search(r"qemu|hv-|vmtools|open-vm|vgauth", started)


def test_vmwares_agent_is_wanted_on_vmware_only() -> None:
    (line,) = (
        line
        for line in (RULES / "60-k3os-vmware.rules").read_text().splitlines()
        if not line.startswith("#")
    )
    *conditions, tag, wants = line.split(", ")
    assert 'ATTR{sys_vendor}=="VMware*"' in conditions
    assert all("==" in each for each in conditions)
    assert (tag, wants) == ('TAG+="systemd"', 'ENV{SYSTEMD_WANTS}+="open-vm-tools.service"')
