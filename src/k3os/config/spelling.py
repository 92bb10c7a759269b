"""One name for every spelling of a key: plural or singular, camel, snake, kebab, run together.

It knows nothing about which keys exist; schema.py does.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# similarity of two names, from 0 to 1 as in difflib, above which one may be a typo of the other
ALIKE = 0.7


def fold(name: str) -> str:
    """A name that is the same for all spellings: `dnsNameserver` -> `dnsnameserver`."""
    folded = name.lower().replace("_", "").replace("-", "")
    return folded[:-1] if folded.endswith("s") and len(folded) > 1 else folded


def nearest(name: str, known: Iterable[str]) -> str:
    """The most similar known name, or "" if none is similar."""
    folded = fold(name)
    by_fold = {fold(candidate): candidate for candidate in known}
    likely = [each for each in by_fold if _share_letters(folded, each)]
    if not likely:
        return ""  # the usual case, without difflib, which imports re
    from difflib import get_close_matches

    matches = get_close_matches(folded, likely, n=1, cutoff=ALIKE)
    return by_fold[matches[0]] if matches else ""


def _share_letters(one: str, other: str) -> bool:
    """Whether they could be similar: the upper bounds that difflib has itself (SequenceMatcher)."""
    both = len(one) + len(other)
    if not both or 2.0 * min(len(one), len(other)) / both < ALIKE:
        return not both
    shared = sum(min(one.count(each), other.count(each)) for each in {*one})
    return 2.0 * shared / both >= ALIKE
