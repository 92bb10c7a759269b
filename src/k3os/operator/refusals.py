"""Writes to a node that the API server refuses, for a reason that will not pass by itself.

All annotations of an object together are limited to 256 KiB, the object to what etcd takes; a
webhook or a quota may refuse it. The NodePool's status reports it (`WriteRefused`), and retries
continue: somebody may make room.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection

from lightkube import ApiError

log = logging.getLogger("k3os.operator")

CODES = (400, 403, 413, 422)
# messages of etcd and of the connection to it, with code 500
LARGE = ("too large", "larger than max")
ROOM = (
    "all annotations of a Node together have 256 KiB: `kubectl get node {0} -o yaml` shows whose "
    "they are, and `kubectl annotate node {0} NAME-` removes one"
)
SOMEBODY = "change what forbids it; it is tried again"
# times or names of a single request: a webhook may put different ones in each answer
PASSING = re.compile(r"\w*\d\w*")


def is_refusal(error: BaseException) -> bool:
    if not isinstance(error, ApiError):
        return False
    return error.status.code in CODES or any(each in (error.status.message or "") for each in LARGE)


class Refusals:
    """told: by node, what is wrong and what to do."""

    def __init__(self) -> None:
        self.told: dict[str, str] = {}

    def note(self, node: str, error: Exception) -> bool:
        """Whether there is something new to report: else each answer would trigger the next round
        at once."""
        said = str(error)
        is_full = "annotations" in said
        words = f"the API server refuses it: {said}; {ROOM.format(node) if is_full else SOMEBODY}"
        if PASSING.sub("", self.told.get(node, "")) == PASSING.sub("", words):
            return False
        log.warning("%s: %s", node, words)
        self.told[node] = words
        return True

    def only(self, nodes: Collection[str]) -> bool:
        """Forget all but these: nothing is left to write to the others. Returns whether there were
        others."""
        left = {name: words for name, words in self.told.items() if name in nodes}
        gone, self.told = left != self.told, left
        return gone
