"""A while of fuzzing: the targets take turns, each starts from its corpus and keeps what reached
new code. A fault is made small, written to a file, and said with the way to see it again.
"""

from __future__ import annotations

import hashlib
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from random import Random

from tests.fuzz.limits import TooSlow, bounded
from tests.fuzz.mutation import mutate
from tests.fuzz.reached import Reached
from tests.fuzz.target import Target

CORPUS = Path(__file__).parent / "corpus"
MOST_KEPT = 500
TURN_SECONDS = 0.5
SHRINKING_SECONDS = 5.0


class Fault:
    """what: the exception's type and the last place of ours in it, by which two are the same."""

    def __init__(self, target: str, what: str, trace: str) -> None:
        self.target = target
        self.what = what
        self.trace = trace


def check(target: Target, data: bytes) -> Fault | None:
    """Whether an input breaks the target's promise."""
    try:
        with bounded():
            target.run(data)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        kind = type(error).__name__
        # how deep it was, and where time ran out, is chance
        depends = isinstance(error, RecursionError | TooSlow)
        places = traceback.extract_tb(error.__traceback__)
        ours = [each for each in places if "/k3os/" in each.filename] or places
        last = ours[-1] if ours and not depends else None
        where = f" in {Path(last.filename).name}:{last.lineno}" if last else ""
        short = traceback.TracebackException.from_exception(error, limit=-12)
        return Fault(target.name, kind + where, "".join(short.format())[-6000:])
    return None


def seeds(target: str, corpus: Path = CORPUS) -> list[bytes]:
    return [path.read_bytes() for path in sorted((corpus / target).glob("*"))]


def smaller(target: Target, data: bytes, fault: Fault) -> bytes:
    """An input with the same fault, as short as a few seconds make it."""
    end = time.monotonic() + SHRINKING_SECONDS
    size = len(data) // 2
    while size and time.monotonic() < end:
        start = 0
        while start < len(data) and time.monotonic() < end:
            shorter = data[:start] + data[start + size :]
            again = check(target, shorter)
            if again is not None and again.what == fault.what:
                data = shorter
            else:
                start += size
        size //= 2
    return data


class Stage:
    """One target with its inputs. The same seed gives the same inputs, however long each takes."""

    def __init__(self, target: Target, seed: int, corpus: Path = CORPUS) -> None:
        self.target = target
        self.random = Random(f"{seed} {target.name}")
        self.reached = Reached()
        self.inputs = seeds(target.name, corpus)
        self.words = list(target.words)
        self.todo = [*self.inputs, b""]
        self.count = 0

    def next(self) -> bytes:
        if self.todo:
            return self.todo.pop()
        given = self.random.choice(self.inputs) if self.inputs else b""
        return mutate(self.random, given, self.inputs, self.words)

    def step(self, data: bytes) -> Fault | None:
        self.count += 1
        found: list[Fault | None] = []
        if self.reached.of(lambda: found.append(check(self.target, data))):
            self.inputs.append(data)
            if len(self.inputs) > MOST_KEPT:
                del self.inputs[self.random.randrange(MOST_KEPT // 2)]
        return found[0]


class Session:
    """The faults go below `found`; each kind once. now: is told of an input before it is tried."""

    def __init__(
        self,
        targets: list[Target],
        seed: int,
        found: Path,
        say: Callable[[str], None] = print,
        now: Callable[[str, bytes], None] = lambda *_: None,
        corpus: Path = CORPUS,
    ) -> None:
        self.stages = [Stage(each, seed, corpus) for each in targets]
        self.found = found
        self.say = say
        self.now = now
        self.known: set[tuple[str, str]] = set()

    def run(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> int:
        """How many kinds of faults there are."""
        end = clock() + seconds
        turn = min(TURN_SECONDS, seconds / max(1, len(self.stages)))
        while clock() < end:
            for stage in self.stages:
                self._turn(stage, min(end, clock() + turn), clock)
        return len(self.known)

    def _turn(self, stage: Stage, end: float, clock: Callable[[], float]) -> None:
        while clock() < end:
            data = stage.next()
            self.now(stage.target.name, data)
            fault = stage.step(data)
            if fault is None or (fault.target, fault.what) in self.known:
                continue
            # once more and without being followed, which takes time of its own
            again = check(stage.target, data)
            if again is not None and (again.target, again.what) not in self.known:
                self.known.add((again.target, again.what))
                self.keep(again, smaller(stage.target, data, again))

    def keep(self, fault: Fault, data: bytes) -> None:
        path = save(self.found, fault.target, data)
        self.say(f"{fault.trace}\n{fault.target}: {fault.what}")
        self.say(f"again: make fuzz ARGS={path}\n")


def save(found: Path, target: str, data: bytes) -> Path:
    path = found / target / hashlib.sha256(data).hexdigest()[:12]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path
