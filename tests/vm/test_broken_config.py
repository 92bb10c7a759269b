"""A node with a broken config.yaml and broken kernel parameters: the valid part applies, and the
node is reachable."""

import time

import pytest
import yaml

from k3os.system.run import CommandError
from tests.vm.node import BOOT, ask, over_ssh, wait_until_settled

BROKEN = """\
hostname: broken-but-here
k3os:
  sysctls: [this, is, a, list]
\tlabels: {tab: here}
"""
AGENT = (
    "k3os.server_url=https://10.0.2.2:6443 k3os.token=agent-secret "
    "ssh_authorized_keys='{key}' k3os.hostnam=x k3os.mode=dsik k3os.debug"
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
    assert ask(broken, f"sudo -n cat {given['token-file']}") == "agent-secret"
    end = time.monotonic() + 30
    while True:
        try:
            assert over_ssh(broken, key, "id -un", timeout=60) == "rancher"
            return
        except CommandError:
            assert time.monotonic() < end
            time.sleep(1)


def test_an_unknown_key_on_the_cmdline_is_a_warning_with_the_nearest_name(broken):
    assert "hostname" in ask(broken, "k3os status | grep hostnam || true")


def test_an_unknown_mode_is_reported_and_live_is_booted(broken):
    assert "k3OS: k3os.mode=dsik is unknown" in broken.console.text
    assert ask(broken, "k3os status | head -n 1") == "mode       live"


def test_a_broken_config_fails_no_unit(broken):
    assert ask(broken, "systemctl --failed --no-legend --plain") == ""


def test_a_cluster_that_refuses_the_node_is_named_at_once_with_what_helps(broken):
    """As after a reset: the node's password is no longer the one the cluster knows."""
    ask(broken, "until systemctl is-active -q k3s; do sleep 1; done", 60)
    (kept,) = ask(
        broken, "sudo -n sh -c 'ls /var/lib/rancher/k3s/stub/*.node-password.k3s'"
    ).split()
    secret = kept.rpartition("/")[2]
    command = f"kubectl -n kube-system delete secret {secret}"
    assert command not in ask(broken, "k3os status || true")
    ask(broken, "sudo -n rm /etc/rancher/node/password; sudo -n systemctl --no-block restart k3s")
    broken.expect(command, 60)
    code, said = broken.command("k3os status")
    assert (code, command in said) == (1, True), said
    ask(broken, f"sudo -n rm {kept}; until systemctl is-active -q k3s; do sleep 1; done", 60)
    ask(broken, f"while k3os status | grep -q '{command}'; do sleep 1; done", 60)
    ask(broken, "while systemctl is-active -q k3os-join; do sleep 1; done", 60)
