"""Writes what is generated in docs/: parts of pages, between two marker comments, and pictures.

The reference comes from the configuration's schema, the fields of a NodePool from its schema, the
commands from their --help, the variables from `k3os build --help`, the targets from `make help`. A
unit test checks that they are up to date.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from xml.sax.saxutils import escape

from k3os.system.files import atomic_write
from k3os.system.run import run

ROOT = Path(__file__).resolve().parents[1]


def reference() -> str:
    from k3os.config.reference import markdown

    return markdown()


def targets() -> str:
    output = run(["make", "--no-print-directory", "-C", str(ROOT), "help"]).decode()
    lines = [line[2:] for line in output.splitlines() if line.startswith("  make ")]
    return fenced(lines)


def build_variables() -> str:
    from k3os.cli.build import EPILOG

    text = EPILOG.partition("variables:\n")[2].partition("\n\n")[0]
    return fenced([line[2:] for line in text.splitlines()])


def commands() -> str:
    from k3os.image.help_text import ask, render
    from k3os.image.manual import commands as words_of

    parts: list[str] = []
    for program, words in words_of():
        title = " ".join((program, *words))
        parts += [f"## {title}", "", fenced([render(ask(*words, program=program))]), ""]
    return "\n".join(parts)


def nodepool() -> str:
    from k3os.operator.reference import markdown

    return markdown()


def metrics() -> str:
    from k3os.operator.metrics import NAMES

    rows = [f"| `{name}` | {what} |" for name, what in NAMES.items()]
    return "\n".join(["| metric | |", "|---|---|", *rows])


def picture(recording: str) -> str:
    """An SVG of a terminal with the recorded text, without the recording's introduction."""
    lines = recording.partition("\n\n")[2].rstrip("\n").split("\n")
    width, height = 16 + 8 * max(map(len, lines)), 24 + 18 * len(lines)
    svg = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">',
        f'<rect width="{width}" height="{height}" rx="6" fill="#15181c"/>',
        '<g font-family="ui-monospace, Menlo, Consolas, monospace" font-size="13" fill="#d8dee4">',
    ]
    for number, line in enumerate(lines, 1):
        size = f'textLength="{8 * len(line)}" lengthAdjust="spacingAndGlyphs"'
        text = (
            f'<text x="8" y="{10 + 18 * number}" xml:space="preserve" {size}>{escape(line)}</text>'
        )
        svg += [text] if line else []
    return "\n".join([*svg, "</g>", "</svg>", ""])


def fenced(lines: list[str]) -> str:
    return "\n".join(["```text", *lines, "```"])


def code() -> str:
    from scripts.code_map import markdown

    return markdown()


# page -> the generated parts in it
GENERATED: dict[str, dict[str, Callable[[], str]]] = {
    "docs/reference/build.md": {"targets": targets, "variables": build_variables},
    "docs/reference/code.md": {"code": code},
    "docs/reference/commands.md": {"commands": commands},
    "docs/reference/configuration.md": {"reference": reference},
    "docs/reference/metrics.md": {"metrics": metrics},
    "docs/reference/nodepool.md": {"nodepool": nodepool},
}

# picture -> the recording in it
PICTURES = {"docs/pictures/live.svg": "docs/recordings/live.txt"}


def markers(name: str) -> tuple[str, str]:
    """The comments around a generated part; `k3os config reference` prints its own."""
    if name == "reference":
        from k3os.config.reference import BEGIN, END

        return BEGIN, END
    return f"<!-- {name}:begin -->", f"<!-- {name}:end -->"


def with_generated_parts(page: str, text: str) -> str:
    """A page's text with each generated part up to date."""
    for name, generate in GENERATED[page].items():
        begin, end = markers(name)
        pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
        inner = generate().strip().removeprefix(begin).removesuffix(end).strip()
        part = f"{begin}\n\n{inner}\n\n{end}"
        text, count = pattern.subn(lambda _, part=part: part, text)
        if count != 1:
            raise SystemExit(f"{page} must have the markers of {name!r} once, not {count} times")
    return text


def main() -> None:
    for page in GENERATED:
        text = (ROOT / page).read_text()
        write(page, with_generated_parts(page, text))
    for name, recording in PICTURES.items():
        write(name, picture((ROOT / recording).read_text()))


def write(name: str, text: str) -> None:
    path = ROOT / name
    if not path.exists() or path.read_text() != text:
        atomic_write(str(path), text.encode())
        print(f"{name} is written")


if __name__ == "__main__":
    sys.exit(main())
