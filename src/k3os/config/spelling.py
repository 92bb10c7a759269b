"""One name for every spelling of a key: plural or singular, camel, snake, kebab, run together.

It knows nothing about which keys exist; schema.py does.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# how alike two names are from 0 to 1, as difflib counts, when one may be meant for the other
ALIKE = 0.7


def fold(name: str) -> str:
    """What all spellings of a name have in common: `dnsNameserver` -> `dnsnameserver`."""
    folded = name.lower().replace("_", "").replace("-", "")
    return folded[:-1] if folded.endswith("s") and len(folded) > 1 else folded


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name most alike, or "" when none is."""
    folded = fold(name)
    by_fold = {fold(candidate): candidate for candidate in known}
    likely = [each for each in by_fold if _share_letters(folded, each)]
    if not likely:
        return ""  # mostly, and without difflib, which brings re with it
    from difflib import get_close_matches

    matches = get_close_matches(folded, likely, n=1, cutoff=ALIKE)
    return by_fold[matches[0]] if matches else ""


def _share_letters(one: str, other: str) -> bool:
    """Whether they could be alike: the upper bounds that difflib has itself (SequenceMatcher)."""
    both = len(one) + len(other)
    if not both or 2.0 * min(len(one), len(other)) / both < ALIKE:
        return not both
    shared = sum(min(one.count(each), other.count(each)) for each in {*one})
    return 2.0 * shared / both >= ALIKE
