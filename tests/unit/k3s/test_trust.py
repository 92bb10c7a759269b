"""Which entries of `k3os.k3s_sums` apply, and which are errors."""

import pytest

from k3os.config.check import check_text
from k3os.config.load import Config
from k3os.k3s.source import VERSION
from k3os.k3s.trust import Trust, of_config

HEX = "0123456789abcdef" * 4
GOOD = "v9.8.7+k3s1"


def read(text):
    values, problems = check_text(f"k3os: {{k3s_sums: {text}}}".encode(), "config.yaml")
    return of_config(Config(values)).sums, [str(problem) for problem in problems]


@pytest.mark.parametrize("version", [GOOD, "v1.34.0-rc1+k3s12"])
def test_a_version_has_one_sum_or_several_in_any_case(version):
    assert VERSION.fullmatch(version)
    assert read(f"{{{version}: {HEX}}}") == ({version: {HEX}}, [])
    assert read(f"{{{version}: '{HEX.upper()}  {HEX[::-1]}'}}") == ({version: {HEX, HEX[::-1]}}, [])


@pytest.mark.parametrize("text", ["''", "ab", f"{HEX}0", f"'{HEX} ab'", f"'{HEX},{HEX}'", "x" * 64])
def test_what_is_no_sum_is_an_error_that_costs_itself_and_pins_nothing_wrong(text):
    other = "v1.1.1+k3s1"
    sums, problems = read(f"{{{GOOD}: {text}, {other}: {HEX}}}")
    assert sums == {other: {HEX}}
    assert len(problems) == 1
    assert f"{GOOD}: is not a SHA-256; write 64 hex digits" in problems[0]


@pytest.mark.parametrize("name", ["v1.33.1", "1.33.1+k3s1", "v1.33+k3s1", "stable", "v1.3.²+k3s1"])
def test_what_is_no_version_is_an_error(name):
    assert not VERSION.fullmatch(name) or "²" in name
    sums, problems = read(f"{{'{name}': {HEX}}}")
    assert sums == {}
    assert "write it like v1.33.1+k3s1" in problems[0]


def test_nothing_is_trusted_without_being_told():
    assert of_config(Config()) == Trust()
    assert not Trust().insecure_http
