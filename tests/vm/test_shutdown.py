"""How a node shuts down: pods get their time, in order; nothing else delays it.

The k3s stub has no pods, so these are processes in control groups with the kubelet's names. In
place of the kubelet, a script takes its inhibitor lock and ends them in the same way.
"""

import base64
import time

import pytest

from tests.nfs_server import nfs_server
from tests.vm.node import BOOT, HOST, ask, wait_until_settled

POD = """\
mkdir -p /sys/fs/cgroup/kubepods/pod{uid}/c /var/log/pods/{place}_{uid}
cat >/run/pod-{uid} <<'END'
echo $$ >/sys/fs/cgroup/kubepods/pod{uid}/c/cgroup.procs
trap '{trap}' TERM
while :; do sleep 0.2; done
END
setsid sh /run/pod-{uid} >/dev/null 2>&1 &
"""
WEB, DNS = "11111111-0000-0000-0000-000000000001", "22222222-0000-0000-0000-000000000002"
KUBELET = f"""\
cat >/run/kubelet <<'END'
exec systemd-inhibit --what=shutdown --mode=delay --who=kubelet sh -c '
# a signal that comes before somebody listens is lost
until busctl get-property org.freedesktop.login1 /org/freedesktop/login1 \
    org.freedesktop.login1.Manager PreparingForShutdown | grep -q true; do sleep 0.2; done
# k3os counts the pods before the first has ended, however slow the machine
until test -e /run/k3os/shutdown-begun.json; do sleep 0.2; done
for uid in {WEB} {DNS}; do
    sleep 2
    kill -TERM $(head -n 1 /sys/fs/cgroup/kubepods/pod$uid/c/cgroup.procs)
    while grep -q . /sys/fs/cgroup/kubepods/pod$uid/c/cgroup.procs; do sleep 0.2; done
done
# it reports the pods before it lets go of the lock; what is said of them comes meanwhile
sleep 2'
END
setsid sh /run/kubelet >/dev/null 2>&1 &
"""


def start_pod(vm, uid, place, *, ends):
    text = POD.format(uid=uid, place=place, trap="exit 0" if ends else "echo")
    run_as_root(vm, text)
    # the size of such a file is always 0
    processes = f"/sys/fs/cgroup/kubepods/pod{uid}/c/cgroup.procs"
    ask(vm, f"until grep -q . {processes}; do sleep 0.2; done")


def run_as_root(vm, text):
    code = base64.b64encode(text.encode()).decode()
    ask(vm, f"echo {code} | base64 -d | sudo -n sh")


@pytest.fixture
def node(boot, images):
    with boot("shutdown", images.direct(config=CONFIG)) as vm:
        vm.wait_for_shell(BOOT)
        wait_until_settled(vm)
        yield vm


CONFIG = "k3os: {shutdown: {grace_period: 20s, critical_grace_period: 6s}}\n"


def test_the_power_button_gives_pods_their_time_whatever_key_is_held(node):
    assert "power-switch" in ask(node, "udevadm info --export-db | grep power-switch")
    assert "event-kbd" in ask(node, "ls /dev/input/by-path")
    shown = ask(node, "busctl get-property org.freedesktop.login1 /org/freedesktop/login1 "
                      "org.freedesktop.login1.Manager InhibitDelayMaxUSec")  # fmt: skip
    assert shown == "t 25000000"
    start_pod(node, WEB, "default_web", ends=True)
    start_pod(node, DNS, "kube-system_dns", ends=True)
    run_as_root(node, KUBELET)
    ask(node, "until systemd-inhibit --list | grep -q kubelet; do sleep 0.2; done")
    node.hold_key("a")
    node.console.skip()
    node.power_button()
    node.expect("k3OS: stopping 2 pods, 20 s at most", 30)
    node.expect("k3OS: all pods have ended, after", 30)
    node.wait_for_end(40)
    for trouble in ("FAILED", "Failed to", "Unable to", "timed out"):
        assert trouble not in node.console.text


def test_pods_that_nobody_tells_and_a_server_that_is_gone_cost_their_time_and_no_more(node):
    start_pod(node, WEB, "default_web", ends=False)
    start_pod(node, DNS, "kube-system_dns", ends=True)
    with nfs_server() as server:
        options = f"vers=3,tcp,nolock,port={server.port}"
        options += f",mountvers=3,mountproto=tcp,mountport={server.port}"
        ask(node, f"sudo -n mount -t nfs -o {options} {HOST}:/x /mnt && ls /mnt")
        server.is_gone.set()
        ask(node, "(sudo -n ls /mnt/file >/dev/null 2>&1 &); sleep 1")
        node.console.skip()
        node.send("sudo poweroff\n")
        before = time.monotonic()
        # no kubelet holds the shutdown, so k3s stops first
        node.expect("k3OS: stopping 2 pods without k3s: default/web, kube-system/dns", 60)
        node.expect("k3OS: waiting for", 30)
        node.expect("k3OS: default/web did not end in time", 40)
        # processes that use /mnt have ended by then, so unmounting it needs no question
        node.wait_for_end(60)
    assert time.monotonic() - before < 60
    assert "FAILED" not in node.console.text
