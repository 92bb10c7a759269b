"""Code in the documentation: YAML passes our checker, commands exist, some are run."""

import os
import re
import shlex
import subprocess
import sys
from functools import cache

import pytest
import yaml

from k3os.cli.main import COMMANDS
from k3os.image.help_text import PLUGIN, ask
from tests.unit.docs.pages import DOCS, DOCUMENTS, samples, text_of

INCOMPLETE = "not complete"
CONFIGURATIONS = [
    sample
    for sample in samples("yaml")
    if not sample.text.startswith("apiVersion:")
    and not sample.note.startswith((INCOMPLETE, "old: "))
]
SHELL = samples("sh")
TERMINALS = samples("console")
RUN = [sample.page for sample in TERMINALS if sample.note == "run"]
RECORDED = [sample for sample in samples("console", "text") if sample.note.startswith("recorded:")]


def test_the_samples_are_found():
    assert len(CONFIGURATIONS) > 12
    assert len(SHELL) > 30
    assert len(RUN) > 4
    assert len(RECORDED) >= 3
    assert sum(sample.note.startswith(INCOMPLETE) for sample in samples("yaml")) == 1


@pytest.mark.parametrize("sample", CONFIGURATIONS, ids=str)
def test_a_sample_of_a_configuration_has_no_problem(sample, tmp_path):
    from k3os.config.check import check_files

    (tmp_path / "config.yaml").write_text(sample.text)
    found = check_files([str(tmp_path / "config.yaml")], k3s_version="v1.33.1+k3s1")
    assert [str(problem) for problem in found] == []


def test_the_sample_configuration_is_the_complete_one():
    page = text_of("docs/reference/configuration.md")
    sample = page.partition("<!-- sample:begin -->\n```yaml\n")[2].partition("```\n")[0]
    assert "ssh_authorized_keys" in sample
    assert sample in [each.text for each in CONFIGURATIONS]


def test_the_example_of_a_nodepool_is_one():
    from k3os.cluster.spec import parse_pool
    from k3os.operator.crd import schema

    pools = [each for each in samples("yaml") if "\nkind: NodePool\n" in each.text]
    assert pools
    for sample in pools:
        body = yaml.safe_load(sample.text)
        assert parse_pool(body).problems == ()
        assert unknown(body, schema()) == []


def unknown(body, schema, path=""):
    """Fields that the schema does not have."""
    if isinstance(body, list):
        items = schema.get("items", {})
        return [name for n, each in enumerate(body) for name in unknown(each, items, f"{path}{n}.")]
    fields = schema.get("properties")
    if fields is None or not isinstance(body, dict):
        return []
    found = [f"{path}{name}" for name in body if name not in fields]
    for name in body.keys() & fields.keys():
        found += unknown(body[name], fields[name], f"{path}{name}.")
    return found


@pytest.mark.parametrize("sample", SHELL, ids=str)
def test_a_sample_for_the_shell_is_one(sample):
    text = re.sub(r"<[a-z ]+>", "NAME", sample.text)  # placeholders
    done = subprocess.run(["sh", "-n"], input=text, capture_output=True, text=True)
    assert done.stderr == ""


@cache
def help_of(*words):
    """The words in a command's help; of several words, any may have it."""
    if words[0] == "kubectl":
        return ask(*words[2:], program=PLUGIN)
    return ask(*words[1:2])


def commands_in(text):
    """The calls of our commands, in code blocks and in `code`, as lists of words."""
    text = re.sub(r"\\\n\s*", " ", text)
    pattern = r"(?:\.venv/bin/)?(?<![\w./-])((?:kubectl )?k3os [a-z][^`\n|#;]*)"
    for call in re.findall(pattern, text):
        try:
            yield shlex.split(call)
        except ValueError:  # prose
            continue


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_option_is_one_of_its_command(document):
    blocks = [each.text for each in (*SHELL, *TERMINALS) if each.page == document]
    text = re.sub(r"```.*?```", "", text_of(document), flags=re.DOTALL)
    code = re.findall(r"`([^`]+)`", text.replace("\n", " "))
    for words in commands_in("\n".join([*blocks, *code])):
        where = 2 if words[0] == "kubectl" else 1
        assert words[0] == "kubectl" or words[1] in COMMANDS, words
        given = [word.partition("=")[0] for word in words if word.startswith("--")]
        count = where + 2 if words[where] == "rollout" else where + 1
        known = help_of(*words[:count]) if given else ""
        assert [option for option in given if option not in known] == [], words


@pytest.mark.parametrize("sample", RECORDED, ids=str)
def test_what_is_shown_as_recorded_was_recorded(sample):
    recording = (DOCS / "recordings" / sample.note.partition(": ")[2]).read_text()
    assert f"\n{sample.text}" in recording


@pytest.mark.parametrize("page", sorted(set(RUN)))
def test_what_can_be_run_prints_what_is_shown(page, tmp_path):
    """Run in the order of the page, with the files that it has shown before."""
    for sample in samples("yaml", "console"):
        if sample.page != page:
            continue
        if sample.note.startswith(("file: ", "old: ")):
            (tmp_path / sample.note.partition(": ")[2]).write_text(sample.text)
        if sample.note == "run":
            _run(sample, tmp_path)


def _run(sample, directory):
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    for part in re.split(r"^\$ ", sample.text, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=directory,
            env={**os.environ, "PATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.stdout == output, command


def test_a_configuration_in_front_of_the_initrd_is_part_of_it(tmp_path):
    sample = next(each.text for each in SHELL if "cpio -o" in each.text)
    (tmp_path / "k3os/system").mkdir(parents=True)
    (tmp_path / "k3os/system/config.yaml").write_text("hostname: carried\n")
    (tmp_path / "k3os-initrd-netboot-amd64").write_bytes(b"the initrd")
    subprocess.run(["sh", "-ec", sample], cwd=tmp_path, check=True, capture_output=True)
    made = (tmp_path / "my-initrd").read_bytes()
    assert made.startswith(b"070701")
    assert b"hostname: carried" in made
    assert made.endswith(b"the initrd")


def test_your_own_partitions_are_those_that_the_installer_takes(tmp_path):
    sample = next(each.text for each in SHELL if "sfdisk" in each.text)
    disk = tmp_path / "disk"
    with open(disk, "wb") as file:
        file.truncate(22 << 30)
    line = sample.splitlines()[0].replace("/dev/sdX", str(disk))
    environment = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    subprocess.run(["sh", "-ec", line], check=True, capture_output=True, env=environment)
    shown = subprocess.run(
        ["sfdisk", "--json", disk], check=True, capture_output=True, text=True, env=environment
    )
    from k3os.install.plan import BIOS_TYPE

    assert BIOS_TYPE.lower() in shown.stdout.lower()
