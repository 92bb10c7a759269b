"""Secrets are removed where they are values, and other words stay."""

import pytest

from k3os.phases.redact import redact

from .conftest import Machine


@pytest.mark.parametrize("password", ["rancher", "boot", "config", "etc"])
def test_a_password_that_is_a_word_is_masked_nowhere(machine: Machine, password: str) -> None:
    report = machine.apply(
        "runtime",
        f"write_files: [{{path: /etc/{password}/file}}]\n"
        f"run_cmd: ['echo {password} is not there; false']\n"
        f"k3os: {{password: {password}, token: '{password}', environment: {{A: {password}}}}}\n",
    )
    texts = [f"{each.what} {each.reason}" for each in report.results]
    assert [text for text in texts if f"/etc/{password}/file" in text]
    assert not [text for text in texts if "***" in text]


@pytest.mark.parametrize(
    "text",
    [
        "{} was refused",
        "refused: {}",
        "password={}, sorry",
        "https://me:{}@example.org/ is not there",
        "'{}' \"{}\"",
    ],
)
def test_a_secret_that_stands_as_a_value_is_masked(text: str) -> None:
    for secret in ("K10abc::server:x1", "abcdefghijklmnopqrst", "good day", "s3cr3t-enough"):
        assert redact(text.format(secret, secret), [secret]) == text.format("***", "***")


@pytest.mark.parametrize("text", ["/opt/tok3n-xyz/file", "my-tok3n-xyz", "tok3n-xyz_2 tok3n-xyz9"])
def test_a_part_of_another_word_is_no_secret(text: str) -> None:
    assert redact(text, ["tok3n-xyz"]) == text


def test_of_two_secrets_the_longer_one_is_taken_first() -> None:
    assert redact("12345678 9 ", ["12345678", "12345678 9"]) == "*** "


def test_the_variables_of_a_command_are_not_shown(machine: Machine) -> None:
    report = machine.apply("runtime", "run_cmd: ['TOKEN=abc true', 'A=b', 'true x', 'true']\n")
    whats = [each.what for each in report.results if each.key.startswith("run_cmd")]
    assert [what.partition(": ")[2] for what in whats] == ["TOKEN= …", "A= …", "true …", "true"]
