"""What `k3os COMMAND --help` prints, as data: usage, paragraphs, lists of options, examples.

The manual pages and docs/reference/commands.md are made of it. It reads text that our commands
print, written by hand or by argparse, whose form differs between versions of Python.
"""

from __future__ import annotations

import os
import re
import sys
import textwrap
from dataclasses import dataclass, replace
from pathlib import Path

from k3os.system.run import run

K3OS, PLUGIN = "k3os", "kubectl k3os"
PROGRAMS = {K3OS: "k3os.__main__", PLUGIN: "k3os.cli.kubectl"}
WIDTH = 90
# argparse wraps by the terminal's width, and colours for one: neither may matter here
ENVIRONMENT = {"COLUMNS": "1000", "NO_COLOR": "1", "PYTHON_COLORS": "0", "TERM": "dumb"}
# "-o PATH, --output PATH" until Python 3.12, then "-o, --output PATH"
TWICE = re.compile(r"^(-\S+) (\S+), (-\S+) \2$")
ITEM = re.compile(r"^( +)(\S.*?)(?:  +(\S.*))?$")
BRACKETS = re.compile(r"\[[^\[\]]*(?:\[[^\]]*\][^\[\]]*)*\]")  # wrapped as one word
HELD = "\N{NO-BREAK SPACE}"
EXAMPLE = re.compile(r"^(?:[A-Z]+=\S+ )*(?:sudo )?k3os ")


@dataclass(frozen=True)
class Item:
    """A line of a list: an option, a word, a variable, and what it does."""

    name: str
    text: str


@dataclass(frozen=True)
class Block:
    """What is between two empty lines. Either items, or lines; kind says how they are set."""

    kind: str  # "text", "list", "example", "table"
    title: str = ""
    lines: tuple[str, ...] = ()
    items: tuple[Item, ...] = ()


@dataclass(frozen=True)
class Help:
    """usage: the ways to call it, without the word itself."""

    usage: tuple[str, ...]
    blocks: tuple[Block, ...]


def ask(*words: str, program: str = K3OS) -> str:
    """The text that a command prints for --help. Raises CommandError."""
    source = str(Path(__file__).parents[2])
    environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": source}
    start = f"from {PROGRAMS[program]} import entry; entry()"
    return run([sys.executable, "-c", start, *words, "--help"], env=environment).decode()


def parse(text: str) -> Help:
    """Help of its text, which begins with `usage:`."""
    first, *rest = re.split(r"\n{2,}", text.strip("\n"))
    usage = tuple(_usage(first))
    return Help(usage, tuple(_block(block.split("\n")) for block in rest))


def render(text: str) -> str:
    """The same text, in one form whatever printed it."""
    parsed = parse(text)
    lines = [f"usage: {parsed.usage[0]}", *(f"       {line}" for line in parsed.usage[1:])]
    for block in parsed.blocks:
        lines += ["", *([block.title] if block.title else []), *block.lines]
        lines += _columns(block.items)
    return "\n".join(lines)


def _usage(block: str) -> list[str]:
    lines: list[str] = []
    for line in block.removeprefix("usage:").split("\n"):
        text = line[7:].rstrip() if lines else line.strip()
        text = BRACKETS.sub(lambda match: match[0].replace(" ", HELD), text)
        wrapped = textwrap.wrap(text, WIDTH, subsequent_indent=" " * 8, break_on_hyphens=False)
        lines += [part.replace(HELD, " ") for part in wrapped]
    return lines


def _block(lines: list[str]) -> Block:
    title = ""
    if len(lines) > 1 and re.fullmatch(r"\S[^\n]*:", lines[0]) and lines[1].startswith(" "):
        title, *lines = lines
    if all(line.startswith(" ") for line in lines):
        return Block("list", title, items=tuple(_items(lines)))
    if all(EXAMPLE.match(line) for line in lines):
        return Block("example", title, tuple(lines))
    if any(line.startswith(" ") for line in lines):
        return Block("table", title, tuple(lines))
    wrapped = [part for line in lines for part in textwrap.wrap(line, WIDTH + 10)]
    return Block("text", title, tuple(wrapped))


def _items(lines: list[str]) -> list[Item]:
    items: list[Item] = []
    column = _column(lines)
    base = min(len(line) - len(line.lstrip()) for line in lines)
    for line in lines:
        indent = len(line) - len(line.lstrip())
        match = ITEM.match(line)
        assert match is not None, line
        nested = line.lstrip().startswith("-") or (match[3] and match.start(3) == column)
        begins = indent == base or (indent < column and nested)
        if not begins and items:
            last = items[-1]
            items[-1] = replace(last, text=f"{last.text} {line.strip()}".strip())
            continue
        _, name, text = match.groups()
        if not text and line[column - 1 : column] == " ":  # a name as long as the column
            name, text = line[:column].strip(), line[column:]
        items.append(Item(" " * (indent - base) + TWICE.sub(r"\1, \3 \2", name), text or ""))
    return items


def _column(lines: list[str]) -> int:
    """Where most texts of a list begin."""
    matches = [match for line in lines if (match := ITEM.match(line))]
    starts = [match.start(3) for match in matches if match[3]]
    starts += [match.start(2) for match in matches if not match[3] and len(match[1]) > 8]
    return max(starts, key=starts.count, default=0)


def _columns(items: tuple[Item, ...]) -> list[str]:
    width = max((len(item.name) for item in items if len(item.name) <= 28), default=0)
    lines = []
    for item in items:
        texts = textwrap.wrap(item.text, WIDTH - width + 6, break_on_hyphens=False) or [""]
        if len(item.name) > width:
            lines.append(f"  {item.name}")
        else:
            lines.append(f"  {item.name:<{width}}  {texts.pop(0)}".rstrip())
        lines += [" " * (width + 4) + text for text in texts]
    return lines
