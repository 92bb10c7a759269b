"""A block of our lines in a file that others write to, too. Pure functions on text.

Only line feeds end a line, as in other programs: str.splitlines() also splits at eight other
characters, which would break up other people's lines.
"""

from __future__ import annotations

BEGIN = "# begin: written by k3os from config.yaml, changes between these lines are lost"
END = "# end: k3os"


def replace_block(text: str, lines: list[str]) -> str:
    """text with our block set to lines; without lines the block is removed. The rest stays."""
    kept: list[str] = []
    inside = False
    for line in lines_of(text):
        if line == BEGIN:
            inside = True
        elif line == END and inside:
            inside = False
        elif not inside:
            kept.append(line)
    block = [BEGIN, *lines, END] if lines else []
    result = kept + block
    return "\n".join(result) + "\n" if result else ""


def outside_block(text: str) -> list[str]:
    """The lines outside our block."""
    return lines_of(replace_block(text, []))


def lines_of(text: str) -> list[str]:
    """The lines of a text file, without their line feeds."""
    return text.removesuffix("\n").split("\n") if text else []
