"""write_files with `append: true`: added once at the end, and the rest of the file stays."""

import pytest

from k3os.config.check import check_text
from k3os.config.merge import merge
from k3os.config.value import plain

from .conftest import Machine

ENTRY = "write_files: [{path: /etc/hosts.more, content: '10.0.0.9 nas', append: true}]\n"


def test_content_is_appended_once_in_all_phases_and_boots(machine: Machine) -> None:
    machine.put("etc/hosts.more", "10.0.0.1 a")
    (machine.root / "etc/hosts.more").chmod(0o640)
    results = [machine.apply(phase, ENTRY) for phase in ("boot", "runtime", "boot")]
    assert machine.text("etc/hosts.more") == "10.0.0.1 a\n10.0.0.9 nas"
    assert machine.mode("etc/hosts.more") == 0o640
    found = [each.result for report in results for each in report.results if "append" in each.what]
    assert found == ["done", "unchanged", "unchanged"]


def test_a_file_that_is_not_there_begins_with_it(machine: Machine) -> None:
    entry = ENTRY.replace("append: true", "append: true, permissions: '0600'")
    assert machine.apply("boot", entry).is_fine
    assert machine.text("etc/hosts.more") == "10.0.0.9 nas"
    assert machine.mode("etc/hosts.more") == 0o600


@pytest.mark.parametrize(
    ("path", "until"), [("etc/hosts.more", "until the next boot"), ("var/more", "until you remove")]
)
def test_what_was_appended_stays_with_the_rest_when_the_entry_leaves_and_that_is_said(
    machine: Machine, path: str, until: str
) -> None:
    machine.put(path, "10.0.0.1 a\n")
    machine.apply("boot", ENTRY.replace("etc/hosts.more", path))
    report = machine.apply("runtime", "hostname: node1\n")
    assert machine.text(path) == "10.0.0.1 a\n10.0.0.9 nas"
    (told,) = [each for each in report.results if f"undo: text in /{path}" in each.what]
    assert told.result == "later"
    assert until in told.reason
    again = machine.apply("runtime", ENTRY.replace("etc/hosts.more", path))
    assert not [each for each in again.results if each.what.startswith("undo")]


def test_several_entries_append_to_one_file_within_a_source_and_across_sources(
    machine: Machine,
) -> None:
    two = "write_files: [{path: /x, content: a, append: on}, {path: /x, content: b, append: on}]"
    values, problems = check_text(two.encode(), "c")
    assert not problems
    more, _ = check_text(b"write_files: [{path: /x, content: c, append: on}]", "d")
    merged = plain(merge(merge(values, more), more)["write_files"])
    assert isinstance(merged, list)
    contents = [each["content"] for each in merged if isinstance(each, dict)]
    assert contents == ["a", "b", "c"]
    machine.apply("boot", two)
    assert machine.text("x") == "a\nb"


@pytest.mark.parametrize("value", ["false", "no"])
def test_an_entry_that_does_not_append_replaces(machine: Machine, value: str) -> None:
    machine.put("etc/hosts.more", "10.0.0.1 a\n")
    machine.apply("boot", ENTRY.replace("append: true", f"append: {value}"))
    assert machine.text("etc/hosts.more") == "10.0.0.9 nas"
