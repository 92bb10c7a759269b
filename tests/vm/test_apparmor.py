"""AppArmor profiles of write_files: loaded before k3s, independently, and reloaded when changed.

On the same machine: zram is off, but pods may swap.
"""

import json

import pytest

from tests.vm.node import BOOT, ask, put, wait_until_settled

CONFIG = """\
write_files:
- path: /etc/apparmor.d/k3os-test
  content: |
    include <tunables/global>
    profile k3os-test flags=(attach_disconnected) {
      include <abstractions/base>
      include <abstractions/mine>
      file,
    }
- path: /etc/apparmor.d/abstractions/mine
  content: |
    deny /etc/motd r,
- path: /etc/apparmor.d/broken
  content: |
    profile k3os-broken { nonsense }
run_cmd:
- cp /sys/kernel/security/apparmor/profiles /run/profiles-before-k3s
k3os: {swap: {zram: off, pods: true}}
"""
CHANGED = "write_files: [{path: /etc/apparmor.d/abstractions/mine, content: 'deny /etc/issue r,'}]"
CONFINED = "sudo -n aa-exec -p k3os-test"


@pytest.fixture(scope="module")
def node(boot, images):
    with boot("apparmor", images.direct(config=CONFIG)) as vm:
        vm.wait_for_shell(BOOT)
        wait_until_settled(vm)
        yield vm


def loads(node):
    """The outcome of each profile in the last runtime phase: path -> (result, reason)."""
    _, output = node.command("k3os status --json")
    actions = json.loads(output)["phases"]["runtime"]["actions"]
    found = [action for action in actions if "AppArmor" in action["what"]]
    return {each["what"].split()[-1]: (each["result"], each["reason"]) for each in found}


def can_read(node, path):
    code, output = node.command(f"{CONFINED} cat {path}")
    assert code == 0 or "Permission denied" in output
    return code == 0


def test_a_profile_is_loaded_before_k3s_starts(node):
    lines = ask(node, "sudo -n grep k3os /run/profiles-before-k3s").splitlines()
    assert lines == ["k3os-test (enforce)"]


def test_it_confines_by_its_own_rules_and_those_it_includes(node):
    assert ask(node, f"{CONFINED} cat /proc/self/attr/current") == "k3os-test (enforce)"
    assert can_read(node, "/etc/issue")
    assert not can_read(node, "/etc/motd")


def test_a_broken_profile_costs_that_one_and_says_where(node):
    result, reason = loads(node)["/etc/apparmor.d/broken"]
    assert result == "failed"
    assert "/etc/apparmor.d/broken" in reason
    assert "line 1" in reason
    assert loads(node)["/etc/apparmor.d/k3os-test"] == ("done", "")


def test_k3os_config_loads_what_changed_and_nothing_else(node):
    node.command("sudo -n k3os config", 120)
    assert loads(node)["/etc/apparmor.d/k3os-test"] == ("unchanged", "")
    ask(node, f'echo "{CHANGED}" | {put("/var/lib/rancher/k3os/config.d/changed.yaml")}')
    node.command("sudo -n k3os config", 120)
    assert loads(node)["/etc/apparmor.d/k3os-test"] == ("done", "")
    assert can_read(node, "/etc/motd")
    assert not can_read(node, "/etc/issue")


def test_without_swap_and_with_swap_for_pods(node):
    assert ask(node, "cat /proc/swaps").count("\n") == 0
    assert ask(node, "cat /proc/sys/vm/swappiness") == "60"
    ask(node, "sudo systemd-run -q --slice=kubepods-podx.slice --unit=pod sleep infinity")
    assert ask(node, "cat /sys/fs/cgroup/kubepods.slice/memory.swap.max") == "max"
