"""Hidden networks and networks with accounts (k3os.wifi) as connman reads them."""

from __future__ import annotations

import pytest

from k3os.config.check import check_text
from k3os.config.dump import dump_yaml
from k3os.config.load import load_config
from k3os.config.wireless import INNER

from .conftest import Machine

FILE = "var/lib/connman/k3os-wifi.config"
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMAIFAA==\n-----END CERTIFICATE-----\n"
PRIVATE = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAIFAA==\n-----END ENCRYPTED PRIVATE KEY-----\n"


def indented(text: str) -> str:
    return "".join(f"        {line}\n" for line in text.splitlines())


def account(method: str, more: str = "") -> str:
    return f"""\
k3os:
  wifi:
  - name: office
    eap:
      method: {method}
      identity: node-1@corp.test
{more}"""


CLIENT = f"""\
      client_certificate: |
{indented(CERTIFICATE)}      private_key: |
{indented(PRIVATE)}"""
PASSWORD = "      password: ' a\\b'\n"
CA = f"      ca_certificate: |\n{indented(CERTIFICATE)}"
DIGITS = "6f6666696365"
HEAD = f"[service_{DIGITS}]\nType=wifi\nSSID={DIGITS}\nSecurity=ieee8021x\n"
PEM = f"/run/k3os/wifi/{DIGITS}"

TABLE = {
    "peap, as most have it": (
        account("peap", PASSWORD + CA),
        f"EAP=peap\nPhase2=MSCHAPV2\nCACertFile={PEM}-ca_certificate.pem\n"
        "Identity=node-1@corp.test\nPassphrase=\\sa\\\\b\n",
    ),
    "ttls, with all that it may say": (
        account(
            "TTLS",
            f"{PASSWORD}      phase2: PAP\n      anonymous_identity: anonymous@corp.test\n"
            "      domain: radius.corp.test\n      ca_certificate: /etc/ssl/corp.pem\n",
        ),
        "EAP=ttls\nPhase2=PAP\nCACertFile=/etc/ssl/corp.pem\nIdentity=node-1@corp.test\n"
        "AnonymousIdentity=anonymous@corp.test\nPassphrase=\\sa\\\\b\n"
        "DomainSuffixMatch=radius.corp.test\n",
    ),
    "tls, with a key that a password opens": (
        account("tls", f"{CLIENT}{CA}      private_key_password: opens it\n"),
        f"EAP=tls\nCACertFile={PEM}-ca_certificate.pem\nClientCertFile={PEM}-client_certificate.pem\n"
        f"PrivateKeyFile={PEM}-private_key.pem\nIdentity=node-1@corp.test\n"
        "PrivateKeyPassphrase=opens it\n",
    ),
    "tls, with a key that is open: connman wants a password": (
        account("tls", f"{CLIENT}{CA}"),
        f"EAP=tls\nCACertFile={PEM}-ca_certificate.pem\nClientCertFile={PEM}-client_certificate.pem\n"
        f"PrivateKeyFile={PEM}-private_key.pem\nIdentity=node-1@corp.test\n"
        "PrivateKeyPassphrase=none\n",
    ),
}


@pytest.mark.parametrize("case", TABLE)
def test_the_table(machine: Machine, case: str) -> None:
    text, lines = TABLE[case]
    report = machine.apply("boot", text)
    assert report.is_fine and not report.problems
    assert machine.text(FILE) == HEAD + lines
    assert machine.mode(FILE) == 0o600


def test_certificates_and_keys_are_for_root_alone_and_go_with_their_network(
    machine: Machine,
) -> None:
    machine.apply("boot", account("tls", CLIENT + CA))
    directory = machine.root / "run/k3os/wifi"
    names = {f"{DIGITS}-{name}.pem" for name in ("ca_certificate", "client_certificate")}
    assert {each.name for each in directory.iterdir()} == {*names, f"{DIGITS}-private_key.pem"}
    assert {each.stat().st_mode & 0o777 for each in directory.iterdir()} == {0o600}
    assert machine.text(f"run/k3os/wifi/{DIGITS}-private_key.pem") == PRIVATE
    machine.apply("runtime", "k3os: {wifi: [{name: home, passphrase: secret-enough}]}\n")
    assert not list(directory.iterdir())


def test_a_hidden_network_is_asked_for_by_name(machine: Machine) -> None:
    machine.apply("boot", "k3os: {wifi: [{name: attic, pass: secret-enough, hidden: yes}]}\n")
    assert machine.text(FILE).endswith("\nPassphrase=secret-enough\nHidden=true\n")
    machine.apply("boot", "k3os: {wifi: [{name: attic, hidden: no}]}\n")
    assert "Hidden" not in machine.text(FILE)


@pytest.mark.parametrize("method", INNER)
@pytest.mark.parametrize("inner", sorted({each for words in INNER.values() for each in words}))
def test_what_is_asked_for_in_a_tunnel_is_known_to_the_method_or_said_to_be_wrong(
    machine: Machine, method: str, inner: str
) -> None:
    report = machine.apply("boot", account(method, f"{PASSWORD}{CA}      phase2: {inner}\n"))
    if inner in INNER[method]:
        assert not report.problems
        assert f"Phase2={INNER[method][inner]}\n" in machine.text(FILE)
    else:
        assert f"method {method} knows no {inner}" in str(report.problems[0])
        assert not (machine.root / FILE).exists() or not machine.text(FILE)


def test_no_secret_of_an_account_is_shown(machine: Machine) -> None:
    text = account("tls", f"{CLIENT}      private_key_password: opens-the-key\n")
    text += "  - {name: b, eap: {method: peap, identity: me, password: of-the-account}}\n"
    machine.apply("boot", text)
    config, problems = load_config(str(machine.root), cmdline="")
    shown = dump_yaml(config) + "".join(map(str, problems))
    assert "node-1@corp.test" in shown
    for secret in ("opens-the-key", "of-the-account", "PRIVATE KEY"):
        assert secret not in shown
    assert {"opens-the-key", "of-the-account"} <= set(config.secrets())


def test_a_network_whose_account_is_wrong_costs_only_itself(machine: Machine) -> None:
    text = "k3os: {wifi: [{name: a, eap: {method: peap}}, {name: b, passphrase: secret-enough}]}\n"
    _, problems = check_text(text.encode(), "c")
    assert all(each.is_error for each in problems)
    machine.apply("boot", text)
    assert machine.text(FILE).startswith("[service_62]\n")
