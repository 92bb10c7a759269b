"""Cloud data from metadata services: one machine whose network has all of their addresses.

It boots while one service never answers and the firmware names another platform; then each
platform is queried by hand. The services are the unit tests' own, running on the host.
"""

import base64
import dataclasses
import json
import re
import ssl
import sys
from pathlib import Path

import pytest

from k3os.system.run import run
from tests.unit.datasource.platforms import PLATFORMS, Given, scaleway
from tests.unit.local_server import local_site
from tests.vm.node import BOOT, ask, use_data_sources, wait_until_settled

RELAY = Path(__file__).with_name("relay.py")
PACKET = ("169.254.80.80", "metadata.platformequinix.com")
SCALEWAY = "169.254.42.42"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIESqSmllcg5QoT7KRLnwkEjK+b6OXXcVEGqm+GR8EOwX {}"
CONFIG = f"""\
boot_cmd:
- iptables -A OUTPUT -d {SCALEWAY} -j DROP
- echo '{PACKET[0]} {PACKET[1]}' >> /etc/hosts
write_files:
- path: /etc/test-ca.pem
  encoding: b64
  content: {{certificate}}
k3os:
  data_sources: [scaleway, auto]
"""


def given(name):
    userdata = (
        f"#cloud-config\nwrite_files:\n- {{path: /etc/from-{name}, content: of {name}}}\n"
        f"k3os: {{token: the-token-of-{name}}}\n"
    )
    return Given(f"{name}-node.example", [KEY.format(name)], userdata.encode())


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for the only service that uses TLS."""
    directory = tmp_path_factory.mktemp("tls")
    run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30"),
            *("-keyout", "key.pem", "-out", "ca.pem", "-subj", "/CN=test"),
            *("-addext", f"subjectAltName=DNS:{PACKET[1]}"),
        ],
        cwd=str(directory),
    )
    return directory


@pytest.fixture(scope="module")
def plain():
    with local_site() as site:
        PLATFORMS["hetzner"](site, given("hetzner"))
        yield site


@pytest.fixture(scope="module")
def encrypted(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "ca.pem", certificate / "key.pem")
    with local_site(context) as site:
        PLATFORMS["packet"](site, given("packet"))
        yield site


def forward(address, site):
    port = site.url.rpartition(":")[2]
    return f"guestfwd=tcp:{address}-cmd:{sys.executable} -S {RELAY} {port}"


@pytest.fixture(scope="module")
def node(boot, images, plain, encrypted, certificate):
    network = [
        "user,id=net1,net=169.254.0.0/16,restrict=on",
        forward("169.254.169.254:80", plain),
        forward(f"{SCALEWAY}:80", plain),
        forward(f"{PACKET[0]}:443", encrypted),
    ]
    cards = ("-netdev", ",".join(network), "-device", "virtio-net-pci,netdev=net1,romfile=")
    cards += ("-smbios", "type=1,manufacturer=Hetzner,product=vServer")
    pem = base64.b64encode((certificate / "ca.pem").read_bytes()).decode()
    spec = images.direct("", CONFIG.format(certificate=pem))
    with boot("datasource-services", dataclasses.replace(spec, extra=cards)) as vm:
        vm.wait_for_shell(BOOT)
        wait_until_settled(vm)
        yield vm


def actions(node):
    """What the last runtime phase did about data sources."""
    status = json.loads(ask(node, "cat /run/k3os/status.json"))
    found = status["phases"]["runtime"]["actions"]
    return [each for each in found if each["key"] == "k3os.data_sources"]


def seconds(action):
    return float(re.search(r"([0-9.]+) s$", action["reason"])[1])


def test_a_source_that_never_answers_costs_five_seconds_and_is_announced(node):
    first, *_ = actions(node)
    print(f"unreachable source: {first['reason']}")
    assert first["what"] == "ask scaleway"
    assert "not there: http://169.254.42.42: no answer in 5 s" in first["reason"]
    assert 4.5 < seconds(first) < 7
    assert "waiting for cloud data from scaleway (Scaleway), 60 s at most" in node.console.text
    phase = json.loads(ask(node, "cat /run/k3os/status.json"))["phases"]["runtime"]
    print(f"runtime phase with it: {phase['seconds']} s")


def test_auto_asks_the_platform_that_the_firmware_names(node):
    asked = [each["what"] for each in actions(node)]
    assert asked == [
        "ask scaleway",
        "ask nocloud",
        "ask configdrive",
        "ask hetzner",
        "use what hetzner gives",
    ]
    assert ask(node, "uname -n") == "hetzner-node.example"
    ask(node, "until systemctl is-active -q k3s; do sleep 1; done", 60)
    assert "the-token-of-hetzner" in ask(node, "sudo -n cat /run/k3os/k3s.token")
    ask(node, "k3os status")


@pytest.mark.parametrize("name", list(PLATFORMS))
def test_each_platform_gives_hostname_key_and_a_file(node, plain, name):
    plain.pages.clear()
    if name == "scaleway":
        # QEMU's network does not preserve the source port; the unit test checks it
        ask(node, f"sudo -n iptables -D OUTPUT -d {SCALEWAY} -j DROP")
        scaleway(plain, given(name), any_port=True)
    elif name != "packet":
        PLATFORMS[name](plain, given(name))
    probe = f"sudo -n env SSL_CERT_FILE=/etc/test-ca.pem k3os datasource probe {name}"
    shown = ask(node, probe, 120)
    assert f"{name} (" in shown
    assert f"hostname: {name}-node.example" in shown
    assert "the-token" not in shown
    use_data_sources(node, name)
    output = ask(
        node,
        f"test {name} = hetzner || ! test -e /etc/from-{name} && "
        "sudo -n env SSL_CERT_FILE=/etc/test-ca.pem k3os config && "
        f"uname -n && echo $(cat /etc/from-{name}) && grep -c ' {name}$' ~/.ssh/authorized_keys && "
        "sudo -n stat -c %a /run/config/userdata",
        120,
    )
    assert output.splitlines()[-4:] == [f"{name}-node.example", f"of {name}", "1", "600"]


def test_without_the_service_its_last_answer_serves_and_the_console_says_so(node, plain):
    plain.pages.clear()
    PLATFORMS["aws"](plain, given("aws"))
    use_data_sources(node, "aws", "cdrom")
    ask(node, "sudo -n k3os config", 120)
    ask(node, "sudo -n rm /etc/from-aws && sudo -n ip route add unreachable 169.254.169.254")
    ask(node, "sudo -n k3os config", 120)
    assert ask(node, "cat /etc/from-aws") == "of aws"
    assert seconds(actions(node)[0]) < 6
    assert "nothing answers; this is what aws gave on 20" in node.console.text
    ask(node, "sudo -n ip route del unreachable 169.254.169.254")


def test_userdata_that_is_rubbish_is_an_error_and_the_rest_is_applied(node, plain):
    plain.pages.clear()
    PLATFORMS["aws"](plain, Given("rubbish-node", [], b"\x7fELF\x02\x01\x01\x00"))
    code, _ = node.command("sudo -n k3os config", 120)
    assert code == 1
    assert ask(node, "uname -n") == "rubbish-node"
    assert "is neither text nor gzip" in ask(node, "k3os status || true")


def test_the_network_is_as_it_was(node):
    assert "10.0.2." in ask(node, "ip -4 address show")
    assert ask(node, "ip route show default").startswith("default via 10.0.2.2 dev eth0")
    assert ask(node, "systemctl --failed --no-legend --plain") == ""
