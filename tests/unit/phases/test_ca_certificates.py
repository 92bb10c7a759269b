"""Private authorities in the bundle that every program reads."""

import json
import os
import ssl
from collections.abc import Iterator
from hashlib import sha256

import pytest

from k3os.phases import ca_certificates, fetch
from k3os.phases.managed_block import BEGIN, END
from tests.certificate import PEM
from tests.unit.local_server import Site, content, local_site, status

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
    assert len(context.get_ca_certs()) == 1  # duplicates count once


def test_what_a_user_added_with_update_ca_certificates_stays(machine: Machine) -> None:
    machine.put(BUNDLE, DEBIANS)
    machine.apply("boot", CONFIG)
    machine.put(BUNDLE, DEBIANS + "-----BEGIN theirs\n")  # rebuilt
    machine.apply("runtime")
    assert machine.text(BUNDLE).startswith(DEBIANS + "-----BEGIN theirs\n" + BEGIN)


def test_one_of_two_leaves(machine: Machine) -> None:
    other = "".join(f"    {x}\n" for x in (PEM + PEM).splitlines())
    machine.apply("boot", CONFIG + "  - |\n" + other)
    assert machine.text(BUNDLE).count("BEGIN CERTIFICATE") == 3
    machine.apply("runtime", CONFIG)
    assert machine.text(BUNDLE).count("BEGIN CERTIFICATE") == 1
    assert not (machine.root / OWN.replace("-1", "-2")).exists()


HEX = sha256(PEM.encode()).hexdigest()


def located(*places: str) -> str:
    return json.dumps({"k3os": {"ca_certificates": list(places)}})


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with local_site() as found:
        monkeypatch.setattr(fetch, "PAUSE", 0.01)
        yield found


def test_what_a_url_gives_is_trusted_at_once_and_before_the_network_at_the_next_boot(
    machine: Machine, site: Site
) -> None:
    machine.put(BUNDLE, DEBIANS)
    text = f"Issuer: me\n{PEM}".encode()
    url = site.page("/root.pem", content(text)) + f"#sha256={sha256(text).hexdigest()}"
    assert not machine.apply("boot", located(url)).failed
    assert machine.text(BUNDLE) == DEBIANS
    assert machine.apply("runtime").is_fine
    assert machine.text(BUNDLE) == f"{DEBIANS}{BEGIN}\n{PEM}{END}\n"
    assert machine.text(OWN) == PEM
    # after a reboot: /etc is the image's again
    machine.put(BUNDLE, DEBIANS)
    site.page("/root.pem", status(404))
    assert machine.apply("boot").is_fine
    assert machine.text(BUNDLE) == f"{DEBIANS}{BEGIN}\n{PEM}{END}\n"
    assert machine.apply("runtime").is_fine, "it has a sum and is there: nobody is asked"


def test_what_is_fetched_goes_with_the_key(machine: Machine, site: Site) -> None:
    machine.put(BUNDLE, DEBIANS)
    url = site.page("/root.pem", content(PEM.encode())) + f"#sha256={HEX}"
    machine.apply("runtime", located(url))
    kept = machine.root / "var/lib/rancher/k3os/ca-certificates"
    assert len(list(kept.iterdir())) == 1
    machine.apply("runtime", "hostname: a\n")
    assert machine.text(BUNDLE) == DEBIANS
    assert list(kept.iterdir()) == []
    assert not (machine.root / OWN).exists()


@pytest.mark.parametrize(
    ("text", "words"), [(PEM + "x", "wrong checksum"), ("<html>", "wrong checksum")]
)
def test_what_is_not_what_the_sum_says_is_not_trusted_and_the_others_are(
    machine: Machine, site: Site, text: str, words: str
) -> None:
    machine.put(BUNDLE, DEBIANS)
    url = site.page("/root.pem", content(text.encode())) + f"#sha256={HEX}"
    report = machine.apply("runtime", located(url, PEM))
    assert [words in each.reason for each in report.failed] == [True]
    assert machine.text(BUNDLE) == f"{DEBIANS}{BEGIN}\n{PEM}{END}\n"


def test_a_page_that_is_no_certificate_is_named(
    machine: Machine, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = b"<html>please log in</html>"
    url = site.page("/root.pem", content(page)) + f"#sha256={sha256(page).hexdigest()}"
    report = machine.apply("runtime", located(url))
    assert ["is not a certificate in PEM form" in each.reason for each in report.failed] == [True]


def test_without_a_sum_a_newer_one_counts_and_the_old_one_when_nobody_answers(
    machine: Machine, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("k3os.config.fetched.check", lambda node, text: text)  # the site has no TLS
    monkeypatch.setattr(fetch, "TRIES", 1)
    url = site.page("/root.pem", content(PEM.encode()), content((PEM * 2).encode()), status(503))
    for count in (1, 2, 2):
        report = machine.apply("runtime", located(url))
        assert report.is_fine
        assert machine.text(BUNDLE).count("BEGIN CERTIFICATE") == count
    assert "what it gave before counts" in str([each.reason for each in report.results])


def test_a_path_is_read_in_each_phase_and_one_that_is_not_there_is_named(machine: Machine) -> None:
    machine.put(BUNDLE, DEBIANS)
    machine.put("var/mine.pem", PEM)
    report = machine.apply("boot", located(f"/var/mine.pem#sha256={HEX}", "/var/other.pem"))
    assert machine.text(BUNDLE) == f"{DEBIANS}{BEGIN}\n{PEM}{END}\n"
    assert [each.reason for each in report.failed] == [
        "/var/other.pem: No such file or directory; write the text of the certificate, or where "
        "it is"
    ]


def test_a_path_that_never_ends_is_no_file(machine: Machine) -> None:
    machine.put(BUNDLE, DEBIANS)
    os.mkfifo(machine.root / "pipe")
    report = machine.apply("boot", located("/pipe", PEM))
    assert ["/pipe: is not a file" in each.reason for each in report.failed] == [True]
    assert machine.text(BUNDLE) == f"{DEBIANS}{BEGIN}\n{PEM}{END}\n"


def test_all_of_them_have_one_end_in_time(
    machine: Machine, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.put(BUNDLE, DEBIANS)
    url = site.page("/root.pem", content(PEM.encode())) + f"#sha256={HEX}"
    monkeypatch.setattr(ca_certificates, "ALTOGETHER", 0.5)
    report = machine.apply("runtime", located(url, PEM))
    assert ["there is no time left for it" in each.reason for each in report.failed] == [True]
    assert machine.text(BUNDLE) == f"{DEBIANS}{BEGIN}\n{PEM}{END}\n"
