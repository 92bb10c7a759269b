"""The documentation must be true."""

import re

import pytest
import yaml

from k3os.cli.main import COMMANDS
from scripts.docs import GENERATED, PICTURES, picture, with_generated_parts
from tests.unit.docs.pages import (
    DOCS,
    DOCUMENTS,
    ROOT,
    SITE,
    anchor,
    headings,
    links,
    prose,
    samples,
    text_of,
)

ALL = "\n".join(map(text_of, ("README.md", *SITE)))


@pytest.mark.parametrize("page", GENERATED)
def test_the_generated_parts_are_up_to_date(page):
    assert with_generated_parts(page, text_of(page)) == text_of(page), "run `make docs`"


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_shows_what_was_recorded(name):
    assert picture(text_of(PICTURES[name])) == text_of(name), "run `make docs`"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_leads_somewhere(document):
    for target in links(document):
        if target.startswith(("http", "mailto:")):
            continue
        name, _, fragment = target.partition("#")
        path = ((ROOT / document).parent / name) if name else ROOT / document
        assert path.exists(), target
        if fragment:
            page = path.resolve().relative_to(ROOT.resolve()).as_posix()
            assert fragment in {anchor(heading) for heading in headings(page)}, target


@pytest.mark.parametrize("page", SITE)
def test_no_link_leaves_the_site(page):
    """MkDocs only builds files below docs/, and would not find others."""
    for target in links(page):
        if not target.startswith(("http", "#")):
            path = ((ROOT / page).parent / target.partition("#")[0]).resolve()
            assert path.is_relative_to(DOCS.resolve()), target


@pytest.mark.parametrize("page", SITE)
def test_a_heading_has_the_same_anchor_on_the_site_and_in_the_repository(page):
    """Python-Markdown joins several hyphens that GitHub keeps, and drops non-ASCII characters."""
    made = [anchor(heading) for heading in headings(page)]
    assert len(set(made)) == len(made)
    for name in made:
        assert name.isascii(), name
        assert "--" not in name, name
        assert name == name.strip("-"), name


@pytest.mark.parametrize("page", SITE)
def test_every_page_begins_with_its_title_and_is_found_from_the_start(page):
    assert text_of(page).startswith("# ")
    if page != "docs/index.md":
        assert page.removeprefix("docs/") in links("docs/index.md")


# how messages, help and comments refer to the documentation
POINTER = re.compile(r"docs/[a-z-]+/[a-z0-9-]+\.md(?:#[\w-]+)?")
# a reference to a named chapter of the README: it is one page now, its chapters are in docs/
CHAPTER = re.compile(r"README(?:\.md)?, +\S+ ?\S+|as README(?:\.md)? says")


def sources():
    for directory in ("src", "overlay", "scripts"):
        for path in (ROOT / directory).rglob("*"):
            if path.is_file() and path.suffix != ".pyc":
                yield path
    yield ROOT / "install.sh"


def test_what_the_programs_say_of_the_documents_is_there():
    wrong = []
    for path in sources():
        text = path.read_text(errors="replace")
        for pointer in POINTER.findall(text):
            page, _, name = pointer.partition("#")
            known = page in SITE and (not name or name in map(anchor, headings(page)))
            wrong += [] if known else [(path.name, pointer)]
        wrong += [(path.name, words) for words in CHAPTER.findall(text)]
    assert wrong == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_of_the_sources_exists(document):
    pattern = r"`((?:src|scripts|tests|overlay|bench|\.ci)(?:/[\w./-]*)?)`"
    paths = re.findall(pattern, text_of(document))
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_make_target_and_command_exists(document):
    makefile = text_of("Makefile")
    code = "\n".join(
        sample.text for sample in samples("sh", "console", "text") if sample.page == document
    )
    targets = re.findall(r"^(?:\$ |sudo )*make ([a-z-]+)", code, re.MULTILINE)
    for target in targets + re.findall(r"`(?:sudo )?make ([a-z-]+)", prose(document)):
        assert f".PHONY: {target}\n" in makefile, target
    for command in re.findall(r"`(?:sudo )?k3os ([a-z0-9]+)", text_of(document)):
        assert command in COMMANDS


def test_every_step_and_every_reason_of_a_failure_is_explained():
    from k3os.cluster import drain
    from k3os.cluster.node import STEPS
    from k3os.names import FAILED, ROLLED_BACK

    code = text_of("src/k3os/operator/rollout.py")
    reasons = set(re.findall(r'fail\(node, state, "(\w+)"', code)) | {drain.REFUSED, drain.TIMEOUT}
    assert len(reasons) >= 5
    for reason in reasons | {FAILED, ROLLED_BACK}:
        assert f"\n| `{reason}` |" in text_of("docs/how-to/fleet.md")
    for step in STEPS:
        assert f"\n| {step} |" in text_of("docs/explanation/operator.md")


def test_every_reason_of_an_unhealthy_node_is_named():
    code = text_of("src/k3os/cluster/own_node.py")
    reasons = set(re.findall(r'"([A-Z][a-z]+(?:[A-Z][a-z]+)+|Damaged)"', code)) - {
        "K3OSHealthy",
        "AsConfigured",
    }
    assert len(reasons) >= 5
    row = re.search(r"^\| condition `K3OSHealthy` .*$", ALL, re.MULTILINE)[0]
    assert [reason for reason in reasons if f"`{reason}`" not in row] == []


def test_the_plugins_commands_and_exit_codes_are_in_its_help():
    from k3os.cli.kubectl import FAILED, TIMED_OUT, UNFINISHED, parse

    commands = re.findall(r"`kubectl k3os ([a-z ]+)", ALL)
    assert len(commands) >= 5
    for command in commands:
        words = command.split()
        with pytest.raises(SystemExit) as ended:
            parse([*words[: 2 if words[0] == "rollout" else 1], "--help"])
        assert ended.value.code == 0
    assert exit_codes("kubectl k3os") == [0, FAILED, 2, UNFINISHED, TIMED_OUT]


def exit_codes(program):
    text = (
        text_of("docs/reference/exit-codes.md").partition(f"## {program}\n")[2].partition("##")[0]
    )
    return [int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)]


def test_every_exit_code_of_the_commands_is_listed():
    from k3os.errors import UserError

    pattern = r"(?:exit_code|BAD_REQUEST)\b[^=\n]*= (\d+)|\breturn (\d{1,3})$"
    codes = {UserError.exit_code}
    for path in (ROOT / "src/k3os").rglob("*.py"):
        if path.parent.name in ("cli", "cluster", "system") and path.name != "kubectl.py":
            code = path.read_text() if path.parent.name == "cli" else ""
            code += "\n".join(
                re.findall(r"^.*(?:exit_code|BAD_REQUEST) = .*$", path.read_text(), re.M)
            )
            codes |= {int(a or b) for a, b in re.findall(pattern, code, re.MULTILINE)}
    assert {0, 1, 2, 75, 130} <= codes
    assert codes <= set(exit_codes("k3os")), codes


def test_every_kernel_parameter_is_listed():
    from k3os.config.schema import BOOT_OPTIONS, MODES

    page = text_of("docs/reference/kernel-parameters.md")
    named = set(re.findall(r"`((?:k3os\.\w+)|rescue)(?:=[\w]+)?`", page))
    assert set(BOOT_OPTIONS) == named
    assert set(re.findall(r"`k3os\.mode=(\w+)`", page)) == set(MODES)


def test_the_places_that_plugins_write_to_are_listed():
    from k3os.image.places import PERSISTENT_ETC, WRITABLE_USR

    table = text_of("docs/reference/files.md")
    for path in (*(f"etc/{name}" for name in PERSISTENT_ETC), *WRITABLE_USR):
        assert f"`/{path}`" in table


def test_every_file_of_the_reference_is_in_the_code():
    """The last part of each path occurs in the code or in the image's files."""
    page = text_of("docs/reference/files.md").partition("## Files that you may write")[2]
    paths = re.findall(r"^\| (`[^|]*`) \|", page, re.MULTILINE)
    names = [path.strip("` *").rpartition("/")[2] for row in paths for path in row.split("`, `")]
    assert len(names) > 15
    code = [path.read_text() for path in (ROOT / "src/k3os").rglob("*.py")]
    code += [path.read_text() for path in (ROOT / "overlay").rglob("*") if path.is_file()]
    everything = "\n".join(code)
    everything = everything.replace("/run/k3os/k3s.{}", "/run/k3os/k3s.token")
    for name in names:
        known = name.removesuffix("*.config").strip("*")
        assert known in everything, name


def test_every_data_source_is_listed():
    from k3os.datasource.platforms import SOURCES

    page = text_of("docs/reference/data-sources.md")
    rows = re.findall(r"^\| (`[^|]+`) \|", page, re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == {*SOURCES, "auto"}


def test_every_command_that_people_call_is_on_the_page_of_commands():
    named = set(re.findall(r"^## k3os (\w+)$", text_of("docs/reference/commands.md"), re.MULTILINE))
    assert named == COMMANDS.keys() - {"init"}


def test_every_variable_of_the_build_reaches_it_through_make():
    from k3os.cli.build import EPILOG

    exported = re.search(r"^export (.*)$", text_of("Makefile"), re.MULTILINE)[1].split()
    for name in re.findall(r"^  ([A-Z0-9_]+)=", EPILOG, re.MULTILINE):
        assert name in exported or name == "SOURCE_DATE_EPOCH"  # make passes its environment on


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
    named = ALL.partition("have no effect yet:")[2].partition("\n\n")[0]
    assert set(re.findall(r"`([\w.]+)`", named)) == idle


def test_no_document_is_longer_than_a_person_reads():
    assert len(text_of("CONTRIBUTING.md").splitlines()) < 100
    assert len(text_of("README.md").splitlines()) <= 200


def test_the_site_has_every_page_once():
    site = yaml.safe_load(text_of("mkdocs.yml"))

    def pages(entry):
        values = entry.values() if isinstance(entry, dict) else entry
        return (
            [entry] if isinstance(entry, str) else [page for each in values for page in pages(each)]
        )

    assert sorted(f"docs/{page}" for page in pages(site["nav"])) == SITE
