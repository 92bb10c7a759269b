"""A node without a cable joins the wireless network of its configuration.

The kernel simulates two radios (mac80211_hwsim): one is the node's, the other an access point that
appears long after the node started looking for it, as after a power cut.
"""

import dataclasses

import pytest

from tests.vm.node import BOOT, ask

SSID = "café & more"
PASSPHRASE = r"a secret \ with $igns and spaces"
# wpa_supplicant.conf(5): mode 2 is an access point; connman ignores interfaces with this name
CONFIG = f"""\
write_files:
- path: /etc/access-point.conf
  permissions: '0600'
  content: |
    network={{
      ssid={SSID.encode().hex()}
      mode=2
      frequency=2412
      key_mgmt=WPA-PSK
      proto=RSN
      pairwise=CCMP
      psk="{PASSPHRASE}"
    }}
- path: /etc/udhcpd.conf
  content: |
    start 192.168.50.20
    end 192.168.50.20
    max_leases 1
    interface dummyap
    opt subnet 255.255.255.0
    lease_file /run/udhcpd.leases
boot_cmd:
- ip link set wlan1 name dummyap
run_cmd:
- touch /run/udhcpd.leases
- ip address add 192.168.50.1/24 dev dummyap
- systemd-run wpa_supplicant -i dummyap -D nl80211 -c /etc/access-point.conf
- systemd-run busybox udhcpd -f /etc/udhcpd.conf
k3os:
  modules: [mac80211_hwsim radios=2]
  wifi:
  - {{name: another, pass: another secret}}
  - {{name: '{SSID}', passphrase: '{PASSPHRASE}'}}
"""


@pytest.mark.long
def test_a_node_joins_its_wireless_network_and_gets_an_address(boot, generic_images):
    spec = generic_images.direct("", CONFIG)
    with boot("wifi", dataclasses.replace(spec, network=False, forwards=())) as vm:
        vm.wait_for_shell(BOOT)
        ask(
            vm,
            "until ip -4 -br address show dev wlan0 | grep -q 192.168.50.20; do sleep 1; done",
            150,
        )
        assert "wifi_" in ask(vm, "connmanctl services | grep '^\\*A[RO]'")
        journal = ask(vm, "sudo -n journalctl -b --no-pager -q | grep -cF 'a secret' || true")
        assert journal == "0"
