"""docs/reference/code.md: each source file with the first sentence that it says of itself."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "k3os"
OVERLAY = ROOT / "overlay"
# a sentence's end, not that of an abbreviation
END = re.compile(r"(?<!e\.g)(?<!i\.e)[.;?](?=\s|$)")


def markdown() -> str:
    """A chapter with a table for each package, and one for the programs among the overlays."""
    parts: list[str] = []
    for own in sorted(PACKAGE.rglob("__init__.py")):
        directory = own.parent
        files = [path for path in sorted(directory.glob("*.py")) if path != own]
        rows = [(path.name, docstring(path)) for path in files]
        title = directory.relative_to(ROOT).as_posix()
        parts += [f"## {title}", "", f"{first_sentence(docstring(own))}.", "", *_table(rows), ""]
    programs = [path for path in sorted(OVERLAY.rglob("*")) if is_program(path)]
    rows = [(path.relative_to(OVERLAY).as_posix(), comment(path)) for path in programs]
    return "\n".join([*parts, "## overlay", "", "The node's shell programs.", "", *_table(rows)])


def _table(rows: Iterable[tuple[str, str]]) -> list[str]:
    lines = ["| file | |", "|---|---|"]
    for name, text in rows:
        said = first_sentence(text).replace("|", r"\|").replace("<", "&lt;")
        lines.append(f"| `{name}` | {said} |")
    return lines


def docstring(path: Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text())) or ""


def is_program(path: Path) -> bool:
    return path.is_file() and path.read_bytes().startswith(b"#!/bin/")


def comment(path: Path) -> str:
    """The lines that begin with # below the first one of a shell program."""
    found = []
    for line in path.read_text().splitlines()[1:]:
        if not line.startswith("#"):
            break
        found.append(line.removeprefix("#").strip())
    return "\n".join(found)


def first_sentence(text: str) -> str:
    """In one line, without the mark at its end."""
    paragraph = " ".join(text.partition("\n\n")[0].split())
    end = END.search(paragraph)
    return paragraph[: end.start()] if end else paragraph
