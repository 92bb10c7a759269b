"""README.md must not say what is not so."""

import re
from pathlib import Path

import pytest
import yaml

from k3os.cli.main import COMMANDS
from scripts.docs import ROOT, with_generated_parts

README = (ROOT / "README.md").read_text()
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")


def anchor(heading):
    words = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return words.replace(" ", "-")


def test_the_generated_parts_are_up_to_date():
    assert with_generated_parts(README) == README, "run `make docs`"


@pytest.mark.parametrize("name", ["sample", "server-example", "agent-example"])
def test_the_sample_configurations_have_no_problem(name, tmp_path):
    from k3os.config.check import check_files

    sample = README.partition(f"<!-- {name}:begin -->\n```yaml\n")[2].partition("```\n")[0]
    assert "ssh_authorized_keys" in sample
    (tmp_path / "config.yaml").write_text(sample)
    found = check_files([str(tmp_path / "config.yaml")], k3s_version="v1.33.1+k3s1")
    assert [str(problem) for problem in found] == []


def test_every_command_that_people_call_is_in_the_table():
    table = README.partition("\n## Commands\n")[2].partition("\n## ")[0]
    named = set(re.findall(r"`k3os ([a-z0-9]+)", table))
    assert named == COMMANDS.keys() - {"init"}


def test_the_example_of_a_nodepool_is_one():
    from k3os.operator.crd import schema
    from k3os.operator.spec import parse_pool

    begin = "<!-- nodepool-example:begin -->\n```yaml\n"
    body = yaml.safe_load(README.partition(begin)[2].partition("```\n")[0])
    assert parse_pool(body).problems == ()
    assert unknown(body, schema()) == []


def unknown(body, schema, path=""):
    """Fields that the schema does not have."""
    fields = schema.get("properties")
    if fields is None or not isinstance(body, dict):
        return []
    found = [f"{path}{name}" for name in body if name not in fields]
    for name in body.keys() & fields.keys():
        found += unknown(body[name], fields[name], f"{path}{name}.")
    return found


def test_every_step_and_every_reason_of_a_failure_is_explained():
    from k3os.cluster.node import STEPS
    from k3os.names import FAILED, ROLLED_BACK

    code = (ROOT / "src/k3os/operator/rollout.py").read_text()
    reasons = set(re.findall(r'fail\(node, state, "(\w+)"', code))
    assert len(reasons) >= 5
    for reason in reasons | {FAILED, ROLLED_BACK}:
        assert f"\n| `{reason}` |" in README
    for step in STEPS:
        assert f"\n| {step} |" in README


def test_the_plugins_commands_and_exit_codes_are_in_its_help(capsys):
    from k3os.cli.kubectl import FAILED, TIMED_OUT, UNFINISHED, parse

    for command in re.findall(r"`kubectl k3os ([a-z ]+)", README):
        words = command.split()
        with pytest.raises(SystemExit) as ended:
            parse([*words[: 2 if words[0] == "rollout" else 1], "--help"])
        assert ended.value.code == 0
    text = re.sub(r"\s+", " ", README.partition("Exit codes of `rollout status`")[2][:400])
    assert re.findall(r"[;:] (\d+) ", text) == ["0", *map(str, (FAILED, UNFINISHED, TIMED_OUT))]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_leads_somewhere(document):
    text = (ROOT / document).read_text()
    anchors = {anchor(heading) for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("#"):
            assert target[1:] in anchors
        elif not target.startswith("http"):
            assert (ROOT / target).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_of_the_sources_exists(document):
    text = (ROOT / document).read_text()
    paths = re.findall(r"`((?:src|scripts|tests|overlay|bench|\.ci)/?[\w./-]*)`", text)
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_make_target_and_command_exists(document):
    text = (ROOT / document).read_text()
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"(?:`|^)make ([a-z]+)", text, re.MULTILINE):
        assert f".PHONY: {target}\n" in makefile, target
    for command in re.findall(r"`(?:sudo )?k3os ([a-z0-9]+)", text):
        if command not in ("upgrade", "operator"):  # named as not there yet
            assert command in COMMANDS


def test_every_variable_of_the_build_reaches_it_through_make():
    from k3os.cli.build import EPILOG

    makefile = (ROOT / "Makefile").read_text()
    exported = re.search(r"^export (.*)$", makefile, re.MULTILINE)[1].split()
    for name in re.findall(r"^  ([A-Z0-9_]+)=", EPILOG, re.MULTILINE):
        assert name in exported or name == "SOURCE_DATE_EPOCH"  # make hands on its environment


def test_keys_without_an_effect_are_named_as_such():
    from k3os.cli.install import FLAGS, VALUES
    from k3os.config.schema import TABLE
    from k3os.k3s.trust import INSECURE, SUMS
    from k3os.phases.table import APPLIERS, DATA_SOURCES

    effective = {key for applier in APPLIERS.values() for key in applier.keys} | {DATA_SOURCES}
    effective |= {f"k3os.install.{name}" for name in (*FLAGS.values(), *VALUES.values())}
    effective |= {"k3os.upgrade.timeout", "k3os.upgrade.check"}  # cli/confirm.py asks for both
    effective |= {SUMS, INSECURE}  # k3s/trust.py
    idle = {key.path for key in TABLE} - effective
    named = README.partition("have no effect yet:")[2].partition("\n\n")[0]
    assert set(re.findall(r"`([\w.]+)`", named)) == idle


def test_no_document_is_longer_than_a_person_reads():
    assert len((Path(ROOT) / "CONTRIBUTING.md").read_text().splitlines()) < 100
