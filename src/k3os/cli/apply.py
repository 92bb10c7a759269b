"""`k3os apply FILE`: carry out what the operator asks of this node (k3os.node.apply)."""

from __future__ import annotations

import os

from k3os.cli import options
from k3os.errors import UserError
from k3os.node import apply

HELP = """\
usage: k3os apply FILE

Carry out a request of the k3OS operator: other versions, a part of the configuration. The last
line of the output is the result, as JSON. Exit code 1: it failed, 2: the request is invalid.
"""


def main(argv: list[str]) -> int:
    """Exit code 0, 1, 2. Raises UserError only for wrong use of the command itself."""
    words, _ = options.read(HELP, argv)
    options.count(HELP, words, 1, 1)
    if os.geteuid() != 0:
        raise UserError("only root may change this node", "the operator's Job calls it")
    return apply.carry_out_file(words[0])
