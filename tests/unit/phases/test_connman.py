"""Servers and wireless networks as connman reads them."""

from .conftest import Machine

MAIN = "etc/connman/main.conf"
STATE = "var/lib/connman/settings"
IMAGE = "[General]\n# a comment\nFallbackNameservers=9.9.9.9\nAllowHostnameUpdates=false\n"


def test_servers_go_into_main_conf_and_the_images_settings_stay(machine: Machine) -> None:
    machine.put(MAIN, IMAGE)
    report = machine.apply(
        "boot", "k3os: {dnsNameserver: [8.8.8.8, 1.1.1.1], ntp_servers: [a.ntp, 'b, c']}\n"
    )
    assert machine.text(MAIN) == (
        "[General]\nFallbackNameservers=8.8.8.8,1.1.1.1\nFallbackTimeservers=a.ntp\n"
        "# a comment\nAllowHostnameUpdates=false\n"
    )
    assert [problem.hint for problem in report.problems] == [
        "write each server as an item of a list"
    ]


def test_connman_is_restarted_only_at_run_time_and_only_after_a_change(machine: Machine) -> None:
    config = "k3os: {dns_nameservers: [8.8.8.8]}\n"
    boot = machine.apply("boot", config)
    assert not [result for result in boot.results if result.what.startswith("restart")]
    runtime = machine.apply("runtime")
    restarts = [result.result for result in runtime.results if result.what.startswith("restart")]
    assert restarts == ["unchanged"]


def test_a_wireless_network_has_its_name_as_bytes_and_a_file_nobody_else_reads(
    machine: Machine,
) -> None:
    machine.apply("boot", "k3os: {wifi: [{name: café, pass: ' a\\b'}, {ssid: open}]}\n")
    assert machine.text("var/lib/connman/k3os-wifi.config") == (
        "[service_636166c3a9]\nType=wifi\nSSID=636166c3a9\nPassphrase=\\sa\\\\b\n"
        "\n[service_6f70656e]\nType=wifi\nSSID=6f70656e\n"
    )
    assert machine.mode("var/lib/connman/k3os-wifi.config") == 0o600


def test_radios_are_switched_on_where_networks_are_configured(machine: Machine) -> None:
    machine.apply("boot", "hostname: a\n")
    assert not (machine.root / STATE).exists()
    machine.put(STATE, "[global]\nOfflineMode=false\n\n[WiFi]\nEnable=false\n[Wired]\nEnable=1\n")
    machine.apply("boot", "k3os: {wifi: {name: a}}\n")
    assert machine.text(STATE) == (
        "[global]\nOfflineMode=false\n\n[WiFi]\nEnable=true\n[Wired]\nEnable=1\n"
    )


def test_networks_that_leave_the_configuration_are_forgotten(machine: Machine) -> None:
    machine.apply("boot", "k3os: {wifi: [{name: a, pass: secret}]}\n")
    machine.apply("boot", "hostname: x\n")
    assert machine.text("var/lib/connman/k3os-wifi.config") == ""
