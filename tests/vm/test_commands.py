"""The order of the user's commands and scripts: run_cmd, rc.local, local.d, ready_cmd.

One boot of a server, up to its shutdown, and one of an agent.
"""

import json
import re

import pytest

from tests.vm.node import BOOT, ask, wait_until_settled

CONFIG = r"""
write_files:
- path: /etc/rc.local
  permissions: '0755'
  content: |
    #!/bin/sh
    echo "rc.local $1 $GREETING" | tee -a /run/order
    systemctl is-active k3s >/run/k3s-at-rc-local
    exit 3
- path: /etc/local.d/10-first.start
  permissions: '0755'
  content: |
    echo first.start | tee -a /run/order
- path: /etc/local.d/20-second.start
  permissions: '0755'
  content: |
    #!/bin/sh
    echo second.start | tee -a /run/order
- path: /etc/local.d/30-not-executable.start
  content: |
    #!/bin/sh
    echo not-executable.start >>/run/order
- path: /etc/local.d/10-hangs.stop
  permissions: '0755'
  content: |
    #!/bin/sh
    echo STOP-HANGS >/dev/ttyS0
    sleep 1000
- path: /etc/local.d/20-last.stop
  permissions: '0755'
  content: |
    #!/bin/sh
    echo "STOP-LAST $(kubectl get nodes | grep -o Ready)" >/dev/ttyS0
boot_cmd:
- echo from the boot phase
run_cmd:
# the journal is looked at by the very command whose first line must be there already
- |
  echo a first line
  for i in 1 2 3 4 5 6 7 8 9 10; do
    sleep 0.5
    journalctl -b -o cat -u k3os-config --grep 'run_cmd.0.: a first line' -q >/run/seen && break
  done
  echo "seen: $(cat /run/seen)" >/run/live
- seq 400000
- echo run_cmd >>/run/order
ready_cmd:
- echo "ready_cmd $GREETING" >>/run/order; kubectl get nodes
- echo "$KUBECONFIG" >/run/kubeconfig; exit 4
- date +%s >/run/ready-time
k3os:
  environment:
    GREETING: good day
    K3S_STUB_READY_AFTER: 30
"""


@pytest.fixture(scope="module")
def node(boot, images):
    with boot("commands", images.direct(config=CONFIG)) as vm:
        vm.wait_for_shell(BOOT)
        wait_until_settled(vm)
        ask(vm, "until [ -e /run/ready-time ]; do sleep 1; done", 120)
        yield vm


def report(node, name):
    code, output = node.command("k3os status --json")
    assert code == 1, "something failed, and scripts should see it"
    return json.loads(output)["phases"][name]["actions"]


def journal(node, options):
    return ask(node, f"sudo -n journalctl -b -o cat --no-pager -q {options}").splitlines()


def test_a_line_is_in_the_journal_while_its_command_still_runs(node):
    assert ask(node, "cat /run/live") == "seen: run_cmd[0]: a first line"


def test_output_before_the_journal_is_in_it_all_the_same(node):
    lines = journal(node, "-k --grep 'from the boot phase'")
    assert lines == ["boot_cmd[0]: from the boot phase"]


def test_what_is_too_much_is_dropped_and_said_to_be(node):
    lines = journal(node, "-u k3os-config --grep 'run_cmd.1.:' | tail -n 1")
    assert lines == ["run_cmd[1]: the rest is dropped: it is more than 1 MiB or 10000 lines"]


def test_commands_and_scripts_run_in_their_order(node):
    # ready_cmd and the scripts do not wait for each other
    lines = ask(node, "cat /run/order").splitlines()
    assert [line for line in lines if not line.startswith("ready")] == [
        *("run_cmd", "rc.local start good day", "first.start", "second.start")
    ]
    assert "ready_cmd good day" in lines


def test_scripts_do_not_wait_until_k3s_is_ready(node):
    assert ask(node, "cat /run/k3s-at-rc-local") in ("inactive", "activating")
    assert ask(node, "systemctl is-active k3s") == "active"


def test_scripts_that_fail_are_reported_with_the_remedy_and_the_next_still_run(node):
    reasons = {each["from"]: each["reason"] for each in report(node, "local") if each["reason"]}
    assert reasons == {
        # values from k3os.environment may be secrets
        "/etc/rc.local": "exited with 3: rc.local start ***",
        "/etc/local.d/30-not-executable.start": (
            "is not executable; write it with permissions: '0755'"
        ),
    }
    assert "FAILED local: /etc/rc.local" in ask(node, "k3os status || true")


def test_the_output_of_scripts_is_in_the_journal_behind_their_names(node):
    lines = journal(node, "-u k3os-local")
    # values from k3os.environment may be secrets
    assert "rc.local: rc.local start ***" in lines
    assert "10-first.start: first.start" in lines


def test_ready_commands_run_when_k3s_has_answered_not_when_it_has_started(node):
    ready = int(ask(node, "cat /run/ready-time"))
    assert ready >= int(ask(node, "cat /run/k3s-stub/ready-at"))
    assert ask(node, "cat /run/kubeconfig") == "/etc/rancher/k3s/k3s.yaml"
    lines = journal(node, "-u k3os-ready")
    assert any(re.match(r"ready_cmd\[0\]: .* Ready ", line) for line in lines)


def test_ready_commands_are_announced_by_the_runtime_phase_and_reported_later(node):
    later = [each for each in report(node, "runtime") if each["key"] == "ready_cmd"]
    assert {each["reason"] for each in later} == {"when k3s is ready", ""}
    results = [(each["result"], each["reason"]) for each in report(node, "ready")]
    assert results == [("done", ""), ("failed", "exited with 4"), ("done", "")]


def test_a_failing_script_or_command_fails_no_unit(node):
    assert ask(node, "systemctl --failed --no-legend --plain") == ""


def test_the_runtime_phase_again_does_not_run_ready_commands_again(node):
    node.command("sudo -n k3os config >/dev/null", 120)
    assert ask(node, "grep -c ready_cmd /run/order") == "1"


def test_stop_scripts_run_at_shutdown_while_k3s_runs_and_one_that_hangs_does_not_stop_it(node):
    # the last test: it shuts the machine down
    node.console.skip()
    node.send("sudo poweroff\n")
    node.expect("STOP-HANGS", 60)
    node.expect("STOP-LAST Ready", 120)
    assert node.wait_for_end(120) == 0


AGENT = """
ready_cmd:
- echo "${KUBECONFIG-none}" >/run/ready
k3os:
  server_url: https://10.0.2.2:6443
  token: x
"""


def test_an_agent_is_ready_when_its_kubelet_answers(boot, images):
    with boot("commands-agent", images.direct('boot_cmd="sleep 12"', AGENT)) as vm:
        vm.expect(r"k3OS: boot_cmd\[0\] is still running, at most 300 s", BOOT)
        vm.wait_for_shell(BOOT)
        ask(vm, "until [ -s /run/ready ]; do sleep 1; done", 120)
        assert ask(vm, "cat /run/ready") == "none"
        ask(vm, "k3os status")
