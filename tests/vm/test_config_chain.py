"""The way of a configuration from config.yaml and the kernel's command line into the node.

Two boots: a server with every key of the reference set, and an agent whose config.yaml is broken.
"""

import json
import time

import pytest
import yaml

from k3os.system.run import CommandError, run
from tests.vm.node import BOOT, LOGIN, ask, wait_until_settled

PASSWORD = "correct horse"
CONFIG = """\
hostname: from-the-file
ssh_authorized_keys:
- {key}
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
init_cmd:
- echo "init $(cat /proc/1/comm)" > /run/init-cmd
boot_cmd:
- cp /etc/written /run/boot-cmd
- this-command-does-not-exist
run_cmd:
- echo "$GREETING from $(uname -n)" > /run/run-cmd
- [sh, -c, 'echo "$1" > /run/run-list', sh, 'a  b']
k3os:
  password: {password}
  sysctls:
    vm.max_map_count: 300000
    kernel.printk: 4 4 1 7
  modules:
  - dummy numdummies=2
  environment:
    GREETING: good day
    HTTP_PROXY: http://proxy.invalid:3128
  labels:
    region: north
    version: 1.10
  taints:
  - dedicated=yes:NoSchedule
  token: the-cluster-secret
  k3s_args:
  - server
  - --node-name
  - a name
"""
CMDLINE = (
    "hostname=from-cmdline k3os.labels.rack=7 k3os.sysctl[vm.swappiness]=7 "
    'run_cmd="touch /run/from-cmdline"'
)


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    path = tmp_path_factory.mktemp("ssh") / "key"
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)])
    return path


@pytest.fixture(scope="module")
def node(boot, images, key):
    config = CONFIG.format(key=key.with_suffix(".pub").read_text().strip(), password=PASSWORD)
    with boot("config", images.direct(CMDLINE, config)) as vm:
        vm.expect(LOGIN, BOOT)
        vm.send("rancher\n")
        vm.expect("Password: ", 30)
        vm.send(f"{PASSWORD}\n")
        vm.wait_for_shell(30)
        wait_until_settled(vm)
        yield vm


def ssh(node, key, command):
    options = ["BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null"]
    arguments = [word for option in options for word in ("-o", option)]
    port = str(node.ssh_port)
    return run(
        ["ssh", "-q", *arguments, "-i", str(key), "-p", port, "rancher@127.0.0.1", command],
        timeout=60,
    ).decode()


def test_the_password_of_the_config_is_asked_for_and_works(node):
    assert ask(node, "id -un") == "rancher"
    assert PASSWORD not in ask(node, "sudo -n cat /etc/shadow")


def test_a_key_of_the_config_logs_in_by_ssh(node, key):
    assert ssh(node, key, "id -un").strip() == "rancher"
    assert ask(node, "stat -c '%a %U' ~/.ssh ~/.ssh/authorized_keys").splitlines() == [
        "700 rancher",
        "600 rancher",
    ]


def test_an_unknown_key_does_not_log_in(node, tmp_path):
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")])
    with pytest.raises(CommandError) as error:
        ssh(node, tmp_path / "other", "id")
    assert error.value.returncode == 255


def test_the_cmdline_wins_over_the_file(node):
    assert ask(node, "uname -n") == "from-cmdline"
    assert "from-cmdline" in ask(node, "cat /etc/hosts")


def test_files_are_written_with_content_owner_and_mode(node):
    assert ask(node, "cat /etc/written") == "plain text"
    assert ask(node, "stat -c '%a %U %G' /etc/written") == "640 root rancher"
    assert ask(node, "hello") == "hello"
    assert ask(node, "stat -c %a /usr/local/bin/hello") == "755"


def test_each_phase_runs_its_commands_after_its_files(node):
    assert ask(node, "cat /run/init-cmd") == "init init"
    assert ask(node, "sudo -n cat /run/boot-cmd") == "plain text"
    assert ask(node, "cat /run/run-cmd") == "good day from from-cmdline"
    assert ask(node, "cat /run/run-list") == "a  b"
    ask(node, "test -e /run/from-cmdline")


def test_a_command_that_fails_is_reported_and_the_next_still_runs(node):
    code, output = node.command("sudo -n k3os status --json")
    assert code == 1, "something failed, and scripts should see it"
    status = json.loads(output)
    failed = [a for a in status["phases"]["boot"]["actions"] if a["result"] == "failed"]
    assert len(failed) == 1
    assert failed[0]["key"].startswith("boot_cmd")
    assert "not found" in failed[0]["reason"]
    assert "this-command-does-not-exist" in ask(node, "sudo -n k3os status || true")


def test_sysctls_are_set_from_both_sources(node):
    assert ask(node, "cat /proc/sys/vm/max_map_count") == "300000"
    assert ask(node, "cat /proc/sys/vm/swappiness") == "7"
    assert ask(node, "cat /proc/sys/kernel/printk").split() == ["4", "4", "1", "7"]


def test_modules_are_loaded_with_their_parameters(node):
    ask(node, "ip link show dummy0 && ip link show dummy1")


def test_the_environment_reaches_logins_and_k3s(node):
    ask(node, "until systemctl is-active -q k3s; do sleep 1; done", 60)
    assert ask(node, 'echo "$GREETING"') == "good day"
    environment = ask(node, "sudo -n cat /run/k3s-stub/environment").splitlines()
    assert "GREETING=good day" in environment
    assert "HTTP_PROXY=http://proxy.invalid:3128" in environment


def test_k3s_is_given_its_arguments_word_by_word(node):
    assert ask(node, "sudo -n cat /run/k3s-stub/argv").splitlines() == [
        *("server", "--node-name", "a name")
    ]


def test_k3s_is_given_token_labels_and_taints(node):
    given = yaml.load(ask(node, "sudo -n cat /run/k3s-stub/config.yaml"), yaml.BaseLoader)
    assert given["token"] == "the-cluster-secret"
    assert {"region=north", "version=1.10", "rack=7"} <= set(given["node-label"])
    assert given["node-taint"] == ["dedicated=yes:NoSchedule"]
    assert "server" not in given


def test_nobody_but_root_can_read_the_secrets(node):
    code, output = node.command(
        "find / /run -xdev -type f -readable -print0 2>/dev/null | "
        f"xargs -0 grep -l -e the-cluster-secret -e '{PASSWORD}' -- 2>/dev/null"
    )
    # what this very shell was typed and the command's own words are no files
    assert output.splitlines() == [], code
    assert ask(node, "sudo -n stat -c %a /k3os/system/config.yaml") == "600"


def test_the_dump_masks_secrets(node):
    dump = ask(node, "sudo -n k3os config --dump")
    assert "from-cmdline" in dump
    assert "the-cluster-secret" not in dump


def test_the_journal_does_not_show_secrets(node):
    journal = ask(node, "sudo -n journalctl -b --no-pager -q | grep -c the-cluster-secret || true")
    assert journal == "0"


BROKEN = """\
hostname: broken-but-here
k3os:
  sysctls: [this, is, a, list]
\tlabels: {tab: here}
"""
AGENT = (
    "k3os.server_url=https://10.0.2.2:6443 k3os.token=agent-secret "
    "ssh_authorized_keys='{key}' k3os.hostnam=x"
)


@pytest.fixture(scope="module")
def broken(boot, images, key):
    public = key.with_suffix(".pub").read_text().strip()
    append = AGENT.replace("'", '"').format(key=public)
    with boot("broken-config", images.direct(append, BROKEN)) as vm:
        vm.expect(r"k3OS: .*config\.yaml:4:", BOOT)
        vm.wait_for_shell(BOOT)
        wait_until_settled(vm)
        yield vm


def test_a_broken_config_is_named_by_status_with_file_and_line(broken):
    assert "/k3os/system/config.yaml:4:" in ask(broken, "k3os status || true")


def test_with_a_broken_config_the_other_sources_still_apply(broken, key):
    ask(broken, "until systemctl is-active -q k3s; do sleep 1; done", 60)
    assert ask(broken, "sudo -n head -n 1 /run/k3s-stub/argv") == "agent"
    given = yaml.load(ask(broken, "sudo -n cat /run/k3s-stub/config.yaml"), yaml.BaseLoader)
    assert given["server"] == "https://10.0.2.2:6443"
    assert given["token"] == "agent-secret"
    end = time.monotonic() + 30
    while True:
        try:
            assert ssh(broken, key, "id -un").strip() == "rancher"
            return
        except CommandError:
            assert time.monotonic() < end
            time.sleep(1)


def test_an_unknown_key_on_the_cmdline_is_a_warning_with_the_nearest_name(broken):
    assert "hostname" in ask(broken, "k3os status | grep hostnam || true")


def test_a_broken_config_fails_no_unit(broken):
    assert ask(broken, "systemctl --failed --no-legend --plain") == ""
