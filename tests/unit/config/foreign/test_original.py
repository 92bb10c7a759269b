"""Files in the style of the original k3OS: each gives exactly what the file next to it says, and
nothing that its author wrote is silently lost."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from k3os.config import scalars
from k3os.config.check import check_cmdline, check_text
from k3os.config.dump import dump_yaml
from k3os.config.key import BY_NAME
from k3os.config.kinds import KINDS
from k3os.config.load import Config
from k3os.config.schema import TABLE
from k3os.config.value import Node, Problem, Value, texts_of
from k3os.config.yamltext import LARGEST, read

ORIGINAL = Path(__file__).parent / "original"
FILES = sorted(path for path in ORIGINAL.iterdir() if path.suffix in (".yaml", ".cmdline"))
YAML = [path for path in FILES if path.suffix == ".yaml"]


def reading(path: Path) -> tuple[dict[str, Value], list[Problem]]:
    if path.suffix == ".cmdline":
        return check_cmdline(path.read_text())
    return check_text(path.read_bytes(), path.name)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_gives_exactly_the_expected_reading(path: Path) -> None:
    values, problems = reading(path)
    lines = "".join(f"{problem}\n" for problem in problems)
    found = f"{lines}---\n{dump_yaml(Config(values), show_secrets=True)}"
    assert found == path.with_suffix(f"{path.suffix}.expected").read_text()


def lost(
    node: Node, used: set[str], problems: list[Problem], *, is_command: bool = False
) -> Iterator[Node]:
    """The leaves that are neither used nor mentioned. An error covers everything below its place,
    and an error about a name also covers its value."""
    said = [each for each in problems if str(each.place) == str(node.place)]
    left_out = {str(each.place) for each in problems if "is left out because" in each.message}
    if is_command:  # one wrong word in a list of words
        left_out = {str(each.place) for each in problems if each.is_error}
    children = {str(child.place) for pair in (*node.pairs, node.items) for child in pair}
    if any(each.is_error for each in said) or left_out & children:
        return
    unknown = [
        str(each.place) for each in problems if each.is_error or "unknown key" in each.message
    ]
    for each in [*node.items, *(value for _, value in node.pairs)]:
        names = [str(name.place) for name, value in node.pairs if value is each]
        if not set(names) & set(unknown):
            yield from lost(each, used, problems, is_command={node.kind, each.kind} == {"list"})
    is_leaf = node.kind == "tag" or (node.kind == "scalar" and node.text)
    mentioned = any(node.text in each.message for each in problems)
    if is_leaf and not said and str(node.place) not in used and not mentioned:
        yield node


@pytest.mark.parametrize("path", YAML, ids=lambda path: path.name)
def test_what_its_author_wrote_is_in_the_result_or_in_a_problem(path: Path) -> None:
    root, _ = read(path.read_bytes(), path.name)
    values, problems = reading(path)
    used = {str(place) for value in values.values() for _, place in texts_of(value)}
    used |= {str(value.place) for value in values.values()}
    assert root is not None
    assert [(str(each.place), each.text) for each in lost(root, used, problems)] == []


NESTED = ("text map", "maps", *BY_NAME, "certificates", "manifests", "kubelet", "toml")
LISTS = [
    key.path
    for key in TABLE
    if KINDS[key.kind].__module__ != scalars.__name__ and key.kind not in NESTED
]
ITEMS = {
    "ssh_authorized_keys": ("github:a", "gh:b"),
    "k3os.dns_nameservers": ("1.1.1.1", "8.8.8.8"),
    "k3os.data_sources": ("openstack", "cdrom"),
    "k3os.images": ("/a.tar", "/b.tar.zst"),
    "k3os.taints": ("a=b:NoSchedule", "c=d:NoExecute"),
}


@pytest.mark.parametrize("path", LISTS)
def test_every_list_of_the_schema_adds_up_on_the_command_line(path: str) -> None:
    items = ITEMS.get(path, ("a", "b"))
    values, problems = check_cmdline(" ".join(f"{path}={item}" for item in items))
    assert not problems
    data = values[path].data
    assert isinstance(data, list)
    assert tuple(str(item.data) for item in data) == items


def test_certificates_add_up_on_the_command_line_too() -> None:
    _, problems = check_cmdline("k3os.ca_certificates=a k3os.ca_certificates=b")
    assert [each.key for each in problems] == [
        "k3os.ca_certificates[0]",
        "k3os.ca_certificates[1]",
    ]


@pytest.mark.parametrize("key", [key.path for key in TABLE])
def test_an_empty_text_on_the_command_line_sets_nothing(key: str) -> None:
    assert check_cmdline(f"{key}=") == ({}, [])


def test_a_file_of_more_than_one_mebibyte_is_read() -> None:
    content = "x" * (4 << 20)
    values, problems = check_text(f"write_files: [{{path: /x, content: {content}}}]".encode(), "x")
    assert not problems
    assert len(values["write_files"].data) == 1  # type: ignore[arg-type]
    assert len(content) < LARGEST


def test_a_file_of_many_values_is_refused_before_they_fill_the_memory() -> None:
    _, problems = check_text(b"run_cmd:\n" + b"- a\n" * 300_000, "x")
    assert ["more than 200000 values" in problem.message for problem in problems] == [True]


SCALARS = st.sampled_from(
    [
        *("", "a", "a b", "/x", "../y", "7", "0644", "y", "auto", "10.0.0.1/24", "10.0.0.1", "a=b"),
        *(
            "https://a:1",
            "a=b:NoSchedule",
            "$(x)",
            "server --y",
            "-z 1",
            "~/a",
            "é",
            "\x00",
            "a\nb",
        ),
    ]
)
NAMES = st.sampled_from(
    ["", "a", "eth0", "path", "content", "name", "pass", "address", "k3os.io/x"]
)
TREES = st.recursive(
    SCALARS | st.none() | st.booleans() | st.integers(0, 999),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=9,
)


@given(st.dictionaries(st.sampled_from([key.path for key in TABLE]), TREES, max_size=3))
def test_nothing_of_any_file_is_lost_without_a_word(wanted: dict[str, object]) -> None:
    tree: dict[str, Any] = {}
    for path, value in wanted.items():
        *sections, name = path.split(".")
        branch = tree
        for section in sections:
            branch = branch.setdefault(section, {})
        branch[name] = value
    data = yaml.safe_dump(tree, allow_unicode=True).encode()
    root, refused = read(data, "f")
    if root is None:
        assert refused or not tree
        return
    values, problems = check_text(data, "f")
    if any(" twice" in problem.message for problem in problems):
        return  # reported at the second place, and the first value is lost
    used = {str(place) for value in values.values() for _, place in texts_of(value)}
    used |= {str(value.place) for value in values.values()}
    used |= {str(value.place) for value in nested(values.values())}
    assert [(str(each.place), each.text) for each in lost(root, used, problems)] == [], (
        data.decode()
    )


def nested(values: Iterable[Value]) -> Iterator[Value]:
    for value in values:
        yield value
        if not isinstance(value.data, str | bool):
            yield from nested(value.data.values() if isinstance(value.data, dict) else value.data)
