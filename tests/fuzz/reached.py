"""Which lines of ours an input reached: one that reaches a new line is worth changing further.

sys.settrace(3), for it is in each Python we support. A function that showed nothing new for a while
is no longer followed, which makes it as fast as it is without, nearly.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

import k3os

PATIENCE = 300  # calls without a new line


class Reached:
    """lines: all so far. `of` runs something, and says whether it reached a new one."""

    def __init__(self) -> None:
        self.lines: set[tuple[CodeType, int]] = set()
        self._idle: dict[CodeType, int] = {}
        self._root = str(k3os.__file__).rpartition("/")[0]

    def of(self, call: Callable[[], object]) -> bool:
        before = len(self.lines)
        sys.settrace(self._enter)
        try:
            call()
        finally:
            sys.settrace(None)
        return len(self.lines) > before

    def _enter(self, frame: FrameType, event: str, argument: Any) -> Any:
        code = frame.f_code
        idle = self._idle.get(code, 0)
        if idle > PATIENCE or not code.co_filename.startswith(self._root):
            return None
        self._idle[code] = idle + 1
        return self._line

    def _line(self, frame: FrameType, event: str, argument: Any) -> Any:
        place = (frame.f_code, frame.f_lineno)
        if event == "line" and place not in self.lines:
            self.lines.add(place)
            self._idle[frame.f_code] = 0
        return self._line
