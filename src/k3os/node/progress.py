"""Progress of a download or a copy, on a terminal."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

BAR = 30  # characters


def progress_bar() -> Callable[[str, int, int], None]:
    """A line that is redrawn for each per cent; done, size: bytes."""
    shown = ("", -1)

    def draw(name: str, done: int, size: int) -> None:
        nonlocal shown
        part = 100 * done // size if size else 100
        if (name, part) == shown:
            return
        shown = (name, part)
        bar = ("#" * (part * BAR // 100)).ljust(BAR)
        # back to the start of the line: the next output overwrites it
        end = "\n" if done >= size else "\r"
        print(f"  {name[-30:]:<30} [{bar}] {part:3} %", end=end, flush=True)

    return draw
