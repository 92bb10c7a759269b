"""Reading YAML: scalars keep their text, keys have many spellings, places are right."""

import pytest

from k3os.config.check import check_text
from k3os.config.schema import TABLE
from k3os.config.spelling import fold, nearest
from k3os.config.value import plain


def read(text: str) -> dict[str, object]:
    values, problems = check_text(text.encode(), "config.yaml")
    assert not [str(problem) for problem in problems if problem.is_error]
    return {path: plain(value) for path, value in values.items()}


@pytest.mark.parametrize(
    "text", ["1.10", "0644", "yes", "1e3", "0x10", "1000000", "null_", "12:30"]
)
def test_a_scalar_keeps_the_text_the_user_wrote(text: str) -> None:
    assert read(f"k3os: {{sysctls: {{a: {text}}}, token: {text}}}") == {
        "k3os.sysctls": {"a": text},
        "k3os.token": text,
    }


@pytest.mark.parametrize(
    "spelling",
    [
        "dns_nameservers",
        "dns_nameserver",
        "dnsNameservers",
        "dnsNameserver",
        "dns-nameservers",
        "dns-nameserver",
        "dnsnameservers",
        "DNSNameserver",
    ],
)
def test_every_spelling_of_a_key_is_the_same_key(spelling: str) -> None:
    assert read(f"k3os: {{{spelling}: 8.8.8.8}}") == {"k3os.dns_nameservers": ["8.8.8.8"]}


@pytest.mark.parametrize("spelling", ["runcmd", "run_cmd", "runCmd", "run-cmd", "runCmds"])
def test_commands_are_written_together_or_not(spelling: str) -> None:
    assert read(f"{spelling}: echo hi") == {"run_cmd": ["echo hi"]}


def test_names_in_the_users_own_maps_are_left_alone() -> None:
    text = "k3os: {labels: {run-cmd: a, runCmd: b}, environment: {HTTP_PROXYS: c}}"
    assert read(text) == {
        "k3os.labels": {"run-cmd": "a", "runCmd": "b"},
        "k3os.environment": {"HTTP_PROXYS": "c"},
    }


def test_no_two_keys_have_a_spelling_in_common() -> None:
    folded = [fold(key.path.replace(".", "")) for key in TABLE]
    assert len(set(folded)) == len(folded)


def test_an_unknown_key_is_answered_with_the_nearest_name() -> None:
    assert nearest("hostnam", ["hostname", "run_cmd"]) == "hostname"
    assert nearest("zzz", ["hostname"]) == ""


@pytest.mark.parametrize(
    ("written", "mode"),
    [
        ("'0644'", "0644"),
        ("0644", "0644"),
        ("420", "0644"),
        ("384", "0600"),
        ("493", "0755"),
        ("644", "0644"),
        ("600", "0600"),
        ("'644'", "0644"),
        ("0o755", "0755"),
        ("04755", "4755"),
        ("755", "0755"),
    ],
)
def test_permissions_survive_what_yaml_does_to_octal_numbers(written: str, mode: str) -> None:
    found = read(f"write_files: [{{path: /x, permissions: {written}}}]")
    assert found == {"write_files": [{"path": "/x", "permissions": mode}]}


def test_binary_content_becomes_base64() -> None:
    text = "write_files: [{path: /x, content: !!binary aGk=}]"
    assert read(text) == {"write_files": [{"path": "/x", "content": "aGk=", "encoding": "b64"}]}


def test_an_anchor_is_a_value_written_twice_and_own_keys_win_over_merged_ones() -> None:
    text = (
        "write_files:\n- &a {path: /a, content: x}\n- {<<: *a, path: /b}\n"
        "run_cmd: &c [echo]\nboot_cmd: *c\n"
    )
    assert read(text) == {
        "write_files": [{"path": "/a", "content": "x"}, {"content": "x", "path": "/b"}],
        "run_cmd": ["echo"],
        "boot_cmd": ["echo"],
    }


def test_nothing_behind_a_key_is_the_same_as_no_key() -> None:
    assert read("hostname:\nk3os:\n  token: ~\n  modules: [a, ~]\n") == {"k3os.modules": ["a"]}


@pytest.mark.parametrize("text", ["", "\n", "# only a comment\n", "---\n", "{}", "\ufeff"])
def test_an_empty_file_is_no_problem(text: str) -> None:
    assert read(text) == {}


def test_a_value_knows_its_line_and_column() -> None:
    values, _ = check_text(b"a: 1\nhostname:   node1\n", "some/config.yaml")
    assert str(values["hostname"].place) == "some/config.yaml:2:13"


def test_an_error_costs_only_its_own_value() -> None:
    values, problems = check_text(b"hostname: [a]\nk3os: {token: x, sysctls: 5}\n", "c")
    assert list(values) == ["k3os.token"]
    assert len(problems) == 2


def test_pairs_are_taken_for_a_map() -> None:
    assert read("k3os: {sysctls: [a=b, c=d=e]}") == {"k3os.sysctls": {"a": "b", "c": "d=e"}}


FILES = {
    "UTF-16 of Windows": ("hostname: a\r\n".encode("utf-16"), "is UTF-16", "save it as UTF-8"),
    "UTF-16 without a mark": ("hostname: a\n".encode("utf-16-le"), "is UTF-16", "UTF-8"),
    "UTF-16, the other way": ("hostname: a\n".encode("utf-16-be"), "is UTF-16", "UTF-8"),
    "gzip": (b"\x1f\x8b\x08\x00\x00\x00\x00\x00", "is compressed", "unpack it"),
    "a page": (b"<!DOCTYPE html>\n<html lang='en'>\n<p>a: b: c</p>\n", "a web page", "raw"),
    "a page, short": (b"<html><body>404</body></html>", "a web page", "raw"),
    "an answer in XML": (b"<?xml version='1.0'?>\n<Error>\n</Error>\n", "a web page", "raw"),
    "a script": (b"#!/bin/sh\necho a: b\n", "is a script", "run_cmd"),
    "a script that is YAML": (b"#!/bin/sh\nreboot\n", "is a script", "run_cmd"),
    "an object": (b"apiVersion: v1\nkind: Pod\n", "is an object of Kubernetes", "k3os.manifests"),
}


@pytest.mark.parametrize("data,what,hint", FILES.values(), ids=FILES)
def test_a_file_of_another_kind_is_said_to_be_one(data: bytes, what: str, hint: str) -> None:
    _, problems = check_text(data, "c")
    assert what in problems[0].message
    assert hint in problems[0].hint
    assert len(problems) == 1


def test_the_page_of_an_error_that_is_yaml_is_no_configuration() -> None:
    _, problems = check_text(b"404: Not Found", "c")
    assert [each.is_error for each in problems] == [True]


def test_a_message_has_a_bounded_length() -> None:
    text = f"hostname: {'a' * 100_000}\nk3os: {{taints: [{'b' * 100_000}], {'c' * 900}: 1}}\n"
    _, problems = check_text(text.encode(), "c")
    assert len(problems) == 3
    assert max(len(str(each)) for each in problems) < 1500


@pytest.mark.parametrize("path", ["//etc/motd", "/etc//motd", "/etc/./motd", "/./etc/.//motd"])
def test_two_spellings_of_a_path_are_one_path(path: str) -> None:
    """The entry with precedence replaces the other, and checks for a path recognize both."""
    entry = {"path": "/etc/motd", "content": "a"}
    assert read(f"write_files: [{{path: {path}, content: a}}]") == {"write_files": [entry]}
    assert read("k3os: {install: {device: //dev//sda}}") == {"k3os.install.device": "/dev/sda"}
    _, problems = check_text(
        b"write_files: [{path: /var/lib/rancher/k3s//server/./manifests/traefik.yaml}]", "c"
    )
    assert "overwrites this one" in str(problems[0])
