"""What is fuzzed: a parser of something that somebody else wrote, and what it promises."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """call: takes the bytes, and returns whatever it likes; raises: what it may raise, and nothing
    else; words: of its language."""

    name: str
    call: Callable[[bytes], object]
    raises: tuple[type[Exception], ...] = ()
    words: tuple[bytes, ...] = ()

    def run(self, data: bytes) -> None:
        """Raises what is a fault."""
        try:
            self.call(data)
        except self.raises:
            return


TARGETS: dict[str, Target] = {}


def target(
    name: str, *, raises: tuple[type[Exception], ...] = (), words: str = ""
) -> Callable[[Callable[[bytes], object]], Callable[[bytes], object]]:
    """Puts a function into the table. words: of the language, between spaces."""

    def add(call: Callable[[bytes], object]) -> Callable[[bytes], object]:
        assert name not in TARGETS
        TARGETS[name] = Target(name, call, raises, tuple(each.encode() for each in words.split()))
        return call

    return add
