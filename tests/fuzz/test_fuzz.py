"""A minute of fuzzing beside the virtual machines of `make test`, with inputs that are the same in
every run of the same code. `make fuzz` goes on with others.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_no_odd_input_breaks_what_a_parser_promises(tmp_path: Path) -> None:
    argv = ["nice", sys.executable, "-m", "tests.fuzz", "--seconds", "60", "--jobs", "1"]
    done = subprocess.run(
        [*argv, "--seed", "0", "--found", str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-20000:]
