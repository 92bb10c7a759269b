"""The mode disk: what persists and what does not, growing, factory reset, repair.

The first boot is on a machine with a guest agent channel, as on hypervisors, and a watchdog, as in
servers.
"""

import re
from contextlib import contextmanager
from dataclasses import replace

import pytest

from k3os.system.blockdev import RAID_MAGIC
from k3os.system.run import run
from k3os.vm.spec import Disk
from tests.vm.guest_agent import GuestAgent, channel
from tests.vm.installed import MIB, debugfs, make_disk, state_of
from tests.vm.node import BOOT, LOGIN, RESCUE, ask, wait_until_settled

CONFIG = "hostname: installed\nk3os:\n  password: secret\n"
PLUGINS = "/usr/libexec/kubernetes/kubelet-plugins/volume/exec"
WRITTEN = (
    *("/var/kept", "/home/kept", "/opt/kept", "/usr/local/kept", "/opt/cni/bin/kept"),
    *("/etc/cni/net.d/kept", "/etc/origin/kept", "/etc/pwx/kept", f"{PLUGINS}/kept"),
)
# identifies the node to k3s; the cluster checks it after each boot
PASSWORD = "/etc/rancher/node/password"
LOST = ("/etc/lost", "/lost", "/root/lost", "/tmp/lost")


@pytest.fixture(scope="module")
def disk(images, tmp_path_factory):
    directory = tmp_path_factory.mktemp("disk")
    path = directory / "disk.img"
    make_disk(images.iso, path, directory, size=400 * MIB, config=CONFIG)
    with open(path, "r+b") as file:
        file.truncate(1024 * MIB)  # a larger disk than the image, once part
        # of a RAID, whose metadata lies where the grown partition will end
        file.seek(1022 * MIB)
        file.write(RAID_MAGIC.ljust(4096, b"\0") * 512)
    return path


# a disk without discard
NO_DISCARD = ("-global", "virtio-blk-device.discard=off")


def installed(images, disk, extra=NO_DISCARD):
    # one processor: emulating several now and then crashes a rebooting kernel
    return replace(images.direct(medium=False), disks=(Disk(disk),), cpus=1, extra=extra)


def login(vm, timeout=BOOT):
    """Log in with the password, which an installed system requires."""
    vm.expect(LOGIN, timeout)
    vm.send("rancher\n")
    vm.expect("Password: ", 30)
    vm.send("secret\n")
    vm.wait_for_shell(30)


@pytest.fixture
def start(boot, images, disk):
    """`with start("name") as vm`: boots the installed disk, logs in, and shuts down at the end."""

    @contextmanager
    def started(name):
        with boot(f"disk-{name}", installed(images, disk)) as vm:
            vm.expect("k3OS: booting disk from /dev/vda1", BOOT)
            login(vm)
            yield vm
            vm.send("sudo poweroff\n")
            vm.wait_for_end(90)
            assert "FAILED" not in vm.console.text

    return started


@pytest.fixture(scope="module")
def socket(tmp_path_factory):
    return tmp_path_factory.mktemp("agent") / "socket"


@pytest.fixture(scope="module")
def node(boot, images, disk, socket):
    """The first boot."""
    spec = installed(images, disk, (*channel(socket), "-device", "i6300esb"))
    with boot("disk", spec) as vm:
        vm.expect("k3OS: booting disk from /dev/vda1", BOOT)
        login(vm)
        wait_until_settled(vm)
        yield vm


@pytest.fixture(scope="module")
def agent(node, socket):
    ask(node, "until systemctl is-active -q qemu-guest-agent; do sleep 1; done")
    connected = GuestAgent(socket)
    yield connected
    connected.close()


def test_the_state_partition_grew_with_the_disk(node):
    ask(node, "sudo journalctl -u k3os-grow | grep 'grew by 6'")
    assert int(ask(node, "lsblk -bno SIZE /dev/vda1")) > 1000 * MIB
    assert int(ask(node, "df -B1 --output=size /var | tail -n 1")) > 900 * MIB
    assert ask(node, "systemctl --failed --no-legend --plain") == ""


@pytest.mark.parametrize("path", ["/var", "/home", "/opt", "/k3os/data"])
def test_persistent_directories_are_on_the_disk(node, path):
    assert ask(node, f"findmnt -no FSTYPE,OPTIONS --target {path}").startswith("ext4 rw")


@pytest.mark.parametrize(
    ("path", "restricted"),
    [
        *(("/", True), ("/home", True), ("/k3os/data", True), ("/k3os/system", True)),
        *(("/.base", True), ("/run/initramfs/medium", True), ("/var", False), ("/opt", False)),
    ],
)
def test_no_suid_and_no_devices_where_nothing_needs_them(node, path, restricted):
    options = set(ask(node, f"findmnt -no OPTIONS {path}").split(","))
    assert (options >= {"nosuid", "nodev"}) is restricted
    assert ask(node, "sudo -n id -u") == "0"


def test_system_is_read_only_also_by_its_other_name(node):
    for path in ("/k3os/system", "/.base/k3os/system"):
        code, output = node.command(f"sudo touch {path}/new")
        assert code != 0
        assert "Read-only file system" in output


def test_the_configuration_is_for_root_only(node):
    assert ask(node, "sudo stat -c '%a %U' /k3os/system/config.yaml") == "600 root"
    assert ask(node, "hostname") == "installed"


def test_the_factory_reset_can_be_taken_back_and_asks(node):
    code, output = node.command("echo no | sudo k3os reset")
    assert code == 1
    assert "nothing was changed" in output
    ask(node, "sudo k3os reset --yes; sudo k3os reset --cancel")
    assert node.command("ls /k3os/system/factory-reset")[0] != 0
    assert "ro" in ask(node, "findmnt -no OPTIONS --target /k3os/system").split(",")


def test_the_first_boot_makes_the_host_keys_though_nobody_logs_in(node):
    ask(node, "until sudo test -e /var/lib/rancher/k3os/ssh/ssh_host_ed25519_key; do sleep 1; done")


def test_the_hypervisor_is_told_the_addresses(agent):
    interfaces = {each["name"]: each for each in agent.call("guest-network-get-interfaces")}
    addresses = [each["ip-address"] for each in interfaces["eth0"]["ip-addresses"]]
    assert "10.0.2.15" in addresses
    assert agent.call("guest-get-osinfo")["id"] == "k3os"


def test_the_agents_have_the_libraries_that_they_need(node):
    found = "/usr/bin/vmtoolsd /usr/sbin/qemu-ga /usr/bin/vmware-toolbox-cmd"
    found += " /usr/sbin/hv_*_daemon /usr/lib/*-linux-gnu/open-vm-tools/plugins/*/*.so"
    assert len(ask(node, f"ls {found}").splitlines()) == 9
    assert ask(node, f"ldd {found} | grep 'not found' || true", 120) == ""


def test_a_frozen_disk_holds_who_writes_and_nobody_else(node, agent):
    """As a hypervisor does for a backup. The disk is mounted in six places."""
    assert agent.call("guest-fsfreeze-freeze") >= 1
    try:
        assert agent.call("guest-fsfreeze-status") == "frozen"
        node.send("(echo thawed >/home/rancher/frozen) &\n")
        # programs still start, and the disk can be read
        ask(node, "systemctl is-active connman && cat /home/rancher/.bashrc >/dev/null && sleep 1")
        assert node.command("ls /home/rancher/frozen")[0] != 0
    finally:
        assert agent.call("guest-fsfreeze-thaw") >= 1
    ask(node, "until grep -q thawed /home/rancher/frozen; do sleep 1; done; rm ~/frozen")
    assert ask(node, "systemctl --failed --no-legend --plain") == ""


def test_free_blocks_are_told_to_the_disk(node):
    assert ask(node, "systemctl is-active fstrim.timer") == "active"
    ask(node, "sudo systemctl start fstrim.service")
    ask(node, "sudo journalctl -b -u fstrim | grep '/var: .* trimmed'")


def test_pid_1_has_the_watchdog(node):
    attributes = "/sys/class/watchdog/watchdog0"
    assert ask(node, f"cat {attributes}/state {attributes}/timeout").split() == ["active", "120"]
    ask(node, "sudo ls -l /proc/1/fd | grep /dev/watchdog")


def test_a_disk_that_a_pods_root_filled_is_told_and_leaves_room_for_people(node):
    """As root in a container, which has no CAP_SYS_RESOURCE from containerd."""
    pod = "sudo setpriv --bounding-set -sys_resource --inh-caps -sys_resource"
    code, output = node.command(f"{pod} sh -c 'head -c 2G /dev/zero >/var/filled'", 120)
    assert code != 0
    assert "No space left" in output
    available, free = ask(node, "stat -f -c '%a %f' /var").split()
    assert int(available) < 100 < 1000 < int(free), (available, free)
    ask(node, "sudo systemctl start k3os-memory")
    assert "k3OS: /var is full: 0 % of it is left" in node.console.text
    code, output = node.command("sudo k3os status")
    assert code == 1
    assert "FULL: /var is full" in output
    ask(
        node,
        "echo 'k3os: {sysctls: {kernel.panic: 9}}' | sudo tee /var/lib/rancher/k3os/config.yaml",
    )
    ask(node, "sudo k3os config")
    assert ask(node, "cat /proc/sys/kernel/panic") == "9"
    ask(node, "sudo rm /var/filled /var/lib/rancher/k3os/config.yaml; sudo k3os config")
    assert ask(node, "cat /proc/sys/kernel/panic") != "9"
    ask(node, "sudo systemctl start k3os-memory; sudo k3os status")


def check_that_nothing_is_said_of_what_is_not_there(vm):
    """No guest agent channel, no watchdog, a disk without discard: not an error."""
    agents = "qemu-guest-agent open-vm-tools hv-kvp-daemon hv-vss-daemon"
    states = ask(vm, f"systemctl show -P LoadState -P ActiveState {agents}").split()
    assert states == 4 * ["loaded", "inactive"]
    assert ask(vm, "sudo journalctl -b -q _PID=1 | grep -i watchdog || true") == ""
    ask(vm, "sudo systemctl start fstrim.service")
    assert "trimmed" not in ask(vm, "sudo journalctl -b -u fstrim")


IDENTITY = "cat /etc/machine-id; sudo sh -c 'cat /var/lib/rancher/k3os/ssh/*.pub'"


OWN = "/var/lib/rancher/k3os/config.yaml"


def test_a_configuration_that_is_tried_goes_again_unless_it_is_kept(node):
    def pressure() -> str:
        return ask(node, "cat /proc/sys/vm/vfs_cache_pressure")

    before = pressure()
    ask(node, "echo 'k3os: {sysctls: {vm.vfs_cache_pressure: 33}}' > new.yaml")
    told = ask(node, "sudo k3os config diff new.yaml")
    assert re.search(r"k3os.sysctls: at once\s+\+\s+vm.vfs_cache_pressure: .?33", told), told
    assert "33" not in ask(node, "sudo ls /var/lib/rancher/k3os")
    ask(node, "sudo k3os config try new.yaml --for 15s")
    assert pressure() == "33"
    node.expect(f"k3OS: the configuration tried as {OWN} is taken back: nobody kept it in time", 60)
    ask(node, "while systemctl is-active -q k3os-config-back; do sleep 1; done")
    assert pressure() == before
    ask(node, "sudo k3os config try new.yaml && sudo k3os config keep")
    assert pressure() == "33"
    assert node.command(f"systemctl is-active k3os-config-back.timer; sudo cat {OWN}")[1] == (
        "inactive\nk3os: {sysctls: {vm.vfs_cache_pressure: 33}}"
    )
    # a trial that the next boot undoes
    ask(node, "echo 'k3os: {sysctls: {vm.vfs_cache_pressure: 44}}' > newer.yaml")
    ask(node, "sudo k3os config try newer.yaml --for 1h")
    assert pressure() == "44"


def test_the_next_boot_keeps_and_forgets_as_documented(node, agent, start, disk):
    ask(node, "sudo systemctl start k3os-ssh-keys")
    before = ask(node, IDENTITY)
    ask(node, f"sudo touch {' '.join(WRITTEN + LOST)}")
    ask(node, f"until sudo test -e {PASSWORD}; do sleep 1; done", 60)
    password = ask(node, f"sudo cat {PASSWORD}")
    ask(node, "sudo rm /home/rancher/.profile; echo '# mine' | sudo tee /home/rancher/.bashrc")
    agent.send("guest-shutdown")
    node.wait_for_end(90)
    assert "FAILED" not in node.console.text
    assert state_of(disk) == "clean"
    with start("second") as vm:
        assert ask(vm, f"ls {' '.join(WRITTEN)}").split() == sorted(WRITTEN)
        assert vm.command(f"ls {' '.join(LOST)} 2>/dev/null")[1] == ""
        assert ask(vm, IDENTITY) == before
        assert f"k3OS: {OWN}: nobody kept the configuration that was tried" in vm.console.text
        assert ask(vm, "cat /proc/sys/vm/vfs_cache_pressure") == "33"
        assert ask(vm, f"sudo cat {PASSWORD}") == password
        assert ask(vm, f"sudo stat -Lc '%a %U' {PASSWORD} /etc/rancher/node").split() == [
            *("600", "root", "700", "root")
        ]
        assert ask(vm, "cat /home/rancher/.bashrc") == "# mine"
        ask(vm, "test -s /home/rancher/.profile")
        assert len(ask(vm, "sudo ls /var/log/journal").split()) == 1
        assert ask(vm, "systemctl show -P ActiveState k3os-grow") == "inactive"
        check_that_nothing_is_said_of_what_is_not_there(vm)
        ask(vm, "sudo k3os reset --yes")
    with start("reset") as vm:
        assert "k3OS: factory reset: done" in vm.console.text
        assert vm.command(f"ls {' '.join(WRITTEN)} 2>/dev/null")[1] == ""
        assert ask(vm, "cat /etc/machine-id") != before.split()[0]
        ask(vm, f"until sudo test -e {PASSWORD}; do sleep 1; done", 60)
        assert ask(vm, f"sudo cat {PASSWORD}") != password
        assert ask(vm, "hostname") == "installed"
        assert vm.command("ls /k3os/system/factory-reset")[0] != 0
        ask(vm, "sudo touch /var/disk")
        ask(vm, "sudo mount -o remount,rw /k3os/system && sudo touch /k3os/system/ephemeral")


def test_ephemeral_data_is_fresh_and_what_was_there_comes_back(start):
    with start("ephemeral") as vm:
        assert ask(vm, "findmnt -no FSTYPE --target /var") == "tmpfs"
        assert vm.command("ls /var/disk")[0] != 0
        ask(vm, "sudo systemctl start fstrim.service")  # /var is in memory
        ask(vm, "sudo mount -o remount,rw /k3os/system && sudo rm /k3os/system/ephemeral")


def test_a_file_system_that_was_not_unmounted_is_checked_and_mended(start, disk):
    debugfs(disk, "set_super_value state 0", "set_inode_field <11> links_count 7")
    assert state_of(disk) != "clean"
    with start("mended") as vm:
        assert "the file system on /dev/vda1 was repaired" in vm.console.text
        ask(vm, "ls /var/disk")
    assert state_of(disk) == "clean"


def test_a_file_system_beyond_automatic_repair_ends_in_words(boot, images, disk, tmp_path):
    copy = tmp_path / "copy.img"
    run(["cp", "--sparse=always", str(disk), str(copy)])
    debugfs(copy, "set_super_value state 0", "set_inode_field /k3os/data mode 0")
    spec = installed(images, copy)
    with boot("disk-damaged", spec) as vm:
        vm.expect("the file system on /dev/vda1 is damaged", BOOT)
        vm.expect("`e2fsck -y /dev/vda1` in this shell repairs it", 30)
        vm.expect(RESCUE, 30)
