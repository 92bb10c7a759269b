"""One word for one thing: no page, help or message uses words that the glossary rejects."""

import ast
import re
from pathlib import Path

import pytest

from .pages import DOCUMENTS, ROOT, prose, text_of

PAGE = "docs/reference/glossary.md"
SOURCES = sorted((ROOT / "src/k3os").rglob("*.py"))


def rows(text: str) -> list[tuple[str, list[str]]]:
    """Each word with the words that it replaces."""
    table = re.findall(r"^\| (.+?) \| .+ \| (.+?) \|$", text, re.MULTILINE)
    return [(word, [each.strip() for each in others.split(",")]) for word, others in table[1:]]


WORDS = rows(text_of(PAGE))
UNWANTED = {other: word for word, others in WORDS for other in others}


def found_in(text: str, words: dict[str, str] = UNWANTED) -> list[str]:
    flat = " ".join(text.split())
    return [
        f"{other} (write: {word})"
        for other, word in words.items()
        if re.search(rf"(?<![\w-]){re.escape(other)}(?:s)?(?![\w-])", flat, re.IGNORECASE)
    ]


def texts(path: Path) -> list[str]:
    """What a module says: each text in it, docstrings too."""
    tree = ast.parse(path.read_text())
    return [
        each.value
        for each in ast.walk(tree)
        if isinstance(each, ast.Constant) and isinstance(each.value, str)
    ]


def test_the_table_is_read() -> None:
    assert len(WORDS) > 20
    assert UNWANTED["bootloader"] == "boot loader"
    assert [word for word, _ in WORDS] == sorted((word for word, _ in WORDS), key=str.lower)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("the Bootloader\nis", True),
        ("two bootloaders", True),
        ("on a recovery\n  shell of", True),
        ("the boot loader", False),
        ("bootloader_x, pre-bootloader", False),
    ],
)
def test_a_word_is_seen_across_lines_and_as_a_word_only(text: str, wrong: bool) -> None:
    assert bool(found_in(text)) == wrong


@pytest.mark.parametrize("page", [page for page in DOCUMENTS if page not in (PAGE, "CHANGELOG.md")])
def test_no_page_has_another_word(page: str) -> None:
    assert found_in(prose(page)) == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "src")))
def test_no_message_or_help_has_another_word(path: Path) -> None:
    assert [word for text in texts(path) for word in found_in(text)] == []
