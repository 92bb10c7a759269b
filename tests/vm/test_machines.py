"""What machines and people do to a node: power cuts, clocks, cables, failing disks, no memory left.
Only `make test-machines` runs this, not `make test`: it takes half an hour.

Each test prints what it saw, and asserts what must hold.
"""

import dataclasses
import json
import subprocess
import time
from pathlib import Path

import pytest

from k3os.system.run import run
from k3os.vm.spec import Disk, VMSpec
from tests.vm.installed import MIB, START, make_disk, make_image
from tests.vm.node import BOOT, LOGIN, ask, over_ssh, stop, wait_until_settled

pytestmark = pytest.mark.extra

FAILED = "systemctl --failed --no-legend --plain"
CUTS = (0.3, 0.8, 1.5, 2.5, 4, 6, 9, 13, 18, 24)
CACHES = ("none", "writethrough", "unsafe")


def config(key, more=""):
    return f"ssh_authorized_keys:\n- {key.with_suffix('.pub').read_text().strip()}\n{more}"


def say(name, text):
    print(f"\n=== {name}\n{text}", flush=True)


def patient(vm, name):
    """Wait for a boot that takes longer because a file system is repaired."""
    vm.expect(rf"{name} {LOGIN}", 3 * BOOT)


def on_a_disk(images, key, tmp_path, name):
    """A machine that boots an installed disk."""
    disk = tmp_path / "disk.img"
    text = config(key, f"hostname: {name}\n")
    make_disk(images.iso, disk, tmp_path, size=700 * MIB, config=text)
    return dataclasses.replace(images.direct(medium=False), disks=(Disk(disk),))


# --- a power cut in the first boot ---------------------------------------------------------------


def test_a_power_cut_anywhere_in_the_first_boot_costs_nothing(boot, images, key, tmp_path):
    disk = make_image(images.iso, tmp_path, config(key, "hostname: cut\n"), size="4G")
    mine = tmp_path / "one.raw"
    for number, delay in enumerate(CUTS):
        subprocess.run(["cp", "--sparse=always", disk, mine], check=True)
        cache = CACHES[number % len(CACHES)]
        with boot("cut", VMSpec(disks=(Disk(mine, cache=cache),))) as vm:
            vm.expect("early boot", BOOT)
            time.sleep(delay)
            vm.cut_power()
        with boot("after-cut", VMSpec(disks=(Disk(mine),))) as vm:
            patient(vm, "cut")
            said = over_ssh(
                vm,
                key,
                "while systemctl is-active -q k3os-grow; do sleep 1; done; "
                "systemctl is-system-running --wait >/dev/null; "
                "sudo k3os status >/tmp/s; echo rc=$?; grep -a FAILED /tmp/s; "
                "df --output=size -m /var | tail -1; ls /etc/ssh/ssh_host*_key | wc -l; "
                f"ls /var/lib/rancher/k3os; {FAILED}",
                300,
            )
            say(f"cut after {delay} s, cache={cache}", said)
            assert "rc=0" in said
            assert "FAILED" not in said
            assert any(line.strip().isdigit() and int(line) > 3000 for line in said.splitlines())


# --- clocks --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "year", ["1970-01-01T00:00:10", "2100-06-01T00:00:00", "2038-01-19T03:14:00"]
)
def test_a_clock_far_off_is_put_right_and_told(boot, images, key, year):
    spec = dataclasses.replace(images.direct(config=config(key)), extra=("-rtc", f"base={year}"))
    with boot(f"clock-{year[:4]}", spec) as vm:
        vm.wait_for_shell(BOOT)
        ask(vm, "systemctl is-system-running --wait || true", 2 * BOOT)
        said = ask(vm, f"date -u +%F; k3os status | grep -a '^clock' || true; {FAILED}")
        say(f"clock {year}", said)
        assert not said.startswith(("1970", "2100"))
        # 2038 is plausible: no message
        assert ("which cannot be right" in vm.console.text) == (year[:4] != "2038")
        assert ask(vm, "systemctl is-active k3s") == "active"


def test_a_disk_that_ran_in_2100_boots_in_its_own_time(boot, images, key, tmp_path):
    """The file system's timestamps are in the future then."""
    spec = on_a_disk(images, key, tmp_path, "old")
    with boot("year-2100", dataclasses.replace(spec, extra=("-rtc", "base=2100-06-01"))) as vm:
        patient(vm, "old")
        stop(vm, key)
    with boot("year-now", spec) as vm:
        patient(vm, "old")
        said = over_ssh(vm, key, f"date -u +%F; sudo k3os status >/tmp/s; echo rc=$?; {FAILED}")
        say("after 2100", said)
        assert "rc=0" in said
        assert "rescue" not in vm.console.text


# --- cables and DHCP -----------------------------------------------------------------------------


def test_a_cable_that_comes_late(boot, images, key):
    """Later than the boot waits (30 s). The link is down before the kernel starts."""
    with boot("late-cable", images.direct(config=config(key))) as vm:
        vm._qmp.execute("set_link", name="net0", up=False)
        vm.wait_for_shell(2 * BOOT)
        ask(vm, "until test -e /run/k3os/network-late; do sleep 1; done", 120)
        said = ask(vm, "ip -br -4 addr show dev eth0; k3os status | grep -a '^k3s' || true")
        say("without a cable", said)
        assert "10.0.2.15" not in said
        vm._qmp.execute("set_link", name="net0", up=True)
        ask(vm, "until ip -br -4 addr show dev eth0 | grep -q 10.0.2.15; do sleep 1; done", 90)
        ask(vm, "until ip route show default | grep -q .; do sleep 1; done", 30)
        ask(vm, "until grep -q 10.0.2.15 /etc/issue; do sleep 1; done", 30)
        ask(vm, "until ! test -e /run/k3os/network-late; do sleep 1; done", 30)
        ask(vm, "until [ $(systemctl is-active k3s) = active ]; do sleep 1; done", 120)
        say("with it", ask(vm, f"k3os status | head -20; {FAILED}"))
        assert over_ssh(vm, key, "uname -n")


def test_two_dhcp_servers_on_one_wire(boot, images, key):
    """The first offer is taken and kept: one default route, no address from the other server."""
    cards = ("-netdev", "user,id=a,net=10.0.2.0/24,hostname=first")
    cards += ("-netdev", "user,id=b,net=192.168.88.0/24,hostname=second")
    for name in "ab":
        cards += ("-netdev", f"hubport,id=h{name},hubid=0,netdev={name}")
    cards += ("-netdev", "hubport,id=hn,hubid=0", "-device", "virtio-net-pci,netdev=hn,romfile=")
    spec = images.direct(config=config(key))
    spec = dataclasses.replace(spec, network=False, forwards=(), extra=cards)
    with boot("two-dhcp", spec) as vm:
        vm.wait_for_shell(BOOT)
        wait_until_settled(vm)
        seen = set()
        for _ in range(6):
            address = ask(vm, "ip -4 -o addr show dev eth0 scope global | awk '{print $4}'")
            default = ask(vm, "ip route show default")
            seen.add((address, default, ask(vm, "uname -n")))
            time.sleep(10)
        say("two DHCP servers", "\n".join(map(str, seen)))
        assert len(seen) == 1, "it changes"
        ((address, default, name),) = seen
        assert len(address.splitlines()) == 1
        assert len(default.splitlines()) == 1
        assert address.rpartition(".")[0] in default
        assert name == ("first" if address.startswith("10.") else "second")


# --- a disk with I/O errors ----------------------------------------------------------------------


def test_a_directory_that_cannot_be_read_is_told(boot, images, key, tmp_path):
    """With QEMU's blkdebug, reading one block of a directory always fails with EIO. ext4 counts the
    error when it looks up a name there, not when it only lists the directory."""
    spec = on_a_disk(images, key, tmp_path, "sick")
    with boot("io-healthy", spec) as vm:
        patient(vm, "sick")
        inode = over_ssh(
            vm,
            key,
            "while systemctl is-active -q k3os-grow; do sleep 1; done; "
            "sudo mkdir /var/sick && sudo touch /var/sick/a && sync && stat -c %i /var/sick",
        )
        stop(vm, key)
    disk = spec.disks[0].path
    command = ["debugfs", "-R", f"blocks <{int(inode)}>", f"{disk}?offset={START}"]
    block = int(run(command).decode().splitlines()[-1].split()[0])  # below debugfs' own version
    shown = run(["dumpe2fs", "-h", f"{disk}?offset={START}"]).decode()
    size = int(next(line.split()[-1] for line in shown.splitlines() if "Block size" in line))
    rules = tmp_path / "blkdebug.conf"
    rules.write_text(
        '[inject-error]\nevent = "none"\niotype = "read"\nerrno = "5"\nonce = "off"\n'
        f'sector = "{(START + block * size) // 512}"\n'
    )
    sick = dataclasses.replace(spec, disks=(Disk(Path(f"blkdebug:{rules}:{disk}")),))
    with boot("io-errors", sick) as vm:
        patient(vm, "sick")
        said = over_ssh(
            vm,
            key,
            "ls /var/sick/a; sudo /usr/lib/k3os/disk; cat /run/k3os/disk-errors; "
            "sudo k3os status >/tmp/s; echo rc=$?; grep -a ERRORS /tmp/s; "
            "systemctl is-active k3s; sudo touch /var/still && echo writable",
            180,
        )
        say("I/O errors", said)
        assert "has met errors" in said
        assert "rc=1" in said
        assert "ERRORS: " in said
        assert "writable" in said, "one bad directory must not take the node away"
        vm.expect("k3OS: the file system on .* has met errors", 90)


# --- the stick pulled out ------------------------------------------------------------------------


def test_a_stick_that_is_pulled_out_of_a_live_system(boot, images, key):
    """What still works, and what is reported. Only what was read before can still be read."""
    with boot("pulled", images.direct(config=config(key))) as vm:
        vm.wait_for_shell(BOOT)
        wait_until_settled(vm)
        ask(vm, "sudo sh -c 'echo 1 >$(readlink -f /sys/block/vda/device)/../remove'")
        for command in (
            "uptime",
            "sudo k3os status | head -20",
            "sudo vim --version | head -2",
            "dmesg | tail -5",
            "systemctl is-active k3s",
            "cat /etc/issue",
        ):
            try:
                say(f"$ {command}", vm.command(command, 60))
            except Exception as error:  # a hanging command is a finding, too
                say(f"$ {command}", f"NO ANSWER: {str(error)[-400:]}")
        time.sleep(65)  # k3os-memory.timer, which calls /usr/lib/k3os/disk
        say("console", vm.console.text[-1500:])
        assert "which k3OS runs from, is gone" in vm.console.text
        vm.send("sudo reboot -ff || echo b | sudo tee /proc/sysrq-trigger\n")
        vm.expect("early boot|no k3OS boot medium", 2 * BOOT)


# --- the journal ---------------------------------------------------------------------------------


def test_two_hundred_megabytes_of_log_stay_within_bounds(boot, images, key, tmp_path):
    spec = on_a_disk(images, key, tmp_path, "log")
    with boot("journal", spec) as vm:
        patient(vm, "log")
        said = over_ssh(
            vm,
            key,
            "while systemctl is-active -q k3os-grow; do sleep 1; done; "
            "head -c 150M /dev/urandom | base64 -w 40000 | systemd-cat -t flood; sleep 5; "
            "sudo journalctl --sync; sudo du -sm /var/log/journal | cut -f1; "
            "journalctl --disk-usage; time journalctl -n 1 -o cat -t flood | head -c 20; "
            "systemctl is-active systemd-journald k3s; df -m --output=avail /var | tail -1; "
            "sudo k3os status >/tmp/s; echo rc=$?",
            600,
        )
        say("200 MB of journal", said)
        assert int(said.split()[0]) <= 72
        assert "rc=0" in said


# --- names ---------------------------------------------------------------------------------------


def test_a_host_name_that_changes_keeps_the_node_and_sudo(boot, images, key):
    with boot("rename", images.direct(config=config(key, "hostname: before\n"))) as vm:
        vm.wait_for_shell(BOOT)
        wait_until_settled(vm)
        path = "/var/lib/rancher/k3os/config.d/name.yaml"
        directory = path.rpartition("/")[0]
        ask(vm, f"sudo mkdir -p {directory}; echo hostname: After_2 | sudo tee {path}")
        code, output = vm.command("sudo k3os config", 120)
        say("a wrong name", output)
        assert code == 1
        assert "After_2" in output
        ask(vm, f"echo hostname: after-2 | sudo tee {path}; sudo k3os config", 120)
        said = ask(
            vm,
            "uname -n; sudo -n uname -n 2>&1; cat /var/lib/rancher/k3os/node-name; "
            "k3os status | grep -a 'node name'; sudo k3os config --dump | grep hostname",
        )
        say("renamed", said)
        assert said.splitlines()[:3] == ["after-2", "after-2", "before"]
        assert "unable to resolve" not in said
        # somebody renames the running host behind our back
        ask(vm, "sudo sh -c 'echo Third_Name >/proc/sys/kernel/hostname'")
        assert "unable to resolve" not in ask(vm, "sudo -n true 2>&1; sudo -n true 2>&1")
        ask(
            vm,
            "sudo systemctl restart k3s; until systemctl is-active -q k3s; do sleep 1; done",
            120,
        )
        assert ask(vm, "sudo cat /var/lib/rancher/k3os/node-name") == "before"


# --- a thousand files of configuration -----------------------------------------------------------


def test_a_thousand_files_of_configuration(boot, images, key, tmp_path):
    spec = on_a_disk(images, key, tmp_path, "many")
    with boot("thousand", spec) as vm:
        patient(vm, "many")
        make = (
            "sudo mkdir -p /var/lib/rancher/k3os/config.d; "
            "sudo sh -c 'cd /var/lib/rancher/k3os/config.d; for n in $(seq 1000); do "
            'printf "write_files:\\n- {path: /etc/many/$n, content: x$n}\\n'
            "k3os: {labels: {l$n: v}}\\n\" >$n.yaml; done'"
        )
        said = over_ssh(
            vm, key, f"{make}; bash -c 'time sudo k3os config'; ls /etc/many | wc -l", 600
        )
        say("1,000 files at runtime", said)
        assert said.split()[-1] == "1000"
        before = len(vm.console.text)
        over_ssh(vm, key, "sudo systemctl --no-block reboot")
        vm.expect("early boot", BOOT)
        patient(vm, "many")
        said = over_ssh(
            vm,
            key,
            "systemctl is-system-running --wait >/dev/null; ls /etc/many | wc -l; "
            "sudo k3os status --json",
            600,
        )
        number, _, text = said.partition("\n")
        status = json.loads(text)
        say(
            "1,000 files at boot",
            {name: each["seconds"] for name, each in status["phases"].items()},
        )
        assert number == "1000"
        assert not [
            a for p in status["phases"].values() for a in p["actions"] if a["result"] == "failed"
        ]
        assert "FAILED" not in vm.console.text[before:]


# --- memory that is nearly gone ------------------------------------------------------------------


def test_with_hardly_any_memory_left_people_get_in_and_are_told(boot, images, key):
    """In tests/vm/test_memory.py a pod takes the memory; here it is a program of root, outside of
    all limits for pods."""
    spec = dataclasses.replace(images.direct(config=config(key)), memory=1024)
    with boot("no-memory", spec) as vm:
        vm.wait_for_shell(BOOT)
        wait_until_settled(vm)
        eat = "import time; h = []; "
        eat += "any(h.append(b'x' * (1 << 23)) or time.sleep(.05) for _ in iter(int, 1))"
        ask(vm, f'sudo systemd-run -q -u eater -p OOMScoreAdjust=500 python3 -c "{eat}"')
        ask(vm, "until ! systemctl is-active -q eater; do sleep 1; done", 300)
        said = ask(
            vm,
            "sleep 61; k3os status | grep -a -A2 '^memory'; systemctl is-active k3s ssh.socket; "
            f"{FAILED}",
            180,
        )
        say("memory nearly gone", said)
        assert "SHORT: the kernel ended a program to get memory" in said
        assert over_ssh(vm, key, "uname -n")


# --- VLANs ---------------------------------------------------------------------------------------


def test_the_entry_of_a_vlan_with_jumbo_frames_and_of_a_card_named_twice(boot, images, key):
    mac = "52:54:00:00:00:02"
    cards = ("-netdev", "user,id=net1,net=192.168.77.0/24,restrict=on")
    cards += ("-device", f"virtio-net-pci,netdev=net1,mac={mac},romfile=")
    network = "k3os: {network: {eth1.7: {address: 10.7.0.2/24, mtu: 4000}, eth1: 10.1.0.2/24, "
    spec = images.direct(config=config(key, f"{network}'{mac}': 10.1.0.9/24}}}}\n"))
    with boot("vlan-jumbo", dataclasses.replace(spec, extra=cards)) as vm:
        vm.wait_for_shell(BOOT)
        wait_until_settled(vm)
        said = ask(
            vm,
            "ip -br a; cat /sys/class/net/eth1.7/mtu /sys/class/net/eth1/mtu; "
            "k3os status | grep -a FAILED",
        )
        say("VLAN", said)
        assert "\n4000\n" in said
        assert "10.1.0.2/24" in said
        assert "10.1.0.9" not in said
        assert "is eth1, which another entry describes" in said
