"""JSON from others: one parser for all, whose only exception is ValueError."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k3os.system.files import read_object
from k3os.system.json_text import an_object, objects, parsed, repaired

SRC = Path(__file__).parents[3] / "src" / "k3os"
BUILDERS = {"image", "operator", "vm"}
# with its own limits; files that are signed or from the build; the parser itself
ELSEWHERE = {"cluster/node.py", "install/perform.py", "k3s/source.py", "system/json_text.py"}
WRONG = [
    *(b"", b"{", b"\xff", b"[" * 100_000, b'{"a":' * 100_000, b"9" * 5000, b'"\\ud800"'),
    *(b'{"a": ["\\uDfff"]}', b"nul", b"\x00", b'{"a": 1}x', b'"\xed\xa0\x80"'),
]


@pytest.mark.parametrize("data", WRONG, ids=lambda data: repr(data[:10]))
def test_what_is_none_is_a_value_error(data: bytes, tmp_path: Path) -> None:
    for read in (parsed, an_object, objects):
        with pytest.raises(ValueError):
            read(data)
    (tmp_path / "x").write_bytes(data)
    assert read_object(str(tmp_path / "x")) == {}


def test_what_is_one_is_read() -> None:
    assert parsed('{"a": "\\ud83d\\ude00"}') == {"a": "😀"}
    assert an_object(b'{"a": 1}') == {"a": 1}
    assert objects(b'[1, {"a": 1}, []]') == [{"a": 1}]
    for data in (b"[]", b"1", b"null"):
        with pytest.raises(ValueError, match="not a JSON object"):
            an_object(data)
    with pytest.raises(ValueError, match="is not a list"):
        objects(b"{}")


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b'{"a": 1}', {"a": 1}),
        (b'{"a": ["x\\ud800y", {"\\uDFFF": null}]}', {"a": ["x?y", {"?": None}]}),
        (b'{"a": "\\\\ud800", "b": "\\ud83d\\ude00"}', {"a": "\\ud800", "b": "\U0001f600"}),
        (b'{"a": "\xff", "b": "\xed\xa0\x80"}', {"a": "\ufffd", "b": "\ufffd\ufffd\ufffd"}),
    ],
)
def test_halves_of_characters_are_mended_and_all_else_is_as_it_was(
    data: bytes, value: object
) -> None:
    assert repaired(data) == value


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b'{"a":' * 100_000, b'{"a": 1}x'])
def test_what_is_no_object_is_not_mended(data: bytes) -> None:
    with pytest.raises(ValueError):
        repaired(data)


@given(st.binary() | st.text())
def test_nothing_else_is_raised(data: bytes | str) -> None:
    try:
        parsed(data)
    except ValueError:
        return


def test_nobody_else_reads_json() -> None:
    """Python's parser raises RecursionError for deep nesting, which callers do not expect."""
    found = []
    for path in sorted(SRC.rglob("*.py")):
        name = str(path.relative_to(SRC))
        if name.split("/")[0] in BUILDERS or name in ELSEWHERE:
            continue
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and ast.unparse(call.func) in ("json.load", "json.loads"):
                found.append(f"{name}:{call.lineno}")
    assert found == []
