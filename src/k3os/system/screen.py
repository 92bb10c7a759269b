"""Text that is redrawn at the same place of a terminal.

It writes to one stream and decides nothing. Sequences: ECMA-48 (console_codes(4)).
"""

from __future__ import annotations

import os
import shutil
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import TextIO

    Line = tuple[str, str]  # text, style: "" or a key of STYLES

HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"
STYLES = {"bold": "1", "bad": "1;31", "good": "32", "busy": "33", "dim": "2"}


def can_redraw(stream: TextIO) -> bool:
    """Whether the stream is a terminal with a movable cursor."""
    return stream.isatty() and os.environ.get("TERM", "dumb") not in ("", "dumb")


def printable(text: str) -> str:
    """Text from elsewhere must not control the terminal: control characters become spaces."""
    return "".join(each if each.isprintable() else " " for each in text)


class Screen:
    """A context manager that hides the cursor; what was drawn last stays."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stdout
        self.colours = not os.environ.get("NO_COLOR")
        self._drawn: list[int] = []  # lengths of the lines on the screen

    def __enter__(self) -> Screen:
        self._write(HIDE)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._write(SHOW)

    def size(self) -> tuple[int, int]:
        """The current columns and lines."""
        columns, lines = shutil.get_terminal_size()
        return max(columns, 20), max(lines, 5)

    def draw(self, lines: Sequence[Line]) -> None:
        """Replace what was drawn before. Cuts what does not fit, and removes control characters."""
        columns, height = self.size()
        # if the terminal has become narrower, it has wrapped them
        up = sum(max(1, -(-length // columns)) for length in self._drawn)
        texts = [(printable(text)[: columns - 1], style) for text, style in lines[: height - 1]]
        frame = f"\x1b[{up}A\r" if up else "\r"
        frame += "".join(f"{self._styled(text, style)}\x1b[K\n" for text, style in texts)
        self._drawn = [len(text) for text, _ in texts]
        self._write(f"{frame}\x1b[J")

    def _styled(self, text: str, style: str) -> str:
        return f"\x1b[{STYLES[style]}m{text}\x1b[0m" if style and self.colours else text

    def _write(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()
