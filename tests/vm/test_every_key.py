"""One boot with every key of the reference at once; each effect is checked from inside.

Nothing may fail except what CONFIG gets wrong on purpose. Special cases of single keys have their
own tests (test_network.py, test_commands.py, …).
"""

import base64
import dataclasses
import gzip
import json

import pytest
import yaml

from k3os.config.schema import TABLE
from k3os.phases.operator import COPY, LINK
from k3os.system.run import CommandError, run
from k3os.vm.spec import Disk
from tests.vm.forge import forge
from tests.vm.node import BOOT, HOST, LOGIN, ask, over_ssh, put, wait_until_settled

PASSWORD = "correct horse"
SECRETS = ("the-cluster-secret", "the-wifi-secret", "the-registry-secret", PASSWORD)


def public_key(name: str) -> str:
    """Well-formed (RFC 8709), but without a private key."""
    blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + name.encode().ljust(32, b".")
    return f"ssh-ed25519 {base64.b64encode(blob).decode()} {name}@example"


KEYS = {name: public_key(name) for name in ("hub", "lab", "site")}
FETCHED = {"github.com/me.keys": "hub", "gitlab.com/you.keys": "lab"}
EXPECTED_FAILURES = {
    ("initrd", "write_files"),  # in /usr, which is missing in the initrd and read-only later
    ("boot", "write_files"),
    ("runtime", "write_files"),
    ("boot", "boot_cmd"),
    ("runtime", "ssh_authorized_keys"),
}
CONFIG = """\
hostname: from-the-file
ssh_authorized_keys:
- {key}
- github:me
- gitlab:you
- https://github.com/plain/address/raw/keys
- github:nobody-of-this-name
write_files:
- path: /etc/written
  content: |
    plain text
  permissions: '0640'
  owner: root:rancher
- path: /usr/local/bin/hello
  encoding: b64
  content: IyEvYmluL3NoCmVjaG8gaGVsbG8K
  permissions: 0755
- path: /opt/zipped
  encoding: gz+b64
  content: {zipped}
  permissions: 420
- path: /opt/binary
  content: !!binary AAECAw==
  owner: 1000:4
- path: /etc/services
  content: "mine 9999/tcp"
  append: true
- path: /run/everywhere
  content: first
- path: /usr/share/never
  content: the file system is read-only
- path: /var/lib/rancher/k3s/server/manifests/mine.yaml
  content: "kind: Namespace"
- path: /etc/local.d/mine.start
  content: echo "local $(cat /run/run)" > /run/local
  permissions: '0755'
- path: /etc/rc.local
  content: cp /run/run /run/rc-local
  permissions: '0755'
init_cmd:
- {observe} > /run/init
boot_cmd:
- {observe} > /run/boot
- echo appended >> /etc/written
- this-command-does-not-exist
run_cmd:
- {observe} > /run/run
- [sh, -c, 'echo "$1" > /run/run-list', sh, 'a  b']
ready_cmd:
- kubectl get nodes > /run/ready
k3os:
  data_sources: [nocloud]
  password: {password}
  sysctls:
    vm.max_map_count: 1000000
    kernel.printk: 4 4 1 7
    kernel.unknown.to.it: 1
  modules:
  - nbd nbds_max=3
  - dummy numdummies=2
  kernel_args: [nosmt, audit=0]
  environment:
    GREETING: good day
    https_proxy: http://{host}:{port}
  ca_certificates:
  - |
{ca}
  registries:
    mirrors:
      docker.io:
        endpoint: ["https://registry.example:5000"]
        rewrite: {{"^library/(.*)": "mirror/$1"}}
    configs:
      registry.example:5000:
        auth: {{username: puller, password: the-registry-secret}}
        tls: {{insecure_skip_verify: true}}
  containerd: |
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.kata]
    runtime_type = "io.containerd.kata.v2"
  kubelet: {{maxPods: 90, evictionHard: {{memory.available: 64Mi}}}}
  embedded_registry: true
  images: [/usr/share/k3os/operator/image.tar.zst]
  manifests:
    typed: |
      apiVersion: v1
      kind: Namespace
      metadata: {{name: typed}}
  ntp_servers: [time.example]
  dns_nameservers: [192.0.2.53]
  network:
    eth1: {{address: 192.168.77.50/24, mtu: 1400}}
  wifi:
  - name: home
    passphrase: the-wifi-secret
  labels:
    region: north
    version: 1.10
  taints:
  - dedicated=yes:NoSchedule
  server_url: https://10.0.2.2:6443
  token: the-cluster-secret
  operator: false
  hardening: cis
  lockdown: integrity
  lock_modules: true
  swap: {{zram: 64 MiB, pods: true}}
  disks:
  - {{device: /dev/disk/by-id/virtio-EMPTY, filesystem: ext4, label: typed, mount: /srv/typed}}
  mounts:
  - {{what: LABEL=EXTRA, where: /srv/extra, type: iso9660, options: [ro]}}
  k3s_sums: {{v1.33.1+k3s1: 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef}}
  k3s_insecure_http: false
  k3s_args:
  - server
  - --etcd-snapshot-name
  - a value
  shutdown:
    grace_period: 40s
    critical_grace_period: 15s
  install:
    device: /dev/vda
    config_url: http://example/config.yaml
    iso_url: http://example/k3os.iso
    insecure: false
    silent: false
    force_efi: false
    no_boot_entry: false
    no_format: false
    no_cmdline: false
    tty: ttyS0
    debug: false
    power_off: false
  upgrade:
    timeout: 900
    check:
    - 'true'
"""
USERDATA = """\
#cloud-config
write_files:
- path: /etc/from-userdata
  content: from the cloud
"""
OPERATOR = (LINK, COPY)
OBSERVE = (
    'echo "$GREETING" "$(cat /run/everywhere)" "$(cat /proc/sys/vm/max_map_count)" '
    '"$(ls -d /sys/block/nbd* | wc -l)"'
)
CMDLINE = (
    "hostname=from-cmdline k3os.labels.rack=7 k3os.sysctl[vm.swappiness]=7 "
    'run_cmd="touch /run/from-cmdline" "k3os.sysctl[kernel.pid_max]=99999"'
)
CARD = ("-netdev", "user,id=net1,net=192.168.77.0/24", "-device", "virtio-net-pci,netdev=net1")


def test_the_config_of_this_test_has_every_key():
    text = CONFIG.format(
        **dict.fromkeys(("key", "zipped", "observe", "password", "host"), "x"), port=1, ca="    x"
    )
    tree = yaml.load(text.replace("!!binary", ""), yaml.BaseLoader)
    for key in TABLE:
        branch = tree
        for name in key.path.split("."):
            assert name in branch, f"{key.path} is not in CONFIG"
            branch = branch[name]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with forge(tmp_path_factory.mktemp("forge")) as found:
        found.pages = {page: f"{KEYS[name]}\n" for page, name in FETCHED.items()}
        found.pages["github.com/plain/address/raw/keys"] = f"# mine\n{KEYS['site']}\n"
        yield found


@pytest.fixture(scope="module")
def node(boot, images, key, site, tmp_path_factory):
    config = CONFIG.format(
        key=key.with_suffix(".pub").read_text().strip(),
        zipped=base64.b64encode(gzip.compress(b"was zipped\n")).decode(),
        observe=OBSERVE,
        password=PASSWORD,
        host=HOST,
        port=site.port,
        ca="\n".join(f"    {line}" for line in site.ca.splitlines()),
    )
    seed = tmp_path_factory.mktemp("seed")
    (seed / "user-data").write_text(USERDATA)
    run(["xorrisofs", "-quiet", "-V", "cidata", "-r", "-o", str(seed / "seed.iso"), str(seed)])
    # not the seed: a mounted medium is not used as cloud data
    command = ["xorrisofs", "-quiet", "-V", "EXTRA", "-r", "-o", str(seed / "extra.iso")]
    run([*command, str(seed / "user-data")])
    spec = images.direct(CMDLINE, config)
    with open(seed / "empty.img", "wb") as file:
        file.truncate(64 << 20)
    empty = Disk(seed / "empty.img", serial="EMPTY")
    media = (Disk(seed / name, readonly=True) for name in ("seed.iso", "extra.iso"))
    disks = (*spec.disks, *media, empty)
    spec = dataclasses.replace(spec, disks=disks, extra=CARD)
    with boot("every-key", spec) as vm:
        vm.expect(LOGIN, BOOT)
        vm.send("rancher\n")
        vm.expect("Password: ", 30)
        vm.send(f"{PASSWORD}\n")
        vm.wait_for_shell(30)
        wait_until_settled(vm)
        ask(vm, "until systemctl is-active -q k3s; do sleep 1; done", 60)
        yield vm


@pytest.fixture(scope="module")
def status(node):
    code, output = node.command("sudo -n k3os status --json")
    assert code == 1, "something failed, and scripts should see it"
    return json.loads(output)


def failures(status):
    return {
        (phase, action["key"].partition("[")[0]): action["reason"]
        for phase, report in status["phases"].items()
        for action in report["actions"]
        if action["result"] == "failed"
    }


def test_kernel_args_have_no_effect_here_and_that_is_said(node, status):
    """test_kernel_args.py tests them on an installed disk."""
    actions = status["phases"]["runtime"]["actions"]
    (own,) = [each for each in actions if each["key"] == "k3os.kernel_args"]
    assert own["result"] == "later"
    assert "no effect" in own["reason"]
    assert "audit=0" not in ask(node, "cat /proc/cmdline")


def test_only_what_is_wrong_on_purpose_fails(status):
    found = failures(status)
    assert set(found) <= EXPECTED_FAILURES | {("runtime", "k3os.sysctls.kernel.unknown.to.it")}
    assert ("runtime", "k3os.sysctls.kernel.unknown.to.it") in found


def test_password_the_one_of_the_config_logs_in_and_is_hashed(node):
    assert ask(node, "id -un") == "rancher"
    assert PASSWORD not in ask(node, "sudo -n cat /etc/shadow")


def test_disks_and_mounts_are_there_before_k3s(node):
    """test_storage.py has the rest."""
    assert ask(node, "findmnt -no FSTYPE,LABEL /srv/typed").split() == ["ext4", "typed"]
    assert ask(node, "cat /srv/extra/user-data").startswith("#cloud-config")


def test_ssh_authorized_keys_log_in(node, key):
    assert over_ssh(node, key, "id -un", timeout=60) == "rancher"
    assert ask(node, "stat -c '%a %U' ~/.ssh ~/.ssh/authorized_keys").splitlines() == [
        "700 rancher",
        "600 rancher",
    ]


def test_ssh_authorized_keys_are_fetched_from_github_gitlab_and_addresses(node, site):
    text = ask(node, "cat ~/.ssh/authorized_keys")
    assert [name for name, line in KEYS.items() if line in text] == ["hub", "lab", "site"]
    assert set(FETCHED) <= set(site.seen), "through the proxy of k3os.environment"


def test_ca_certificates_are_trusted_by_whatever_fetches(node, site):
    """The ssh keys were fetched with it. Here curl with OpenSSL; Go reads the same file."""
    fetch = 'https_proxy="$https_proxy" curl -fsS https://github.com/me.keys'
    assert KEYS["hub"] in ask(
        node, f"sudo -n sh -c '. /etc/environment; export https_proxy; {fetch}'"
    )


def test_ssh_authorized_keys_of_a_name_that_does_not_exist_are_an_error_with_that_name(status):
    reason = failures(status)["runtime", "ssh_authorized_keys"]
    assert reason.startswith("github:nobody-of-this-name does not exist there")


def test_an_unknown_key_does_not_log_in(node, tmp_path):
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")])
    with pytest.raises(CommandError) as error:
        over_ssh(node, tmp_path / "other", "id", timeout=60)
    assert error.value.returncode == 255


def test_hostname_of_the_cmdline_wins_over_the_file(node):
    assert ask(node, "uname -n") == "from-cmdline"
    assert "127.0.1.1 from-cmdline" in ask(node, "cat /etc/hosts")


def test_write_files_with_content_owner_and_mode(node):
    assert ask(node, "cat /etc/written").splitlines() == ["plain text", "appended"]
    assert ask(node, "grep -c ^mine /etc/services") == "1"
    assert ask(node, "grep -m 1 -o ^domain /etc/services") == "domain"
    stat = "stat -c '%a %u:%g'"
    assert ask(node, f"{stat} /etc/written") == "640 0:1000"
    assert ask(node, "hello") == "hello"
    assert ask(node, f"{stat} /usr/local/bin/hello") == "755 0:0"
    assert ask(node, "cat /opt/zipped") == "was zipped"
    assert ask(node, f"{stat} /opt/zipped") == "644 0:0"
    assert ask(node, "sudo -n od -An -tx1 /opt/binary").split() == ["00", "01", "02", "03"]
    assert ask(node, f"{stat} /opt/binary") == "644 1000:4"
    manifest = "/var/lib/rancher/k3s/server/manifests/mine.yaml"
    assert ask(node, f"sudo -n cat {manifest}") == "kind: Namespace"


def test_write_files_below_a_read_only_tree_is_an_error_that_says_so(status):
    assert "read-only" in failures(status)["runtime", "write_files"]


def test_each_phase_has_environment_files_sysctls_and_modules_before_its_commands(node):
    for phase in ("init", "boot", "run"):
        assert ask(node, f"sudo -n cat /run/{phase}") == "good day first 1000000 3", phase
    assert ask(node, "cat /run/run-list") == "a  b"
    ask(node, "test -e /run/from-cmdline")


def test_scripts_run_at_the_end_of_the_boot(node):
    assert (
        ask(node, "until cat /run/local; do sleep 1; done", 60) == "local good day first 1000000 3"
    )
    ask(node, "cmp /run/run /run/rc-local")


def test_ready_cmd_runs_when_k3s_answers(node):
    ask(node, "until sudo -n grep -q Ready /run/ready; do sleep 1; done", 90)


def test_boot_cmd_that_fails_is_reported_and_the_next_still_runs(node, status):
    assert "not found" in failures(status)["boot", "boot_cmd"]
    assert "this-command-does-not-exist" in ask(node, "sudo -n k3os status || true")


def test_swap_is_as_large_as_it_is_to_be(node):
    assert ask(node, "awk '/zram/ {print $3}' /proc/swaps") == str((64 << 10) - 4)
    ask(node, "grep -q MemorySwapMax=infinity /run/systemd/system/kubepods.slice.d/20-swap.conf")


def test_sysctls_are_set_from_both_sources(node):
    assert ask(node, "cat /proc/sys/vm/max_map_count") == "1000000"
    assert ask(node, "cat /proc/sys/vm/swappiness") == "7"
    assert ask(node, "cat /proc/sys/kernel/pid_max") == "99999", "quoted as the kernel does it"
    assert ask(node, "cat /proc/sys/kernel/printk").split() == ["4", "4", "1", "7"]


def test_modules_are_loaded_with_their_parameters(node):
    ask(node, "ip link show dummy0 && ip link show dummy1")
    assert ask(node, "cat /sys/module/nbd/parameters/nbds_max") == "3"


def test_environment_reaches_logins_and_k3s(node):
    assert ask(node, 'echo "$GREETING"') == "good day"
    environment = ask(node, "sudo -n cat /run/k3s-stub/environment").splitlines()
    assert "GREETING=good day" in environment
    assert any(line.startswith("https_proxy=http://") for line in environment)


def test_ntp_dns_and_wifi_reach_connman(node):
    settings = ask(node, "cat /etc/connman/main.conf").splitlines()
    assert "FallbackTimeservers=time.example" in settings
    assert "FallbackNameservers=192.0.2.53" in settings
    assert "AllowHostnameUpdates=false" in settings
    wifi = "/var/lib/connman/k3os-wifi.config"
    assert ask(node, f"sudo -n stat -c %a {wifi}") == "600"
    assert f"SSID={b'home'.hex()}" in ask(node, f"sudo -n cat {wifi}").splitlines()


def test_data_sources_give_userdata(node):
    assert ask(node, "cat /etc/from-userdata") == "from the cloud"


def test_network_gives_an_interface_its_address(node):
    assert "192.168.77.50/24" in ask(node, "ip -4 -br address show dev eth1")
    assert ask(node, "cat /sys/class/net/eth1/mtu") == "1400"
    assert len(ask(node, "ip route show default").splitlines()) == 1


def test_operator_switched_off_leaves_neither_image_nor_objects(node):
    ask(node, "test -s /usr/share/k3os/operator/image.tar.zst")
    code, output = node.command(f"sudo -n ls {' '.join(OPERATOR)}")
    assert code != 0
    assert output.count("No such file or directory") == len(OPERATOR)


def test_k3s_args_arrive_word_by_word(node):
    assert ask(node, "sudo -n cat /run/k3s-stub/argv").splitlines() == [
        *("server", "--etcd-snapshot-name", "a value")
    ]


def test_k3s_is_given_server_token_labels_and_taints(node):
    given = yaml.load(ask(node, "sudo -n cat /run/k3s-stub/config.yaml"), yaml.BaseLoader)
    assert given["server"] == "https://10.0.2.2:6443"
    assert ask(node, f"sudo -n cat {given['token-file']}") == "the-cluster-secret"
    assert ask(node, f"sudo -n stat -c '%a %U' {given['token-file']}") == "600 root"
    labels = set(given["node-label"])
    assert {"region=north", "version=1.10", "rack=7", "k3os.io/mode=live"} <= labels
    assert given["node-taint"] == ["dedicated=yes:NoSchedule"]
    assert given["node-name"] == "from-cmdline"


def test_registries_are_what_k3s_read(node):
    told = json.loads(ask(node, "sudo -n cat /run/k3s-stub/registries"))
    assert told["mirrors"]["docker.io"] == {
        "endpoint": ["https://registry.example:5000"],
        "rewrite": {"^library/(.*)": "mirror/$1"},
    }
    assert told["configs"]["registry.example:5000"] == {
        "auth": {"username": "puller", "password": "the-registry-secret"},
        "tls": {"insecure_skip_verify": True},
    }


def test_embedded_registry_is_asked_of_a_server(node):
    given = ask(node, "sudo -n cat /run/k3s-stub/given").splitlines()
    assert "embedded-registry=true" in given


def test_images_are_there_when_k3s_starts(node):
    found = ask(node, "sudo -n cat /run/k3s-stub/images").splitlines()
    assert [name for name in found if name.endswith("-image.tar.zst")], found


def test_kubelet_has_its_fields_with_their_types(node):
    directory = "/var/lib/rancher/k3s/agent/etc/kubelet.conf.d"
    told = yaml.safe_load(ask(node, f"sudo -n cat {directory}/60-k3os.conf"))
    assert (told["kind"], told["maxPods"]) == ("KubeletConfiguration", 90)
    assert told["evictionHard"] == {"memory.available": "64Mi"}


def test_containerd_is_given_what_its_version_reads(node):
    template = "/var/lib/rancher/k3s/agent/etc/containerd/config-v3.toml.tmpl"
    lines = ask(node, f"sudo -n cat {template}").splitlines()
    assert lines[0] == '{{ template "base" . }}'
    assert lines[-1] == 'runtime_type = "io.containerd.kata.v2"'


def test_manifests_are_what_k3s_creates(node):
    deployed = ask(node, "until sudo -n grep typed /run/k3s-stub/addons; do sleep 1; done", 30)
    assert deployed == "typed Namespace/typed"
    manifest = "/var/lib/rancher/k3s/server/manifests/typed.yaml"
    assert ask(node, f"sudo -n stat -c '%a %U' {manifest}") == "600 root"


def test_shutdown_reaches_the_kubelet_and_logind(node):
    directory = "/var/lib/rancher/k3s/agent/etc/kubelet.conf.d"
    told = yaml.safe_load(ask(node, f"sudo -n cat {directory}/50-k3os-shutdown.conf"))
    periods = (told["shutdownGracePeriod"], told["shutdownGracePeriodCriticalPods"])
    assert periods == ("40s", "15s")
    manager = "org.freedesktop.login1 /org/freedesktop/login1 org.freedesktop.login1.Manager"
    limit = ask(node, f"busctl get-property {manager} InhibitDelayMaxUSec")
    assert int(limit.split()[1]) >= 40_000_000


def test_hardening_reaches_k3s_and_the_files_it_names_are_for_root(node):
    directory = "/etc/rancher/k3s/config.yaml.d"
    told = yaml.load(ask(node, f"cat {directory}/40-k3os-cis.yaml"), yaml.BaseLoader)
    assert (told["protect-kernel-defaults"], told["secrets-encryption"]) == ("true", "true")
    arguments = dict(each.split("=", 1) for each in told["kube-apiserver-arg+"])
    for name in ("admission-control-config-file", "audit-policy-file"):
        assert ask(node, f"sudo -n stat -c '%a %U' {arguments[name]}") == "600 root"
    assert ask(node, "sudo -n stat -c %a /var/lib/rancher/k3s/server/logs") == "700"
    wanted = {"vm.overcommit_memory": "1", "vm.panic_on_oom": "0", "kernel.panic": "10"}
    lines = ask(node, f"sudo -n sysctl {' '.join(wanted)}").splitlines()
    assert dict(line.split(" = ") for line in lines) == wanted


def test_the_kernel_is_locked_down_and_loads_no_more_modules(node):
    assert "[integrity]" in ask(node, "sudo -n cat /sys/kernel/security/lockdown")
    ask(node, 'until [ "$(cat /proc/sys/kernel/modules_disabled)" = 1 ]; do sleep 1; done')
    assert node.command("sudo -n modprobe pcspkr")[0] != 0


def test_only_root_reads_the_variables_of_logins_and_logins_have_them(node):
    assert ask(node, "stat -c '%a %U' /etc/environment") == "600 root"


def test_install_keys_are_understood(node):
    tree = json.loads(ask(node, "sudo -n k3os config --dump-json 2>/dev/null"))
    assert tree["k3os"]["install"]["device"] == "/dev/vda"
    assert tree["k3os"]["install"]["silent"] is False
    assert tree["k3os"]["upgrade"]["timeout"] in (900, "900")


def test_nobody_but_root_can_read_the_secrets(node):
    words = " ".join(f"-e '{secret}'" for secret in SECRETS)
    _, output = node.command(
        "find / /run -xdev -type f -readable -print0 2>/dev/null | "
        f"xargs -0 grep -l {words} -- 2>/dev/null"
    )
    # the shell's input and this command's arguments contain the secrets, but are not files
    assert output.splitlines() == []
    assert ask(node, "sudo -n stat -c %a /k3os/system/config.yaml") == "600"


def test_neither_dump_nor_status_nor_journal_show_secrets(node):
    for command in ("k3os config --dump", "k3os status --all", "journalctl -b --no-pager -q"):
        text = ask(node, f"sudo -n {command} || true")
        assert "the-cluster-secret" not in text, command
        assert "the-wifi-secret" not in text, command
        assert "the-registry-secret" not in text, command


MORE = """\
write_files:
- {path: /etc/more, content: a}
- {path: /var/lib/rancher/k3s/server/manifests/more.yaml, content: a}
k3os:
  manifests: {more-typed: '{apiVersion: v1, kind: Namespace, metadata: {name: more}}'}
  sysctls: {kernel.panic: 7}
  dns_nameservers: [192.0.2.54]
  environment: {MORE: secret-of-it}
"""


def test_what_leaves_the_configuration_is_undone_at_once(node):
    path = "/var/lib/rancher/k3os/config.d/99-more.yaml"
    before = ask(node, "cat /proc/sys/kernel/panic")
    ask(node, f"cat <<'END' | {put(path)}\n{MORE}END")
    # exits with 1 because the configuration has errors on purpose
    _, output = node.command("sudo -n k3os config --restart", 120)
    assert "k3s was restarted for k3os.environment.MORE" in output
    assert "MORE=secret-of-it" in ask(node, "sudo -n cat /run/k3s-stub/environment")
    assert ask(node, "cat /proc/sys/kernel/panic /etc/more") == "7\na"
    ask(node, f"sudo -n rm {path}")
    _, output = node.command("sudo -n k3os config", 120)
    assert "restart k3s for k3os.environment.MORE: `sudo k3os config --restart`" in output
    assert "secret-of-it" not in output
    assert ask(node, "cat /proc/sys/kernel/panic") == before
    assert node.command("ls /etc/more")[0] != 0
    left = "sudo -n ls /var/lib/rancher/k3s/server/manifests /var/lib/rancher/k3os/left"
    assert ask(node, left).split().count("more.yaml") == 1
    assert ask(node, left).split().count("more-typed.yaml") == 1
    settings = ask(node, "cat /etc/connman/main.conf").splitlines()
    assert "FallbackNameservers=192.0.2.53" in settings


def test_a_second_application_changes_nothing(node):
    code, _ = node.command("sudo -n k3os config", 120)
    assert code == 1
    _, output = node.command("sudo -n k3os status --json")
    actions = json.loads(output)["phases"]["runtime"]["actions"]
    done = [a["what"] for a in actions if a["result"] == "done" and a["key"] != "run_cmd"]
    assert done == []
