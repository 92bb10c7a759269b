"""A time limit shared by several downloads that k3s waits for."""

from __future__ import annotations

import time


class Budget:
    """It starts with the first request."""

    __slots__ = ("_all", "_until")

    def __init__(self, seconds: float) -> None:
        self._all = seconds
        self._until = 0.0

    def seconds(self, most: float = float("inf")) -> float:
        """The time left, at most `most`; with less than 1, do not start anything."""
        now = time.monotonic()
        self._until = self._until or now + self._all
        return min(most, self._until - now)
