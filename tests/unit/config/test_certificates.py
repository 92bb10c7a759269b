"""k3os.ca_certificates: what is accepted, and what is said about the rest."""

import json

import pytest

from k3os.config.check import check_text
from k3os.config.value import plain
from tests.certificate import PEM

LINES = PEM.splitlines()


def checked(*items):
    text = json.dumps({"k3os": {"ca_certificates": list(items)}})
    values, problems = check_text(text.encode(), "config.yaml")
    value = values.get("k3os.ca_certificates")
    return plain(value) if value is not None else None, problems


@pytest.mark.parametrize(
    "text",
    [
        PEM,
        PEM.strip(),
        PEM.replace("\n", "\r\n"),
        f"# Issuer: me\n\n{PEM}\n# end\n",
        "\n".join(f"   {line}" for line in LINES),
    ],
)
def test_the_text_of_a_pem_file_is_a_certificate_whatever_is_around_it(text):
    assert checked(text) == ([PEM], [])


def test_a_text_may_hold_several():
    assert checked(PEM + "and\n" + PEM) == ([PEM + PEM], [])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("my-ca.pem", "is not a certificate in PEM form"),
        (LINES[1], "is not a certificate in PEM form"),
        ("-----BEGIN EC PRIVATE KEY-----\n" + PEM, "contains a private key"),
        ("\n".join(LINES[:5]), "it is damaged or cut off"),
        ("\n".join(LINES[:3] + LINES[4:]), "it is damaged or cut off"),
        (PEM.replace("MIIB", "M?IB"), "it is damaged or cut off"),
        (PEM + PEM.replace("MIIBkz", "MIICkz"), "certificate 2 in it is damaged or cut off"),
    ],
)
def test_what_is_none_is_left_out_with_the_reason_and_the_others_count(text, words):
    found, problems = checked(text, PEM)
    assert found == [PEM]
    assert [words in problem.message for problem in problems] == [True]
    assert str(problems[0]).startswith("config.yaml:1:")
    assert "k3os.ca_certificates[0]" in str(problems[0])
    assert LINES[2] not in str(problems[0])


HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    "text",
    [
        "/var/lib/mine/ca.pem",
        f"/var/lib/mine/ca.pem#sha256={HEX}",
        "https://pki.example/root.crt",
        f"http://pki.example/root.crt#sha256={HEX}",
    ],
)
def test_the_place_of_a_text_will_do(text):
    assert checked(text, PEM) == ([text, PEM], [])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("http://pki.example/root.crt", "comes over plain http without a SHA-256"),
        ("https://pki.example/root.crt#sha256=abc", "has no SHA-256 behind its `#`"),
        (f"https://pki.example/root.crt#md5={HEX}", "has no SHA-256 behind its `#`"),
        ("ftp://pki.example/root.crt", "nothing is fetched by ftp"),
        ("/etc/../ca.pem", "is not a file path"),
        ("/etc/ssl/mine/", "is not a file path"),
        ("/etc/ssl/a\tb.pem", "has a control character in it"),
        ("https://pki.example/a\x1bb.pem", "has a control character in it"),
        ("https://", "names no server"),
        ("https:///root.crt", "names no server"),
        ("https://me:pw@/root.crt", "names no server"),
        ("https://:443/root.crt", "names no server"),
    ],
)
def test_a_place_that_proves_nothing_or_is_none_is_left_out(text, words):
    found, problems = checked(text, PEM)
    assert found == [PEM]
    assert [words in problem.message for problem in problems] == [True]
    assert str(problems[0]).startswith("config.yaml:1:")
