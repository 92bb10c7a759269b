"""One thing, two things."""

import ast
from pathlib import Path

import pytest

import k3os
from k3os.system.plural import counted


@pytest.mark.parametrize(
    ("number", "words", "said"),
    [
        (0, ("error",), "0 errors"),
        (1, ("error",), "1 error"),
        (2, ("error",), "2 errors"),
        (1, ("entry", "entries"), "1 entry"),
        (3, ("entry", "entries"), "3 entries"),
    ],
)
def test_a_number_goes_with_its_word(number: int, words: tuple[str, ...], said: str) -> None:
    assert counted(number, *words) == said


def by_hand(tree: ast.AST) -> list[int]:
    """Lines that choose an s themselves: `"s" if …`, `"s" * …`, `(s)` behind a number."""
    lines = []
    for each in ast.walk(tree):
        chosen = each.body if isinstance(each, ast.IfExp) else None
        chosen = each.left if isinstance(each, ast.BinOp) else chosen
        if isinstance(chosen, ast.Constant) and chosen.value == "s":
            lines.append(each.lineno)
        if isinstance(each, ast.JoinedStr) and "}" in (text := ast.unparse(each)):
            if any(f"}} {word}(s)" in text for word in ("error", "problem", "file", "warning")):
                lines.append(each.lineno)
    return lines


@pytest.mark.parametrize(
    "text", ["x = 's' if n > 1 else ''", "x = 's' * (n > 1)", "x = f'{n} error(s)'"]
)
def test_a_plural_by_hand_is_seen(text: str) -> None:
    assert by_hand(ast.parse(text)) == [1]


def test_no_message_makes_its_plural_by_hand() -> None:
    root = Path(k3os.__file__).parent
    found = {str(path): by_hand(ast.parse(path.read_text())) for path in root.rglob("*.py")}
    assert {path: lines for path, lines in found.items() if lines} == {}
