"""k3os.registries: the file that k3s reads."""

import re

import pytest
import yaml

from k3os.cluster.impact import impact
from k3os.config.dump import json_for_yaml

from .conftest import Machine

FILE = "etc/rancher/k3s/registries.yaml"
CONFIG = """\
k3os:
  registries:
    mirrors: {docker.io: {endpoint: ["https://r.example:5000"]}}
    configs: {"r.example:5000": {auth: {username: me, password: a-long-secret}}}
"""


def test_k3s_finds_it_where_it_looks_and_only_root_reads_it(machine: Machine) -> None:
    report = machine.apply("boot", CONFIG)
    assert not report.failed
    assert machine.mode(FILE) == 0o600
    assert yaml.safe_load(machine.text(FILE)) == {
        "mirrors": {"docker.io": {"endpoint": ["https://r.example:5000"]}},
        "configs": {"r.example:5000": {"auth": {"username": "me", "password": "a-long-secret"}}},
    }
    assert "a-long-secret" not in machine.text("run/k3os/status.json")


@pytest.mark.parametrize(
    "word", ["secret-😀", "secret-\x80", "secret-\ufeff", "secret-\U000e0001", "é"]
)
def test_a_password_of_any_letters_is_yaml_that_k3s_reads(machine: Machine, word: str) -> None:
    entry = {"r.example": {"auth": {"username": "me", "password": word}}}
    config = {"k3os": {"registries": {"configs": entry}}}
    machine.apply("boot", json_for_yaml(config).decode())
    text = machine.text(FILE)
    assert yaml.safe_load(text) == {"configs": entry}
    # YAML readers in Go fail on lone surrogates and on invisible characters
    assert not re.search(r"\\u[dD][89a-fA-F]", text)
    assert text.replace("\n", "").isprintable()


def test_it_goes_with_its_keys_and_stays_with_one_of_them(machine: Machine) -> None:
    machine.apply("boot", CONFIG)
    machine.apply("runtime", "k3os: {registries: {configs: {a: {}}}}\n")
    assert yaml.safe_load(machine.text(FILE)) == {"configs": {"a": {}}}
    machine.apply("runtime", "hostname: a\n")
    assert not (machine.root / FILE).exists()


def test_a_file_of_write_files_stays_the_users(machine: Machine) -> None:
    machine.apply("boot", f"write_files: [{{path: /{FILE}, content: mine}}]\n{CONFIG}")
    assert machine.text(FILE) == "mine"


def test_a_change_costs_a_new_start_of_k3s() -> None:
    new = {"k3os": {"registries": {"mirrors": {"docker.io": {}}}}}
    assert impact(new) == impact(None, new) == "k3s"
