"""`k3os status` from the files of a node, and `k3os config` on a directory."""

import json
from pathlib import Path

import pytest

from k3os.cli import config
from k3os.cli.options import Usage
from k3os.node import status, status_text

from .conftest import Machine

BAD = "hostname: a_b\nk3os: {sysctls: {no.such: 1}, password: secret, token: hidden}\n"


def test_what_failed_is_told_with_its_phase_place_and_reason(machine: Machine) -> None:
    machine.apply("runtime", BAD)
    found = status.collect(str(machine.root))
    text = "\n".join(status_text.lines(found))
    assert "mode       live" in text
    assert (
        "FAILED runtime: /k3os/system/config.yaml:1:11: hostname: `a_b` is not a valid host name"
        in text
    )
    assert "FAILED runtime: /k3os/system/config.yaml:2:27: k3os.sysctls.no.such: " in text
    assert "done      k3os.password: set the password of rancher" in text
    assert "secret" not in text + json.dumps(found.as_dict())


def test_a_node_on_which_nothing_ran_yet_says_so(tmp_path: Path) -> None:
    found = status.collect(str(tmp_path))
    assert status_text.lines(found)[0] == "mode       unknown: no phase has reported"
    assert status_text.failures(found) == []


def test_versions_come_from_the_generations(tmp_path: Path) -> None:
    for name, k3s in (("current", "v1"), ("previous", None)):
        (tmp_path / name).mkdir()
        manifest = {"generation": 1, "k3os": "0.1", "kernel": "6.12", "k3s": k3s}
        (tmp_path / name / "manifest.json").write_text(json.dumps(manifest))
    found = status.versions(str(tmp_path))
    assert found["current"] == {"k3os": "0.1", "kernel": "6.12", "k3s": "v1"}
    assert found["previous"] == {"k3os": "0.1", "kernel": "6.12"}


def test_config_without_a_flag_applies_the_runtime_phase(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.put("k3os/system/config.yaml", "hostname: node1\n")
    arguments = ["--root", str(machine.root), "--cmdline", ""]
    assert config.main(arguments) == 0
    assert "phase runtime: " in capsys.readouterr().out
    assert machine.text("etc/hostname") == "node1\n"


def test_a_dry_run_prints_the_actions_and_does_nothing(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.put("k3os/system/config.yaml", "hostname: node1\nk3os: {token: hidden}\n")
    before = sorted(machine.root.rglob("*"))
    code = config.main(["--boot", "--dry-run", "--root", str(machine.root), "--cmdline="])
    shown = capsys.readouterr().out
    assert code == 0
    assert "hostname: write /etc/hostname (6 bytes, mode 0644)" in shown
    assert "hidden" not in shown
    assert sorted(machine.root.rglob("*")) == before


@pytest.mark.parametrize(
    "arguments", [["--nonsense"], ["nonsense"], ["check"], ["--root"], ["check", "x", "--format=x"]]
)
def test_wrong_usage_is_answered_with_the_right_one(
    arguments: list[str],
) -> None:
    with pytest.raises(Usage, match="`k3os config --help` explains it"):
        config.main(arguments)


def test_problems_come_as_json_for_editors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.yaml").write_text(BAD)
    path = str(tmp_path / "c.yaml")
    assert config.main(["check", path, "--format", "json"]) == 1
    problems = json.loads(capsys.readouterr().out)
    assert [(each["level"], each["line"], each["column"], each["key"]) for each in problems] == [
        ("error", 1, 11, "hostname")
    ]


def test_the_dump_names_the_source_of_each_value(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.put("k3os/system/config.yaml", "hostname: node1\n")
    arguments = ["--dump", "--provenance", "--root", str(machine.root)]
    assert config.main([*arguments, "--cmdline", "k3os.token=hidden"]) == 0
    assert capsys.readouterr().out == (
        "hostname: node1  # /k3os/system/config.yaml:1:11\n"
        'k3os:\n  token: "********"  # cmdline: k3os.token\n'
    )
