"""`make fuzz`: try odd inputs on everything that reads what somebody else wrote.

With files as arguments (below a directory that is named like a target): these, and what comes of
them. Exit code 1: something broke its promise.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from tests.fuzz.session import check
from tests.fuzz.targets import TARGETS
from tests.fuzz.workers import fuzz

FOUND = Path("dist/fuzz")


def main(argv: list[str]) -> int:
    options = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    options.add_argument("files", nargs="*", type=Path, help="inputs to try again")
    options.add_argument("--seconds", type=float, default=60)
    options.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    options.add_argument("--seed", type=int, help="of an earlier run")
    options.add_argument("--only", help="targets, with commas between them")
    options.add_argument("--list", action="store_true", help="the targets")
    options.add_argument("--found", type=Path, default=FOUND, help="where faults are written")
    given = options.parse_args(argv)
    if given.list:
        print("\n".join(TARGETS))
        return 0
    if given.files:
        return max(again(path) for path in given.files)
    names = given.only.split(",") if given.only else list(TARGETS)
    if unknown := [name for name in names if name not in TARGETS]:
        options.error(f"there is no target {unknown[0]}; there are: {', '.join(TARGETS)}")
    seed = int(time.time()) if given.seed is None else given.seed
    print(f"fuzz: {len(names)} targets, {given.seconds:g} s, {given.jobs} processes, --seed {seed}")
    targets = [TARGETS[name] for name in names]
    tried, faults = fuzz(targets, given.seconds, seed, given.found, given.jobs)
    print(f"fuzz: {tried} inputs, {faults or 'no'} faults")
    return 1 if faults else 0


def again(path: Path) -> int:
    """One input."""
    name = path.parent.name
    if name not in TARGETS:
        print(f"{path}: {name} is no target; there are: {', '.join(TARGETS)}", file=sys.stderr)
        return 2
    fault = check(TARGETS[name], path.read_bytes())
    print(f"{path}: " + (f"{fault.what}\n{fault.trace}" if fault else "fine"))
    return 1 if fault else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
