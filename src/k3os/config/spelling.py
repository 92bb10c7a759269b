"""One name for every spelling of a key: plural or singular, camel, snake, kebab, run together.

It knows nothing about which keys exist; schema.py does.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def fold(name: str) -> str:
    """What all spellings of a name have in common: `dnsNameserver` -> `dnsnameserver`."""
    folded = name.lower().replace("_", "").replace("-", "")
    return folded[:-1] if folded.endswith("s") and len(folded) > 1 else folded


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name most alike, or "" when none is."""
    from difflib import get_close_matches

    by_fold = {fold(candidate): candidate for candidate in known}
    matches = get_close_matches(fold(name), by_fold, n=1, cutoff=0.7)
    return by_fold[matches[0]] if matches else ""
