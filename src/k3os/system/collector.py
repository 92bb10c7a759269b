"""Python's collector of cycles (docs.python.org/3/library/gc.html), kept away from work that makes
many objects of which all are in use until its end, as a large configuration does: it looks through
them again and again, the more often the more there are, and finds nothing."""

from __future__ import annotations

import gc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import ParamSpec, TypeVar

    Given = ParamSpec("Given")
    Result = TypeVar("Result")


def uncollected(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """A decorator: while the function runs no cycle is looked for. What is in none goes as ever."""

    def run(*given: Given.args, **named: Given.kwargs) -> Result:
        if not gc.isenabled():  # one that calls another, or somebody's own choice
            return function(*given, **named)
        gc.disable()
        try:
            return function(*given, **named)
        finally:
            gc.enable()

    run.__doc__ = function.__doc__
    return run
