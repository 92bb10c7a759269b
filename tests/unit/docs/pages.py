"""The documents as data: headings, links, code blocks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
SITE = sorted(path.relative_to(ROOT).as_posix() for path in DOCS.rglob("*.md"))
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", *SITE)
# a code block, and the comment right above it
BLOCK = re.compile(
    r"^(?:<!-- (?P<note>[^\n]*) -->\n)?(?P<indent> *)```(?P<language>\w+)\n(?P<text>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Sample:
    """A code block; note is the comment above it: `run`, `file: NAME`, `recorded: NAME`."""

    page: str
    language: str
    note: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}: {self.text.splitlines()[0]}"


def text_of(page: str) -> str:
    return (ROOT / page).read_text()


def prose(page: str) -> str:
    """A page without its code blocks."""
    return BLOCK.sub("", text_of(page))


def samples(*languages: str) -> list[Sample]:
    found = []
    for page in DOCUMENTS:
        for match in BLOCK.finditer(text_of(page)):
            if match["language"] in languages:
                note = match["note"] or ""
                found.append(Sample(page, match["language"], note, match["text"]))
    return found


def headings(page: str) -> list[str]:
    return re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)


def links(page: str) -> list[str]:
    return re.findall(r"\]\(\s*([^)\s]+)\)", prose(page))


def anchor(heading: str) -> str:
    """The anchor that GitHub makes for a heading."""
    words = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return words.replace(" ", "-")
