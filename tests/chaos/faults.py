"""What goes wrong with requests and watches, drawn from the seed. After `heal` nothing does."""

import random
from collections import Counter
from dataclasses import dataclass, field

DIES_BEFORE = "killed before the request is carried out"
DIES_AFTER = "killed after it is carried out"
LOST_BEFORE = "no answer, not carried out"
LOST_AFTER = "no answer, but carried out"
RESET_AFTER = "hung up after it is carried out"
LATE = "no answer, carried out later"
THROTTLED = "429"
BROKEN_BEFORE = "500, not carried out"
BROKEN_AFTER = "500, but carried out"
NOT_READY = "503 without JSON"
SLOW = "slow"
OF_READS = (LOST_BEFORE, THROTTLED, BROKEN_BEFORE, NOT_READY, SLOW)
OF_WRITES = (*OF_READS, LOST_AFTER, RESET_AFTER, LATE, BROKEN_AFTER)
WRITES = ("create", "patch", "update", "delete")
FINE, SLOW_WATCH, DEAD_WATCH, CUT_WATCH = "fine", "slow watch", "dead watch", "cut watch"


@dataclass
class Faults:
    """share: of requests that something is wrong with, watches: of watches. counts: what was done
    so far, by name."""

    random: random.Random
    share: float = 0.0
    deaths: float = 0.0
    watches: float = 0.0
    on: bool = True
    counts: Counter[str] = field(default_factory=Counter)

    def count(self, what: str) -> None:
        self.counts[what] += 1

    def of_request(self, verb: str) -> str:
        """What is wrong with it, "" for nothing."""
        if not self.on:
            return ""
        draw = self.random.random()
        if draw < self.deaths and verb in WRITES:
            found = self.random.choice((DIES_BEFORE, DIES_AFTER))
        elif draw < self.deaths + self.share:
            found = self.random.choice(OF_WRITES if verb in WRITES else OF_READS)
        else:
            return ""
        self.count(found)
        return found

    def of_watch(self) -> tuple[str, float]:
        """What is wrong with a watch, and a number of seconds: by which each event is late, or
        until it is cut or silent."""
        if not self.on or self.random.random() > self.watches:
            return FINE, 0.0
        found = self.random.choice((SLOW_WATCH, DEAD_WATCH, CUT_WATCH))
        self.count(found)
        return found, self.random.choice((0.5, 3.0, 15.0, 45.0, 90.0))

    def latency(self) -> float:
        return self.random.uniform(0.002, 0.05)

    def heal(self) -> None:
        self.on = False
