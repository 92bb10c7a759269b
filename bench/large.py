"""A configuration at the limit: 1 MiB with 5,000 write_files entries, checked and applied.

It is checked by `k3os config check` as a separate process, and applied to a directory as a node's
boot phase would, comparing all entries with a quarter of them: linear time gives a ratio of 4,
quadratic time one of 16.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from bench.table import Row, Samples
from k3os.phases.apply import apply_phase
from k3os.system.run import run

ENTRIES, QUARTER = 5000, 1250
RUNS = 3
CHECK_SECONDS = 3.0
ACCOUNTS = "root:x:0:0:root:/root:/bin/sh\nrancher:x:1000:1000::/home/rancher:/bin/sh\n"


def text(entries: int) -> str:
    """A config.yaml with that many files; 5,000 of them make nearly 1 MiB."""
    content = "y" * 110
    lines = (
        f"- {{path: /etc/many/{n}, permissions: '0644', content: '{content}{n:05d}'}}\n"
        for n in range(entries)
    )
    return "write_files:\n" + "".join(lines)


def large_rows() -> list[Row]:
    """Both comparisons. Raises CommandError; RuntimeError if a phase does not do its work."""
    with tempfile.TemporaryDirectory(prefix="k3os-bench.") as directory:
        path = Path(directory) / "config.yaml"
        path.write_text(text(ENTRIES))
        check, parse = [], []
        loader = "import sys, yaml; yaml.load(open(sys.argv[1]), yaml.CSafeLoader)"
        for _ in range(RUNS):
            check.append(_timed([sys.executable, "-m", "k3os", "config", "check", str(path)]))
            parse.append(_timed([sys.executable, "-c", loader, str(path)]))
    large = [_applied(ENTRIES) for _ in range(RUNS)]
    small = [_applied(QUARTER) for _ in range(RUNS)]
    name = f"check of {ENTRIES} files, 1 MiB"
    return [
        Row(name, Samples(tuple(check), "s"), at_most=CHECK_SECONDS),
        Row(name, Samples(tuple(check), "s"), Samples(tuple(parse), "s"), "PyYAML alone"),
        Row(
            f"applying {ENTRIES} files",
            Samples(tuple(large), "s"),
            Samples(tuple(small), "s"),
            f"applying {QUARTER}",
            at_most=4.2,
        ),
    ]


def _timed(command: list[str]) -> float:
    started = time.monotonic()
    run(command)
    return time.monotonic() - started


def _applied(entries: int) -> float:
    with tempfile.TemporaryDirectory(prefix="k3os-bench.") as root:
        for name, content in (
            ("etc/passwd", ACCOUNTS),
            ("etc/group", "root:x:0:\nrancher:x:1000:\n"),
            ("k3os/system/config.yaml", text(entries)),
        ):
            path = Path(root) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        # processor time: other use of the disk must not count
        started = time.process_time()
        apply_phase("boot", mode="live", root=root, cmdline="")
        seconds = time.process_time() - started
        written = len(list((Path(root) / "etc/many").iterdir()))
        if written != entries:
            raise RuntimeError(f"{written} of {entries} files were written")
        return seconds
