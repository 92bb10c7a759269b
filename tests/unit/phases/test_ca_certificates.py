"""Private authorities in the bundle that every program reads."""

import ssl

from k3os.phases.managed_block import BEGIN, END
from tests.certificate import PEM

from .conftest import Machine

BUNDLE = "etc/ssl/certs/ca-certificates.crt"
OWN = "usr/local/share/ca-certificates/k3os-1.crt"
DEBIANS = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
CONFIG = "k3os:\n  ca_certificates:\n  - |\n" + "".join(f"    {x}\n" for x in PEM.splitlines())


def test_they_are_trusted_from_the_boot_phase_on_and_go_with_the_key(machine: Machine) -> None:
    machine.put(BUNDLE, DEBIANS)
    assert not machine.apply("boot", CONFIG).failed
    bundle = machine.text(BUNDLE)
    assert bundle == f"{DEBIANS}{BEGIN}\n{PEM}{END}\n"
    assert machine.text(OWN) == PEM
    second = machine.apply("runtime")
    assert {e.result for e in second.results if e.key == "k3os.ca_certificates"} == {"unchanged"}
    machine.apply("runtime", "hostname: a\n")
    assert machine.text(BUNDLE) == DEBIANS
    assert not (machine.root / OWN).exists()


def test_the_bundle_can_be_read_by_openssl(machine: Machine) -> None:
    machine.put(BUNDLE, PEM)
    machine.apply("boot", CONFIG)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(str(machine.root / BUNDLE))
    assert len(context.get_ca_certs()) == 1  # the same twice is one


def test_what_a_user_added_with_update_ca_certificates_stays(machine: Machine) -> None:
    machine.put(BUNDLE, DEBIANS)
    machine.apply("boot", CONFIG)
    machine.put(BUNDLE, DEBIANS + "-----BEGIN theirs\n")  # made anew
    machine.apply("runtime")
    assert machine.text(BUNDLE).startswith(DEBIANS + "-----BEGIN theirs\n" + BEGIN)


def test_one_of_two_leaves(machine: Machine) -> None:
    other = "".join(f"    {x}\n" for x in (PEM + PEM).splitlines())
    machine.apply("boot", CONFIG + "  - |\n" + other)
    assert machine.text(BUNDLE).count("BEGIN CERTIFICATE") == 3
    machine.apply("runtime", CONFIG)
    assert machine.text(BUNDLE).count("BEGIN CERTIFICATE") == 1
    assert not (machine.root / OWN.replace("-1", "-2")).exists()
