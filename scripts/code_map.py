"""docs/reference/code.md: each source file with its first comment or docstring.

This includes other files in the image: shell programs, units, settings of other programs.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "k3os"
OVERLAY = ROOT / "overlay"
NO_COMMENT, DESCRIPTION = ("#!", "# shellcheck "), "Description="
# the end of a sentence, but not of an abbreviation
END = re.compile(r"(?<!e\.g)(?<!i\.e)[.;?](?=\s|$)")


def markdown() -> str:
    """A chapter with a table for each package, and one for the overlays with two."""
    parts: list[str] = []
    for own in sorted(PACKAGE.rglob("__init__.py")):
        directory = own.parent
        files = [path for path in sorted(directory.glob("*.py")) if path != own]
        rows = [(path.name, first_paragraph(docstring(path))) for path in files]
        title = directory.relative_to(ROOT).as_posix()
        parts += [f"## {title}", "", f"{first_paragraph(docstring(own))}.", "", *_table(rows), ""]
    programs, others = overlays()
    shell = ["## overlay", "", "The node's shell programs.", "", *_table(programs), ""]
    units = ["Its units, and what it says to other programs.", "", *_table(others)]
    return "\n".join([*parts, *shell, *units])


def overlays() -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """The shell programs, and the other files: path below OVERLAY, first sentence. Files with the
    same sentence, such as those of one setting for several units, are listed once."""
    programs, others = [], {}
    for path in sorted(OVERLAY.rglob("*")):
        said = first_sentence(comment(path)) if path.is_file() else ""
        name = path.relative_to(OVERLAY).as_posix()
        if said and path.read_bytes().startswith(b"#!"):
            programs.append((name, said))
        elif said:
            others.setdefault(said, name)
    return programs, [(name, said) for said, name in others.items()]


def _table(rows: Iterable[tuple[str, str]]) -> list[str]:
    lines = ["| file | |", "|---|---|"]
    for name, text in rows:
        said = text.replace("|", r"\|").replace("<", "&lt;")
        lines.append(f"| `{name}` | {said} |")
    return lines


def docstring(path: Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text())) or ""


def comment(path: Path) -> str:
    """The comment at the top of a file, else a unit's description, else its first comment, which in
    a drop-in is below the section; "" for none."""
    lines = [each for each in path.read_text().splitlines() if not each.startswith(NO_COMMENT)]
    if lines and not lines[0].startswith("#"):
        for line in lines:
            if line.startswith(DESCRIPTION):
                return line.removeprefix(DESCRIPTION).removeprefix("k3OS: ")
    told = itertools.dropwhile(lambda line: not line.startswith("#"), lines)
    told = itertools.takewhile(lambda line: line.startswith("#"), told)
    return "\n".join(line.removeprefix("#").strip() for line in told)


def first_sentence(text: str) -> str:
    """On one line, without the final punctuation mark."""
    paragraph = first_paragraph(text)
    end = END.search(paragraph)
    return paragraph[: end.start()] if end else paragraph


def first_paragraph(text: str) -> str:
    """On one line, without the final punctuation mark."""
    return " ".join(text.partition("\n\n")[0].split()).removesuffix(".")
