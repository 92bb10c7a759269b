"""The parts of `make test-real`'s lab that need neither root nor k3s."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.real.plan import (
    HOSTS,
    PREFIX,
    Host,
    Plan,
    leftovers,
    new_namespace,
    own_namespace,
    started,
)

PLAN = Plan(f"{PREFIX}1-2", (Host("server", 1), Host("agent", 2)))


def test_every_command_stays_inside_the_namespace():
    first, *others = PLAN.commands()
    assert first == ["ip", "netns", "add", PLAN.namespace]
    assert all(command[:3] == ["ip", "-n", PLAN.namespace] for command in others)
    assert PLAN.inside("true") == ["ip", "netns", "exec", PLAN.namespace, "true"]


def test_nothing_leads_out_of_it():
    """No veth pair, no route: only a bridge and taps."""
    words = [word for command in PLAN.commands() for word in command]
    assert not {"veth", "route", "macvlan", "ipvlan", "netns"} & set(words[4:])
    dnsmasq = PLAN.dnsmasq(Path("/scratch"))
    assert {"--no-resolv", "--no-hosts"} <= set(dnsmasq)
    assert not [word for word in dnsmasq if word.startswith("--server")]


def test_each_machine_has_a_tap_on_the_bridge_and_its_own_address():
    for host in PLAN.hosts:
        assert f"{host.mac},{host.address},{host.name}\n" in PLAN.dhcp_hosts()
        add = ["ip", "-n", PLAN.namespace, "tuntap", "add", "dev", host.device, "mode", "tap"]
        assert add in PLAN.commands()
        assert PLAN.tap(host.name).mac == host.mac
        assert PLAN.tap(host.name).namespace == PLAN.namespace
    assert len({host.mac for host in PLAN.hosts}) == len({host.address for host in PLAN.hosts}) == 2
    assert f"--dhcp-hostsfile=/s/{HOSTS}" in PLAN.dnsmasq(Path("/s"))


def test_a_machine_that_is_moved_gets_an_address_that_no_other_has():
    moved = PLAN.hosts[0]
    listed = [line.split(",")[1] for line in PLAN.dhcp_hosts({moved.name}).splitlines()]
    assert listed == [moved.other_address, *(host.address for host in PLAN.hosts[1:])]
    own = {Host("x", number).address for number in range(1, 81)}
    other = {Host("x", number).other_address for number in range(1, 81)}
    assert len(own | other) == 160


@pytest.mark.parametrize("number", [1, 80])
def test_addresses_are_in_the_network_and_not_in_the_range_for_strangers(number):
    host = Host("x", number)
    for address in (host.address, host.other_address):
        assert address in map(str, PLAN.network.hosts())
        assert int(address.rpartition(".")[2]) < 200


def test_a_namespace_is_left_over_when_its_process_is_gone_or_another_has_its_number():
    child = subprocess.Popen([sys.executable, "-c", ""])
    of_the_dead = new_namespace(child.pid)
    child.wait()
    reused = f"{PREFIX}{os.getpid()}-{started(os.getpid()) - 1}"
    listed = [own_namespace(), f"{of_the_dead} (id: 3)", reused, "somebody-elses", ""]
    assert leftovers(listed) == [of_the_dead, reused]
