"""Python's garbage collector (docs.python.org/3/library/gc.html), disabled during work that creates
many objects and keeps all of them, like loading a large configuration: it would scan them again and
again, and find nothing."""

from __future__ import annotations

import gc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import ParamSpec, TypeVar

    Given = ParamSpec("Given")
    Result = TypeVar("Result")


def uncollected(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """A decorator: disables the cycle collector while the function runs; references still count."""

    def run(*given: Given.args, **named: Given.kwargs) -> Result:
        if not gc.isenabled():  # a nested call, or disabled by the user
            return function(*given, **named)
        gc.disable()
        try:
            return function(*given, **named)
        finally:
            gc.enable()

    run.__doc__ = function.__doc__
    return run
