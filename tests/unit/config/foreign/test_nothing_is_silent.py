"""Every leaf of a file is in the result, in a warning, or in an error."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k3os.config.check import check_text
from k3os.config.key import Key
from k3os.config.schema import SECTIONS, TABLE
from k3os.config.value import Node, Place, Problem, Value
from k3os.config.yamltext import read

HERE = Path(__file__).parent
FILES = sorted([*HERE.rglob("*.yaml"), *(HERE.parent / "broken").glob("*.yaml")])


def at(place: Place) -> tuple[int, int]:
    return place.line, place.column


def leaves(node: Node, path: str = "") -> Iterator[tuple[str, Node]]:
    """Path and node of everything with a meaning."""
    if node.kind == "map":
        for name, value in node.pairs:
            if name.kind != "scalar":
                yield path, name
                continue
            yield from leaves(value, f"{path}.{name.text}" if path else name.text)
    elif node.kind == "list":
        for index, item in enumerate(node.items):
            yield from leaves(item, f"{path}[{index}]")
    elif node.kind != "null" and node.text.strip():
        yield path, node


def places(value: Value) -> Iterator[tuple[int, int]]:
    yield at(value.place)
    data = value.data
    inner = data.values() if isinstance(data, dict) else data if isinstance(data, list) else []
    for each in inner:
        yield from places(each)


def spelled(path: str) -> str:
    """A canonical form for every spelling of a key, and for a list of one."""
    path = path.replace("[0]", "")
    return re.sub(r"s(?=[.\[]|$)", "", path.lower().replace("_", "").replace("-", ""))


def is_about(problem: Problem, path: str, node: Node) -> bool:
    key, whole = spelled(problem.key), spelled(path)
    below = whole == key or (whole.startswith(key) and whole[len(key)] in ".[")
    return (
        at(problem.place) == at(node.place)
        or (key != "" and below)
        or f"line {node.place.line}" in problem.message
    )


def silent(data: bytes) -> list[str]:
    root, _ = read(data, "c")
    values, problems = check_text(data, "c")
    if root is None:
        return [] if problems or not data.strip() else ["all of it"]
    used = {place for value in values.values() for place in places(value)}
    return [
        f"{path}: {node.text!r}"
        for path, node in leaves(root)
        if at(node.place) not in used and not any(is_about(each, path, node) for each in problems)
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_no_leaf_of_a_file_is_lost_in_silence(path: Path) -> None:
    assert silent(path.read_bytes()) == []


def test_the_property_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    from k3os.config.kinds import Check

    monkeypatch.setattr(Check, "warn", lambda *_: None)
    assert silent(b"frobnicate: 1\n") == ["frobnicate: '1'"]


WORDS = st.sampled_from(
    [
        *("a", "a b", "1", "0644", "true", "no", "/etc/motd", "vda", "10.0.0.1", "10.0.0.1/24"),
        *("https://a:6443", "http://a", "a=b", "a=b:NoSchedule", "${x}", "a: b", "-", "#x", "~x"),
        *("server", "--disable=traefik", "--token", "b64", "100%", "2G", "30s", "ttyS0", "root:x"),
        *("github:me", "ssh-ed25519 AAAA", "cdrom", "auto", "kubernetes.io/x", "a\nb", "\u00a0a"),
    ]
)
SCALARS = WORDS | st.text(max_size=6) | st.integers(-1, 10**6) | st.booleans() | st.none()
NAMES = [key.name for key in TABLE] + [each.rpartition(".")[2] for each in SECTIONS if each]
FIELDS = [name for key in TABLE for field in key.fields for name in (field.name, *field.aliases)]
STRAY = st.sampled_from([*NAMES, *FIELDS, "users", "fqdn", "frobnicate", "k3os.token", "a.b"])
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(STRAY, inner, max_size=3),
    max_leaves=6,
)


def of_key(key: Key) -> st.SearchStrategy[object]:
    """Something like a value of the key, or something else."""
    if not key.fields:
        return SCALARS | st.lists(SCALARS, max_size=3) | ANYTHING
    entry: st.SearchStrategy[object] = st.fixed_dictionaries(
        {}, optional={field.name: of_key(field) for field in key.fields}
    )
    named = st.dictionaries(st.sampled_from(["eth0", "eth1", "52:54:00:00:00:01"]), entry)
    return st.lists(entry, max_size=3) | entry | named | ANYTHING


def of_section(section: str) -> st.SearchStrategy[dict[str, object]]:
    known: dict[str, st.SearchStrategy[object]] = {
        key.name: of_key(key) for key in TABLE if key.path.rpartition(".")[0] == section
    }
    for each in SECTIONS:
        if each and each.rpartition(".")[0] == section:
            known[each.rpartition(".")[2]] = of_section(each)
    strays = st.dictionaries(STRAY, ANYTHING, max_size=2)
    whole = st.fixed_dictionaries({}, optional=known)
    return st.tuples(strays, whole).map(lambda both: {**both[0], **both[1]})


@settings(max_examples=150, deadline=None, derandomize=True)
@given(of_section(""))
def test_no_leaf_of_anything_like_the_schema_is_lost_in_silence(tree: dict[str, object]) -> None:
    assert silent(json.dumps(tree, indent=1).encode()) == []


LOST = {
    "a merge key of a number": ("k3os: {environment: {<<: 5, A: b}}\n", "1:26", "`<<`"),
    "of a text": ("k3os: {labels: {<<: base}}\n", "1:21", "`<<`"),
    "of a list with a text in it": ("k3os: {labels: {<<: [x, {a: b}]}}\n", "1:22", "`<<`"),
    "of a value with a tag": ("k3os: {labels: {<<: !x {a: b}}}\n", "1:21", "`<<`"),
}


@pytest.mark.parametrize("text,place,what", LOST.values(), ids=LOST)
def test_what_a_merge_key_cannot_merge_is_said(text: str, place: str, what: str) -> None:
    _, problems = check_text(text.encode(), "c")
    assert [(str(each.place), what in each.message) for each in problems] == [(f"c:{place}", True)]


@pytest.mark.parametrize("text", ["---\n---\nhostname: a\n", "# x\n---\n~\n---\nhostname: a\n"])
def test_an_empty_document_hides_no_other(text: str) -> None:
    values, problems = check_text(text.encode(), "c")
    assert list(values) == ["hostname"]
    assert problems == []
