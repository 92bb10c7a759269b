"""The time that is left for several downloads together: k3s waits for all of them."""

from __future__ import annotations

import time


class Budget:
    """It begins with the first one that asks."""

    __slots__ = ("_all", "_until")

    def __init__(self, seconds: float) -> None:
        self._all = seconds
        self._until = 0.0

    def seconds(self, most: float = float("inf")) -> float:
        """What is left, at most `most`; less than 1 is too little to begin."""
        now = time.monotonic()
        self._until = self._until or now + self._all
        return min(most, self._until - now)
