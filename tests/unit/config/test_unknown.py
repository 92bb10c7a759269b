"""Unknown keys: the suggestion is what the author meant, and never something harmful."""

import pytest

from k3os.config.advice import of_cmdline
from k3os.config.check import check_cmdline, check_text

KEYS = {
    "k3os: {tls_san: [a]}": "write `--tls-san=…` in k3os.k3s_args",
    "k3os: {disable: [traefik]}": "write `--disable=…` in k3os.k3s_args",
    "k3os: {clusterInit: true}": "write `--cluster-init` in k3os.k3s_args",
    "k3os: {node_name: a}": "write `--node-name=…` in k3os.k3s_args",
    "k3os: {cluster-cidr: a}": "write `--cluster-cidr=…` in k3os.k3s_args",
    "k3os: {data-dir: /x}": "write `--data-dir=…` in k3os.k3s_args",
    "k3os: {k3s: {args: [server]}}": "write k3os.k3s_args",
    "k3s: {args: [server]}": "write k3os.k3s_args",
    "k3os: {role: server}": "write k3os.k3s_args",
    "k3os: {cluster_token: x}": "write k3os.token",
    "k3os: {kernel_modules: [nbd]}": "write k3os.modules",
    "k3os: {wireless: []}": "write k3os.wifi",
    "k3os: {timezone: UTC}": "the node's clock is UTC",
    "k3os: {packages: [x]}": "k3OS installs no packages",
    "registries: {}": "write registries below `k3os:`",
    "k3os: {registries: {auths: {}}}": "write k3os.registries.configs",
    "k3os: {registry: {}}": "did you mean registries?",
    "k3os: {install: {dev: /dev/sda}}": "write k3os.install.device",
    "k3os: {install: {console: ttyS0}}": "write k3os.install.tty",
    "k3os: {install: {url: https://a/b}}": "write k3os.install.config_url or k3os.install.iso_url",
    "rancher: {network: {}}": "its settings stand below `k3os:`",
    "write_files: [{filename: /x}]": "write path",
    "write_files: [{path: /x, data: y}]": "write content",
    "write_files: [{path: /x, perms: y}]": "write permissions",
    "write_files: {/etc/x: hello}": "write `- path: /etc/x`",
    "k3os: {wifi: [{name: a, key: y}]}": "write passphrase",
    "k3os: {network: {eth0: {address: 10.0.0.1, netmask: 255.0.0.0}}}": "behind the address",
    "k3os: {network: {eth0: {dhcp4-overrides: {use-dns: false}}}}": "write use_dns, use_routes",
    "k3os: {network: {lan: {match: {driver: igb}, set-name: lan0}}}": "the kernel's names",
    "k3os: {wifi: [{name: a, security: wpa3}]}": "WPA2 or WPA3",
    "k3os: {wifi: [{name: a, auth: {method: peap}}]}": "write eap",
    "k3os: {wifi: [{name: a, identity: me}]}": "below `eap:`",
    "k3os: {network: {version: 2}}": "write `eth0: {address: …}`",
    "k3os: {network: {ethernets: {eth0: {dhcp4: true}}}}": "write `eth0: {address: …}`",
    "k3os: {network: {interfaces: {eth0: {dhcp: true}}}}": "write `eth0: {address: …}`",
}


@pytest.mark.parametrize("text", KEYS)
def test_a_key_that_does_not_exist_leads_to_the_one_that_does(text: str) -> None:
    _, problems = check_text(text.encode(), "c")
    assert any(KEYS[text] in each.hint for each in problems), [str(each) for each in problems]
    assert not any("no effect" in each.hint for each in problems)


def test_a_key_of_rancheros_is_not_called_one_of_cloud_init() -> None:
    _, problems = check_text(b"rancher: {network: {}}\n", "c")
    assert [each.message for each in problems] == ["is a key of RancherOS"]


def test_of_a_value_that_is_given_twice_on_the_command_line_the_last_counts_and_that_is_said() -> (
    None
):
    text = "hostname=a k3os.token=x k3os.mode=live hostname=b k3os.token=x run_cmd=a run_cmd=b"
    values, problems = check_cmdline(text)
    assert values["hostname"].data == "b"
    assert [str(each) for each in [*problems, *of_cmdline(text)]] == [
        "cmdline: hostname: warning: hostname: is given twice; the last counts; remove one"
    ]
