"""A few random runs of the operator, the same each time; `make chaos` has others. And that a rule
which is broken is seen: each is by an operator of which something was taken away.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUNS, FIRST = 5, 1


def chaos(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["nice", sys.executable, "-m", "tests.chaos", "--at-once", "1", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )


def test_whatever_goes_wrong_the_operator_keeps_its_promises() -> None:
    done = chaos("--runs", str(RUNS), "--seed", str(FIRST))
    assert done.returncode == 0, done.stdout[-20000:]
    assert f"0 of {RUNS} runs broke a rule" in done.stdout


# those whose rule is broken in nearly every run; mutations.py has others, which take many
@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("nodes stay cordoned", "left cordoned"),
        ("a status that miscounts", "status.updated"),
        ("another node's configuration", "no NodePool wants"),
    ],
)
def test_a_rule_that_the_operator_breaks_is_seen(name: str, word: str) -> None:
    """In a process of its own, as above: lightkube's registry of kinds is one for a process."""
    done = chaos("--broken", name, "--runs", "4", "--seed", str(FIRST))
    assert done.returncode == 1, done.stdout[-2000:]
    assert word in done.stdout, done.stdout[-2000:]
