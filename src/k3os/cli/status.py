"""`k3os status`: the state of this node (k3os.node.status), for people and for programs."""

from __future__ import annotations

import json
import os

from k3os.cli import options
from k3os.errors import visible
from k3os.node.status import VERIFIED, collect
from k3os.node.status_text import failures, lines
from k3os.paths import OWN_SYSTEM, RUNNING
from k3os.system.files import text_of

HELP = """\
usage: k3os status [--all | --json]
       k3os status --verify [--running]

Show what was applied, what failed, versions, k3s, addresses. Exit code 1 if something is wrong.

  --all      also list what was right already
  --json     print the same as JSON
  --verify   read every file of every generation from the disk and compare it with its checksum
  --running  with --verify: only files of the running system; k3os-verify.service does that
             some minutes after each boot, and once a week
"""


def main(argv: list[str]) -> int:
    """Exit code 0 when everything was applied, 1 when something failed, 2 for wrong usage."""
    words, given = options.read(HELP, argv)
    options.count(HELP, words, 0, 0)
    options.alone(HELP, given, ("--verify", "--json", "--all"))
    if "--verify" in given:
        return verify(running_only="--running" in given)
    if "--running" in given:
        raise options.wrong(HELP, "--running goes with --verify")
    status = collect()
    if "--json" in given:
        print(json.dumps(status.as_dict(), indent=2))
    else:
        print(visible("\n".join(lines(status, every="--all" in given))))
    return 1 if failures(status) else 0


def verify(*, running_only: bool, system: str = OWN_SYSTEM, record: str = VERIFIED) -> int:
    """Check for damaged files and report them; exit code 1 if there are any. Raises UserError."""
    from k3os.generation import damage
    from k3os.generation.installed import read_installed
    from k3os.system.console import say

    installed = read_installed(system, text_of(RUNNING))
    generations = [installed.kept] if running_only else list(installed.manifests)
    wanted = damage.sums(installed, generations)

    def said(path: str, reason: str) -> None:
        print(f"DAMAGED  {path}: {reason}" if reason else f"fine     {path}", flush=True)

    wrong = damage.damaged(system, wanted, said)
    if os.geteuid() == 0:
        damage.record(record, wrong, len(wanted))
    if wrong and running_only:
        say(f"damaged: {', '.join(wrong)}; `sudo k3os status` says more")
    if wrong:
        print(f"k3os: {len(wrong)} of {len(wanted)} files are damaged; {damage.HINT}")
    return 1 if wrong else 0
