"""The live system without any configuration: one boot, checked from inside."""

import hashlib
import json
import re
import time
from base64 import b64encode

import pytest
import yaml

from k3os.operator.manifests import Build, manifests
from k3os.phases import operator
from k3os.system.run import run
from tests.oci_layout import Layout
from tests.vm.node import BOOT, ask, wait_until_settled


@pytest.fixture(scope="module")
def node(boot, images):
    with boot("live", images.direct()) as vm:
        vm.wait_for_shell(BOOT)
        wait_until_settled(vm)
        yield vm


def mount_options(node, path):
    return ask(node, f"findmnt -no OPTIONS --target {path}").split(",")


def test_the_serial_console_logs_rancher_in_without_a_password(node):
    assert ask(node, "id -un; id -u").split() == ["rancher", "1000"]
    assert ask(node, "ps -o tty= -p $$") == "ttyS0"


def test_sudo_asks_for_no_password(node):
    assert ask(node, "sudo -n id -u") == "0"


def test_what_a_program_may_see_of_the_kernel_and_of_others_is_little(node):
    wanted = {
        "kernel.kptr_restrict": "1",
        "kernel.yama.ptrace_scope": "1",
        "fs.protected_hardlinks": "1",
        "fs.protected_symlinks": "1",
        "fs.protected_fifos": "1",
        "fs.protected_regular": "2",
    }
    lines = ask(node, f"sudo -n sysctl {' '.join(wanted)}").splitlines()
    assert dict(line.split(" = ") for line in lines) == wanted
    assert "nosuid" in mount_options(node, "/etc")
    assert "nodev" not in mount_options(node, "/var"), "storage keeps device files there"


def test_a_user_can_ping(node):
    ask(node, "ping -c 1 -W 5 127.0.0.1")


def test_root_is_locked(node):
    password = ask(node, "sudo -n getent shadow root").split(":")[1]
    assert password.startswith(("!", "*"))


def test_no_other_account_can_log_in(node):
    shells = ask(node, "getent passwd | grep -vE ':(/usr/sbin/nologin|/bin/false|/bin/sync)$'")
    assert [line.split(":")[0] for line in shells.splitlines()] == ["root", "rancher"]


def test_nothing_failed(node):
    assert ask(node, "systemctl --failed --no-legend --plain") == ""
    assert ask(node, "systemctl is-system-running") == "running"


def test_no_job_is_left_waiting(node):
    """A report may be running, but ends by itself."""
    jobs = "systemctl list-jobs --no-legend"
    wait = f"for i in $(seq 60); do case $({jobs}) in ''|No*) break;; esac; sleep 1; done"
    assert ask(node, f"{wait}; {jobs}") in ("", "No jobs running.")


def test_a_right_clock_is_left_alone_and_not_waited_for(node):
    assert ask(node, "systemctl show -P ConditionResult k3os-clock") == "no"
    assert abs(int(ask(node, "date +%s")) - time.time()) < 30
    assert "clock" not in ask(node, "k3os status")
    assert "clock" not in ask(node, "ls /run/k3os")


# Debian's cloud kernel has no rfkill; connman says so and continues
HARMLESS = ("connmand", "Failed to open RFKILL control device")


def test_the_journal_has_no_error(node):
    lines = ask(node, "sudo -n journalctl -b -p err -o short --no-pager -q").splitlines()
    assert [line for line in lines if not all(part in line for part in HARMLESS)] == []


def test_usr_cannot_be_written(node):
    code, output = node.command("sudo -n touch /usr/bin/new")
    assert code != 0
    assert "Read-only file system" in output


def test_usr_is_a_squashfs(node):
    assert ask(node, "findmnt -no FSTYPE --target /usr/bin") == "squashfs"


def test_usr_local_is_writable_and_leads_to_var_local(node):
    assert ask(node, "readlink -f /usr/local") == "/var/local"
    ask(node, "sudo -n sh -c 'mkdir -p /usr/local/bin && touch /usr/local/bin/mine'")
    assert ask(node, "ls /var/local/bin") == "mine"


@pytest.mark.parametrize("path", ["/", "/etc", "/var", "/home", "/opt"])
def test_in_a_live_system_it_is_memory(node, path):
    assert ask(node, f"findmnt -no FSTYPE --target {path}") == "tmpfs"
    ask(node, f"sudo -n sh -c 'touch {path}/.probe && rm {path}/.probe'")


def test_k3os_system_is_read_only(node):
    assert "ro" in mount_options(node, "/k3os/system")
    code, output = node.command("sudo -n touch /k3os/system/new")
    assert code != 0
    assert "Read-only file system" in output


def test_current_names_a_generation_with_the_three_versions(node):
    manifest = json.loads(ask(node, "cat /k3os/system/current/manifest.json"))
    assert re.fullmatch(r"generations/\d+", ask(node, "readlink /k3os/system/current"))
    for component in ("kernel", "k3os", "k3s"):
        version = manifest[component]
        assert ask(node, f"readlink -f /k3os/system/current/{component}") == (
            f"/k3os/system/{component}/{version}"
        )
    assert manifest["kernel"] == ask(node, "uname -r")
    assert ask(node, "k3os --version") == f"k3os {manifest['k3os']}"


def test_the_generation_has_the_files_its_manifest_names(node):
    code, output = node.command(
        "cd /k3os/system && sudo -n python3 -c 'import json; "
        'print("\\n".join(f"{s}  {f}" for f, s in '
        'json.load(open("current/manifest.json"))["sha256"].items()))\' | sudo -n sha256sum -c'
    )
    assert code == 0, output
    assert len(output.splitlines()) == 5


def test_k3s_was_started_as_a_server(node):
    ask(node, "until systemctl is-active -q k3s; do sleep 1; done", 60)
    assert ask(node, "sudo -n cat /run/k3s-stub/argv") == "server"


def test_k3s_finds_the_image_of_the_operator_and_its_objects(node, images):
    file = images.iso.with_name("k3os-operator-amd64.tar.zst")
    with open(file, "rb") as opened:
        expected = hashlib.file_digest(opened, "sha256").hexdigest()
    assert ask(node, f"sudo -n readlink {operator.LINK}") == operator.IMAGE
    assert ask(node, f"sudo -n sha256sum {operator.LINK}", 60).split()[0] == expected
    ask(node, "while systemctl is-active -q k3os-operator-image; do sleep 1; done", 120)
    imported = ask(node, "sudo -n cat /run/k3s-stub/containerd-images").splitlines()
    assert Layout(file).image_id in imported[1]
    assert imported[0].endswith("k3os-operator:0.1.0 io.cri-containerd.pinned=pinned")
    assert ask(node, "cat /run/k3os/operator-image") == Layout(file).image_id
    assert ask(node, f"sudo -n stat -c '%a %U' {operator.COPY}") == "600 root"
    objects = list(yaml.safe_load_all(ask(node, f"sudo -n cat {operator.COPY}")))
    version = ask(node, "k3os --version").split()[1]
    assert objects == manifests(Build(version, Layout(file).image_id, "amd64"))


def test_what_k3s_keeps_on_a_server_is_for_root_only(node):
    assert ask(node, "sudo -n stat -c %a /var/lib/rancher/k3s/server") == "700"


def test_kubectl_works_for_rancher(node):
    assert re.search(r"\bReady\b", ask(node, "kubectl get nodes"))


WAYS = (
    "{}",
    "sudo -n {}",
    "env -i /usr/sbin/{}",
    "sudo -n systemd-run --wait -q -p User=rancher -p StandardError=journal /usr/sbin/{}",
    "sudo -n systemd-run --wait -q /usr/sbin/{}",
)
CALLS = ("kubectl get nodes", "k3s kubectl get nodes", "k3s --version")


@pytest.fixture(params=["644", "600"])
def configuration(request, node):
    """With the mode that we set, and with that of a user's file that contains secrets."""
    path = "/etc/rancher/k3s/config.yaml"
    assert ask(node, f"stat -c %a {path}") == "644"
    ask(node, f"sudo -n chmod {request.param} {path}")
    yield
    ask(node, f"sudo -n chmod 644 {path}")


def test_the_tools_work_for_everybody_however_they_are_called(node, configuration):
    """kubectl, crictl and ctr are k3s, which reads its configuration before acting as them."""
    calls = [way.format(call) for way in WAYS for call in CALLS]
    calls.append("sudo -n -u nobody k3s --version")
    script = "".join(
        f"{call} >/tmp/said 2>&1 || (echo '{call}:'; cat /tmp/said); " for call in calls
    )
    assert ask(node, script, 240) == ""


def test_no_secret_is_among_the_arguments_and_pods_have_the_nodes_name_servers(node):
    environment = ask(node, "sudo -n cat /run/k3s-stub/environment").splitlines()
    assert "K3S_RESOLV_CONF=/run/k3os/resolv.conf" in environment
    for path in ("/etc/resolv.conf", "/run/k3os/resolv.conf"):
        lines = ask(node, f"cat {path}").splitlines()
        servers = [line.split()[1] for line in lines if line.startswith("nameserver")]
        assert "10.0.2.3" in servers, "QEMU's DHCP"
        assert not [each for each in servers if each.startswith(("127.", "::1", "fe80"))]


def test_pods_hear_of_other_name_servers(node):
    service = ask(node, "connmanctl services").split()[-1]
    # connman skips IPv6 name servers if the interface has no IPv6
    ask(node, f"connmanctl config {service} nameservers 10.0.2.4")
    ask(node, "until grep -q 10.0.2.4 /run/k3os/resolv.conf; do sleep 1; done", 60)
    ask(node, f"connmanctl config {service} nameservers 10.0.2.3")
    ask(node, "until grep -q 10.0.2.3 /run/k3os/resolv.conf; do sleep 1; done", 60)


@pytest.mark.parametrize("name", ["kubectl", "crictl", "ctr"])
def test_the_tools_of_k3s_stand_beside_it(node, name):
    assert ask(node, f"readlink -f /usr/sbin/{name}") == ask(node, "readlink -f /usr/sbin/k3s")


def test_the_kubeconfig_is_for_rancher_and_root_only(node):
    mode, owner, group = ask(node, "sudo -n stat -c '%a %U %G' /etc/rancher/k3s/k3s.yaml").split()
    assert (mode, owner, group) == ("640", "root", "rancher")
    code, _ = node.command("sudo -n -u nobody cat /etc/rancher/k3s/k3s.yaml")
    assert code != 0


def test_the_banner_shows_version_kernel_and_address(node):
    ask(node, "until grep -q 10.0.2.15 /etc/issue; do sleep 1; done", 30)
    banner = ask(node, "cat /etc/issue")
    assert ask(node, "uname -r") in banner
    assert ask(node, "k3os --version").split()[1] in banner


def test_the_banner_follows_the_addresses(node):
    device = ask(node, "ip -brief address | grep 10.0.2.15").split()[0]
    ask(node, f"sudo -n ip address add 192.0.2.7/24 dev {device}")
    ask(node, "until grep -q 192.0.2.7 /etc/issue; do sleep 1; done", 30)
    ask(node, f"sudo -n ip address del 192.0.2.7/24 dev {device}")
    ask(node, "while grep -q 192.0.2.7 /etc/issue; do sleep 1; done", 30)


def test_the_message_of_the_day_says_how_to_install(node):
    assert "k3os install" in ask(node, "cat /etc/motd")


def test_the_journal_is_persistent_and_bounded(node):
    assert ask(node, "ls /var/log/journal") == ask(node, "cat /etc/machine-id")
    assert "SystemMaxUse=" in ask(node, "systemd-analyze cat-config systemd/journald.conf")


def test_the_timeline_of_the_early_boot_is_there(node):
    steps = json.loads(ask(node, "cat /run/k3os/timeline.json"))
    assert steps[0]["start"] == 0.0
    assert all(step["start"] <= step["end"] for step in steps)


def test_status_reports_no_problem(node):
    status = json.loads(ask(node, "k3os status --json"))
    assert set(status["phases"]) == {"initrd", "boot", "runtime"}
    assert not status.get("problems")


def test_ssh_answers_and_lets_nobody_in_without_a_key(node):
    target = ["-p", str(node.ssh_port), "rancher@127.0.0.1", "true"]
    options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    output = run(["ssh", *options, "-o", "BatchMode=yes", *target], check=False, timeout=60)
    assert b"Permission denied (publickey" in output


def test_nothing_of_the_package_manager_is_left(node):
    assert node.command("command -v apt || command -v dpkg")[0] != 0


# What the documentation of Longhorn and Rook requires of a node, and what other storage and network
# plugins use.
MODULES = (
    *("iscsi_tcp", "nfs", "nfsv3", "nfsv4", "cifs", "rbd", "ceph", "nbd", "nvme_tcp", "vfio_pci"),
    *("uio_pci_generic", "dm_crypt", "dm_snapshot", "dm_thin_pool", "dm_raid", "dm_multipath"),
    *("target_core_mod", "target_core_user", "iscsi_target_mod", "tcm_loop", "xfs", "btrfs"),
    *("vxlan", "geneve", "wireguard", "ipip", "openvswitch", "ipvlan", "macvlan", "tun", "dummy"),
    *("br_netfilter", "ip_vs", "ip_vs_rr", "ip_vs_wrr", "ip_vs_sh", "nf_conntrack", "ip_set"),
    *("xt_set", "xt_comment", "xt_mark", "xt_multiport", "xt_statistic", "xt_physdev", "xt_NFLOG"),
    *("xt_TPROXY", "xt_socket", "xt_CT", "cls_bpf", "sch_ingress", "fuse", "vhost_net"),
)
PROGRAMS = (
    *("bash", "curl", "findmnt", "grep", "awk", "blkid", "lsblk", "nsenter", "iscsiadm", "iscsid"),
    *("mount.nfs", "mount.nfs4", "rpc.statd", "cryptsetup", "dmsetup", "mkfs.ext4", "fsck"),
    *("apparmor_parser", "aa-exec", "aa-status", "modprobe", "kmod", "systemctl", "blockdev"),
)
# where plugins write, existing or not: missing hostPath volumes are created
WRITABLE = (
    *("/opt/cni/bin", "/etc/cni/net.d", "/var/lib/cni", "/var/lib/kubelet/plugins", "/etc/ceph"),
    *("/usr/libexec/kubernetes/kubelet-plugins/volume/exec/vendor~driver", "/var/lib/rook"),
    *("/var/lib/longhorn", "/usr/src/headers", "/usr/local/share/ca-certificates", "/etc/iscsi"),
    *("/etc/origin/ovn", "/etc/pwx", "/var/log/calico/cni", "/etc/kubernetes", "/etc/nvme"),
)


def test_plugins_may_write_where_they_always_do(node):
    # a single sudo: each takes an emulated machine half a second
    each = "mkdir -p $p && touch $p/new && rm $p/new || exit"
    ask(node, f"sudo -n sh -c 'for p in {' '.join(WRITABLE)}; do {each}; done'")


def test_the_modules_that_storage_and_networks_need_are_there(node):
    # a single modprobe; one per module only if something is missing
    look = f"for m in {' '.join(MODULES)}; do modprobe -nq $m || echo $m; done"
    missing = ask(node, f"modprobe -naq {' '.join(MODULES)} || {look}")
    assert missing == ""


def test_the_programs_that_storage_calls_on_the_node_are_there(node):
    look = f"for p in {' '.join(PROGRAMS)}; do which $p >/dev/null || echo $p; done"
    assert ask(node, f"sudo -n sh -c '{look}'") == ""
    # multipath must not claim Longhorn's volumes
    assert node.command("ls /etc/multipath.conf /usr/sbin/multipathd 2>/dev/null")[1] == ""


def test_mounts_are_shared_with_pods(node):
    lines = ask(node, "findmnt -rno TARGET,PROPAGATION").splitlines()
    assert [line for line in lines if not line.endswith(" shared")] == []


def test_the_kernels_configuration_is_where_tools_look_for_it(node):
    for path in ("/boot/config-$(uname -r)", "/lib/modules/$(uname -r)/config"):
        assert ask(node, f"grep -c '^CONFIG_CGROUPS=y' {path}") == "1"
    # a pod that mounts only /boot must find a file there, not a link out of it
    assert ask(node, "stat -c %F /boot/config-$(uname -r)") == "regular file"


@pytest.mark.parametrize("path", ["debug", "tracing", "security"])
def test_what_the_kernel_shows_to_tools_is_mounted(node, path):
    assert ask(node, f"findmnt -no TARGET /sys/kernel/{path}") == f"/sys/kernel/{path}"


def test_storage_finds_a_name_of_this_node_for_nvme(node):
    machine = ask(node, "cat /etc/machine-id")
    assert ask(node, "cat /etc/nvme/hostid").replace("-", "") == machine
    assert ask(node, "cat /etc/nvme/hostnqn").endswith(ask(node, "cat /etc/nvme/hostid"))


def test_locks_of_nfs_3_have_their_daemon(node):
    ask(node, "sudo -n /usr/sbin/start-statd && systemctl is-active rpc-statd rpcbind")


# A disk of 32 MiB in memory (LUKS takes 16), served over iSCSI by the node itself
TARGET = "iqn.2016-04.io.k3os:test"
SERVE_ISCSI = f"""\
set -e
modprobe -a iscsi_target_mod target_core_mod
for i in $(seq 100); do mountpoint -q /sys/kernel/config && break; sleep 0.2; done
cd /sys/kernel/config/target
mkdir -p core/rd_mcp_0/disk
echo rd_pages=8192 >core/rd_mcp_0/disk/control
echo 1 >core/rd_mcp_0/disk/enable
mkdir -p iscsi/{TARGET}/tpgt_1/lun/lun_0 iscsi/{TARGET}/tpgt_1/np/127.0.0.1:3260
cd iscsi/{TARGET}/tpgt_1
ln -s /sys/kernel/config/target/core/rd_mcp_0/disk lun/lun_0/disk
for a in authentication=0 generate_node_acls=1 demo_mode_write_protect=0; do
    echo ${{a#*=}} >attrib/${{a%=*}}
done
echo 1 >enable
"""


@pytest.mark.parametrize("unit", ["sys-kernel-config", "sys-kernel-debug", "sys-kernel-tracing"])
def test_systemd_finds_all_that_its_mounts_of_the_kernel_require(node, unit):
    assert ask(node, f"systemctl show -P LoadState {unit}.mount") == "loaded"
    required = ask(node, f"systemctl show -P Requires {unit}.mount").split()
    assert "not-found" not in ask(node, f"systemctl show -P LoadState -- {' '.join(required)}")


def test_a_volume_over_iscsi_becomes_a_disk(node):
    ask(node, f"echo '{b64encode(SERVE_ISCSI.encode()).decode()}' | base64 -d >/tmp/serve")
    ask(node, "sudo -n sh /tmp/serve", 120)
    assert ask(node, "systemctl is-active iscsid.socket") == "active"
    ask(node, "sudo -n iscsiadm -m discovery -t sendtargets -p 127.0.0.1")
    ask(node, f"sudo -n iscsiadm -m node -T {TARGET} --login")
    path = f"/dev/disk/by-path/ip-127.0.0.1:3260-iscsi-{TARGET}-lun-0"
    ask(node, f"for i in $(seq 50); do test -b {path} && exit; sleep 0.2; done; ls -R /dev/disk")
    ask(node, f"echo secret | sudo -n cryptsetup luksFormat --pbkdf pbkdf2 --batch-mode {path} -")
    ask(node, f"echo secret | sudo -n cryptsetup open --key-file - {path} closed")
    ask(node, "sudo -n mkfs.ext4 -q /dev/mapper/closed && sudo -n cryptsetup close closed")
    ask(node, f"sudo -n iscsiadm -m node -T {TARGET} --logout")


def test_sudo_knows_this_host_also_by_a_name_that_nobody_wrote_down(node):
    name = ask(node, "uname -n")
    ask(node, "sudo -n hostname renamed")
    assert "unable to resolve" not in ask(node, f"sudo -n hostname {name}")
