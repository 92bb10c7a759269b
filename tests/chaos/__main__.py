"""`python -m tests.chaos --runs 200` (`make chaos N=200`): random runs of the operator, in memory.

Each run has a seed; `--seed S --runs 1` is that run again. Exit code 1 when something did not
hold, with what happened in the first such runs.
"""

import argparse
import concurrent.futures
import os
import sys
import time
from collections import Counter

from tests.chaos.mutations import MUTATIONS
from tests.chaos.run import Result, run

SHOWN = 3  # runs that are told in full


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0, help="of the first run; 0: a new one")
    parser.add_argument("--broken", default="", choices=("", *MUTATIONS), help="see mutations.py")
    parser.add_argument("--at-once", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":  # the order of sets is part of a run
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    first = given.seed or time.time_ns() % 10**9
    seeds = range(first, first + given.runs)
    began = time.perf_counter()
    results = []
    with concurrent.futures.ProcessPoolExecutor(given.at_once) as pool:
        for each in pool.map(run, seeds, [given.broken] * given.runs):
            results.append(each)
            how = each.violations[0] if each.violations else "as it should be"
            print(f"seed {each.seed}: {each.hours:.1f} h, {each.seconds:.1f} s: {how}", flush=True)
            if each.violations:
                if given.broken:
                    break
    return told(results, time.perf_counter() - began)


def told(results: list[Result], seconds: float) -> int:
    """Print the tally; the exit code."""
    counts: Counter[str] = Counter()
    steps: Counter[str] = Counter()
    for each in results:
        counts.update(each.counts)
        steps.update(each.steps)
    broken = [each for each in results if each.violations]
    hours = sum(each.hours for each in results)
    used = sum(each.seconds for each in results)
    print(f"{len(results)} runs, the first has seed {results[0].seed}: ", end="")
    print(f"{hours:.0f} hours of theirs in {seconds:.0f} s ({used:.0f} s of processors)")
    print(
        f"{counts.total()} faults:", ", ".join(f"{n} × {what}" for what, n in counts.most_common())
    )
    print(f"{steps.total()} steps:", ", ".join(f"{n} × {what}" for what, n in steps.most_common()))
    for each in broken:
        print(f"\nseed {each.seed}: {each.violations[0]}")
        for more in each.violations[1:6]:
            print(f"  {more}")
    for each in broken[:SHOWN]:
        print(f"\nseed {each.seed} ({len(each.violations)} violations)\n{each.text}")
    print(f"\n{len(broken)} of {len(results)} runs broke a rule")
    if broken:
        print(f"again: python -m tests.chaos --runs 1 --seed {broken[0].seed}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
