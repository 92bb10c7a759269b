"""What the check says in addition to errors in values, and how it says it."""

import json
from pathlib import Path

import pytest
import yaml

from k3os.boot.init import choose_mode
from k3os.cli import build
from k3os.cli.config import main
from k3os.cli.options import Usage
from k3os.config import k3s_table, migrate
from k3os.config.advice import FALLBACKS, advice
from k3os.config.check import check_files, check_text
from k3os.config.schema import MODES
from k3os.errors import UserError
from k3os.k3s.source import pinned

ROOT = Path(__file__).parents[3]
REMOVED = "k3os: {k3s_args: [--no-deploy=traefik]}\n"


def said(text: str, version: str = "") -> list[str]:
    values, _ = check_text(text.encode(), "c")
    return [str(each) for each in advice(values, version)]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


def test_json_has_what_an_editor_shows(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text("hostname: node1\nk3os: {pasword: x, install: {device: vda}}\n")
    assert main(["check", "--json", str(config)]) == 1
    assert json.loads(capsys.readouterr().out) == [
        {
            "file": str(config),
            "line": 2,
            "column": 8,
            "key": "k3os.pasword",
            "severity": "warning",
            "message": "is an unknown key",
            "hint": "did you mean password?",
        },
        {
            "file": str(config),
            "line": 2,
            "column": 38,
            "key": "k3os.install.device",
            "severity": "error",
            "message": "`vda` is not an absolute path",
            "hint": "write `/dev/vda`",
        },
    ]


def test_the_older_form_of_json_stays_as_it_was(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text("k3os: {pasword: x}\n")
    assert main(["check", "--format=json", str(config)]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["level"], found["source"]) == ("warning", str(config))


def test_warnings_count_as_errors_where_somebody_asks_for_it(config: Path) -> None:
    config.write_text("k3os: {pasword: x}\n")
    assert main(["check", str(config)]) == 0
    assert main(["check", "--strict", str(config)]) == 1
    config.write_text("k3os: {password: x}\n")
    assert main(["check", "--strict", str(config)]) == 0


@pytest.mark.parametrize(
    ("version", "flag", "is_error"),
    [
        ("v1.33.1+k3s1", "--no-deploy=traefik", True),
        ("v1.26.0+k3s1", "--no-deploy=traefik", True),
        ("v1.25.9+k3s1", "--no-deploy=traefik", False),
        ("", "--no-deploy=traefik", False),
        ("v1.36.1+k3s1", "--write-kubeconfig-name=x", True),
        ("v1.26.0+k3s1", "--flannel-backend=ipsec", False),
        ("v1.27.0+k3s1", "--flannel-backend=ipsec", True),
    ],
)
def test_a_flag_is_an_error_for_the_versions_without_it(
    version: str, flag: str, is_error: bool
) -> None:
    values, _ = check_text(f"k3os: {{k3s_args: ['{flag}']}}".encode(), "c")
    assert any(each.is_error for each in advice(values, version)) == is_error


def test_a_flag_is_fine_for_the_versions_with_it() -> None:
    assert not said("k3os: {k3s_args: [server, --write-kubeconfig-name=x]}", "v1.37.0+k3s1")


def test_the_version_can_be_named_and_must_be_one(config: Path) -> None:
    config.write_text(REMOVED)
    assert main(["check", str(config)]) == 1  # checked for the pinned version
    assert main(["check", "--k3s", "1.24", str(config)]) == 0
    with pytest.raises(Usage, match="--k3s takes a version"):
        main(["check", "--k3s", "newest", str(config)])


@pytest.mark.parametrize(
    "words",
    [
        ["server", "--disable", "traefik", "--disable=servicelb", "--cluster-init"],
        ["--node-ip", "10.0.0.1", "--secrets-encryption=true", "-d", "/x", "-v=2"],
        ["--kubelet-arg", "max-pods=200", "--kube-apiserver-arg=--feature-gates=A=true"],
        ["--token", "a b c", "--agent-token", "-starts-with-a-dash"],
    ],
)
def test_arguments_that_k3s_takes_are_not_found_fault_with(words: list[str]) -> None:
    assert not said(json.dumps({"k3os": {"k3s_args": words}}), "v1.33.1+k3s1")


def test_no_message_about_arguments_shows_a_secret() -> None:
    words = ["--token", "abc", "hidden1", "--tokn=hidden2", "--cluster-secret=hidden3"]
    lines = said(json.dumps({"k3os": {"k3s_args": words}}), "v1.33.1+k3s1")
    assert len(lines) == 3
    assert "hidden" not in "".join(lines)


def test_a_command_is_found_behind_others_and_its_words_are_not_taken_for_it() -> None:
    commands = ["true && sudo -n apk add x", "FOO=1 rc-update", "echo service apk", "(yum x)"]
    lines = said(json.dumps({"run_cmd": commands}))
    assert [line.split("`")[1] for line in lines] == ["apk", "rc-update", "yum"]


@pytest.mark.parametrize("mode", MODES)
def test_the_check_knows_the_modes_of_the_boot(mode: str) -> None:
    assert choose_mode({"k3os.mode": mode}, "iso") == mode
    assert not check_files([], f"k3os.mode={mode}")
    fallback = choose_mode({"k3os.fallback_mode": mode}, "iso")
    assert (fallback == mode) == (mode in FALLBACKS)


def test_what_the_boot_would_not_understand_is_an_error() -> None:
    line = "k3os.mode=instal k3os.fallback_mode=disk k3os.install=/dev/sda quiet"
    assert [(each.key, each.hint) for each in check_files([], line)] == [
        ("k3os.mode", "did you mean install?"),
        ("k3os.fallback_mode", "known: live, install, shell"),
        ("k3os.install", "write k3os.install.device=/dev/sda"),
    ]


def test_the_hook_calls_a_command_that_exists() -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    program, *words = hook["entry"].split()
    assert program == "k3os"
    assert words == ["config", "check"]
    assert main(["check", str(ROOT / "tests/unit/config/foreign/mistakes/twice.yaml")]) == 0


@pytest.mark.parametrize(
    ("k3s", "version"),
    [("v1.22.3+k3s1", "v1.22.3+k3s1"), ("none", ""), ("https://example.com/k3s", "")],
)
def test_a_build_checks_with_the_k3s_that_goes_into_the_image(k3s: str, version: str) -> None:
    assert build._version(k3s) == version
    assert build._version("auto") == pinned().version


def test_a_build_is_refused_for_a_flag_that_its_k3s_lacks(config: Path) -> None:
    config.write_text(REMOVED)
    build.check_config(str(config), k3s="v1.22.3+k3s1")
    with pytest.raises(UserError):
        build.check_config(str(config), k3s="v1.33.1+k3s1")


def test_migrate_and_the_check_name_the_same_successors() -> None:
    for flag, successor in migrate.FLAGS.items():
        assert successor in k3s_table.SUCCESSORS[flag]
    backends = {
        f"--flannel-backend={name}": words for name, (_, words) in k3s_table.FORMER_BACKENDS.items()
    }
    for word, successor in migrate.WORDS.items():
        known = backends.get(word) or k3s_table.SUCCESSORS[word.lstrip("-")]
        assert successor in known


@pytest.mark.parametrize(
    ("url", "more", "told"),
    [
        ("http://mirror/k3s", "", True),
        ("HTTP://mirror/k3s", "", True),
        ("https://mirror/k3s", "", False),
        ("http://mirror/k3s", f"k3s_sums: {{v1.33.1+k3s1: {'a' * 64}}}", False),
        ("http://mirror/k3s", "k3s_insecure_http: true", False),
    ],
)
def test_a_mirror_by_http_without_a_pin_is_told(url: str, more: str, told: bool) -> None:
    found = said(f"k3os:\n  environment: {{K3S_RELEASES: '{url}'}}\n  {more}\n")
    assert [each.count("uses http") for each in found] == [1] * told


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["server", "--etcd-s3-proxy=http://u:secret@proxy"], "--etcd-s3-proxy has a password"),
        (["server", "--etcd-s3-proxy", "http://u:secret@proxy"], "an argument has a password"),
        (["server", "--datastore-endpoint=mysql://u:secret@tcp(db:3306)/k3s"], ""),
        (["server", "--datastore-endpoint", "postgres://u:secret@db/k3s"], ""),
        (["server", "--etcd-s3-proxy=http://proxy:3128"], ""),
    ],
)
def test_a_password_that_everybody_could_read_is_told_and_not_shown(
    words: list[str], told: str
) -> None:
    values, _ = check_text(f"k3os: {{k3s_args: {json.dumps(words)}}}".encode(), "f")
    found = [str(each) for each in advice(values) if "has a password" in str(each)]
    assert bool(found) is bool(told)
    assert all(told in each and "secret@" not in each for each in found)
