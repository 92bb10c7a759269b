"""Boards without a clock: k3s starts with a time that certificates work with.

tests/vm/test_live.py shows that a correct clock is left alone. The time server is
tests/stubs/ntp, which runs in the guest.
"""

import dataclasses
import re
from datetime import UTC, datetime

import pytest
import yaml

from tests.vm.conftest import ROOT
from tests.vm.node import BOOT, K3S, ask, wait_until_settled

# what a clock without a battery shows
NO_BATTERY = ("-rtc", "base=2000-01-01T00:00:00")
SERVERS_TIME = datetime(2031, 5, 6, tzinfo=UTC)
CORRECTED = r"k3OS: the clock says 2000-01-01 00:0\d UTC, which cannot be right; set to 20"
STATUS = r"clock      said 2000-01-01 00:0\d UTC at the start; no time server has answered"
UNITS = "/etc/systemd/system"
SERVER = ("/usr/local/bin/ntp", (ROOT / "tests/stubs/ntp").read_text())
SERVICE = f"""\
[Service]
ExecStart=/usr/local/bin/ntp {SERVERS_TIME.timestamp():.0f} 2
"""
WITH_CONNMAN = "[Unit]\nWants=ntp.service\nAfter=ntp.service\n"
# as if this node had run before
LAST_LINE = datetime(2028, 2, 3, tzinfo=UTC)
JOURNAL = "/var/log/journal/$(cat /etc/machine-id)/system.journal"
RAN_BEFORE = (
    f"mkdir -p $(dirname {JOURNAL})",
    f"touch -d @{LAST_LINE.timestamp():.0f} {JOURNAL}",
)
WAIT_5 = "[Service]\nExecStart=\nExecStart=/usr/sbin/k3os clock wait 5\n"


def config(*files, **more):
    """A config.yaml that asks 127.0.0.1 for the time and writes (path, content) files."""
    entries = [{"path": path, "content": text, "permissions": "0755"} for path, text in files]
    keys = {"write_files": entries, "k3os": {"ntp_servers": ["127.0.0.1"]}}
    return yaml.safe_dump(keys | more)


def without_a_clock(spec):
    return dataclasses.replace(spec, extra=NO_BATTERY)


def fresh_prompt(vm):
    """The first prompt was lost among the messages: get another one."""
    vm.send("\n")
    vm.wait_for_shell(30)


def started(vm):
    """When k3s was started, by the clock of that moment."""
    return datetime.fromtimestamp(int(ask(vm, "cat /run/k3s-stub/started")), UTC)


@pytest.fixture(scope="module")
def served(boot, images):
    files = (
        SERVER,
        (f"{UNITS}/ntp.service", SERVICE),
        (f"{UNITS}/connman.service.d/ntp.conf", WITH_CONNMAN),
    )
    with boot("clock-served", without_a_clock(images.direct(config=config(*files)))) as vm:
        yield vm


def test_k3s_waits_for_the_time_server_and_starts_with_its_time(served):
    served.expect(CORRECTED, BOOT)
    served.expect("k3OS: a time server answered: it is 2031-05-06", BOOT)
    served.expect(K3S, BOOT)
    fresh_prompt(served)
    assert started(served) >= SERVERS_TIME


def test_the_configuration_was_applied_with_the_right_time_too(served):
    wait_until_settled(served)
    begun = ask(served, "stat -c %Y /run/k3os/status.json")
    assert datetime.fromtimestamp(int(begun), UTC) >= SERVERS_TIME


def test_after_the_answer_the_clock_is_not_in_doubt(served):
    assert "clock" not in ask(served, "k3os status")


def test_the_journal_remembers_the_time_for_the_next_boot(served):
    ask(served, "logger a line")
    now = int(ask(served, "date +%s"))
    # journald notifies readers of new lines every quarter of a second, which touches the file
    written = int(ask(served, f"sleep 1; sudo -n stat -c %Y {JOURNAL}"))
    assert now - 1 <= written <= now + 30


def test_without_an_answer_k3s_starts_after_a_short_wait_and_status_says_it(boot, images):
    files = (SERVER, (f"{UNITS}/k3os-clock.service.d/short.conf", WAIT_5))
    short = config(*files, boot_cmd=list(RAN_BEFORE))
    with boot("clock-alone", without_a_clock(images.direct(config=short))) as vm:
        vm.expect(f"{CORRECTED}28-02-03", BOOT)
        vm.expect("k3OS: waiting up to 5 s for a time server", BOOT)
        vm.expect("k3OS: no time server answered in 5 s: .* probably wrong", BOOT)
        vm.expect(K3S, BOOT)
        fresh_prompt(vm)
        assert LAST_LINE < started(vm) < SERVERS_TIME
        wait_until_settled(vm)
        assert ask(vm, "systemctl is-active k3s") == "active"
        assert re.search(STATUS, ask(vm, "k3os status"))
        # a late answer is used, too
        ask(vm, f"sudo -n systemd-run -q /usr/local/bin/ntp {SERVERS_TIME.timestamp():.0f}")
        ask(vm, "while k3os status | grep ^clock; do sleep 1; done", BOOT)
        assert int(ask(vm, "date +%s")) >= SERVERS_TIME.timestamp()
