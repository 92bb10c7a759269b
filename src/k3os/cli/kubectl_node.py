"""`kubectl k3os status`, `logs`, `config`, `support`, `shell`: work on a node through the API, and
how long each may take.

Each runs a command on the node (k3os.cluster.on_node). Nothing is decided here, and no argument is
ever a secret: `k3os config --dump` masks them on the node.
"""

from __future__ import annotations

import argparse
import re
import signal
import sys
from collections.abc import Callable
from typing import Any

from k3os.cli.kubectl_support import support
from k3os.cluster.kubectl import Kubectl
from k3os.cluster.on_node import find, on_node
from k3os.system.numbers import whole

SHORT_SECONDS, LONG_SECONDS = 600, 8 * 3600
TEXTS = {
    "status": "what was applied on a node, what failed, versions, k3s, addresses",
    "logs": "the journal of a node",
    "config": "a node's merged configuration, with where each value comes from; secrets are masked",
    "support": "one archive for whoever helps: status, configuration, journals; without secrets",
    "shell": "a root shell on a node; in a pipe it reads commands from standard input",
}
ON_NODES = tuple(TEXTS)
ABOUT = """\

It starts a pod on the node, in the namespace k3os-system, with the operator's image, and deletes it
at the end. That needs rights which make root on every node: docs/how-to/fleet.md.
"""
BOOT = ("-b", "--boot")
NODE_NAME = "the node's name, as in `kubectl get nodes`"


def add_parsers(commands: Any, shared: argparse.ArgumentParser) -> None:
    """The commands of this file. commands: as add_subparsers returns them."""
    for name, text in TEXTS.items():
        one = add_command(commands, shared, name, text, ABOUT)
        several = "+" if name == "support" else None
        one.add_argument("node", metavar="NODE", help=NODE_NAME, nargs=several)
        if name == "support":
            one.add_argument(
                *("-o", "--output"),
                default="",
                metavar="FILE",
                help="where to write it (default: k3os-support-TIME.tar.gz)",
            )
        if name == "logs":
            _journal_options(one)


def add_command(
    commands: Any, shared: argparse.ArgumentParser, name: str, text: str, about: str
) -> argparse.ArgumentParser:
    """commands: as add_subparsers returns them. about: the help text after the summary."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        parents=[shared],
        help=text,
        description=f"{text}.\n{about}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser


def _journal_options(parser: argparse.ArgumentParser) -> None:
    """The same names and meanings as in journalctl."""
    group = parser.add_argument_group("as in journalctl")
    group.add_argument(
        *("-u", "--unit"), action="append", default=[], metavar="UNIT", help="only this unit: k3s"
    )
    group.add_argument("-n", "--lines", type=_number, metavar="N", help="the last N lines")
    group.add_argument(
        "--since", metavar="TIME", help="entries since then: today, 2025-01-31, `--since=-1h`"
    )
    group.add_argument(
        *BOOT,
        type=_boot,
        metavar="N",
        help="this boot: 0 the running one, -1 the one before (default: 0; with --since all)",
    )
    group.add_argument("-f", "--follow", action="store_true", help="keep printing new entries")


def boots_as_one_word(argv: list[str]) -> list[str]:
    """`-b NODE` as journalctl reads it: the next word is the boot only if it is a number."""
    found: list[str] = []
    for word, after in zip(argv, [*argv, ""][1:], strict=True):
        if found and found[-1] in BOOT:
            found[-1:] = [f"--boot={word}"]
        elif word in BOOT and not re.fullmatch(r"[+-]?\d+", after):
            found.append("--boot=0")
        else:
            found.append(word)
    return found


def _boot(text: str) -> int:
    if not re.fullmatch(r"[+-]?\d{1,6}", text):
        raise argparse.ArgumentTypeError("is the number of a boot: 0, -1")
    return int(text)


def _number(text: str) -> int:
    if (found := whole(text)) is None:
        raise argparse.ArgumentTypeError("is a number of lines")
    return found


def on_nodes(kubectl: Kubectl, options: argparse.Namespace) -> int:
    """Exit code: that of the command on the node. Raises UserError."""
    end_in_order()
    if options.command == "support":
        return support(kubectl, options.node, options.output)
    node = find(kubectl, options.node)
    if options.command == "shell":
        with on_node(kubectl, node, LONG_SECONDS) as there:
            return there.attach(["bash", "-l"])
    seconds = LONG_SECONDS if options.command == "logs" and options.follow else SHORT_SECONDS
    with on_node(kubectl, node, seconds) as there:
        return there.show(PROGRAMS[options.command](options))


def end_in_order() -> None:
    """Clean up on a termination signal, too."""
    for each in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, lambda number, _: sys.exit(128 + number))


def journal(options: argparse.Namespace) -> list[str]:
    """The command on the node."""
    boot = options.boot
    if boot is None and options.since is None:
        boot = 0
    return [
        *("journalctl", "--no-pager", "--quiet"),
        *(f"--unit={each}" for each in options.unit),
        *([f"--lines={options.lines}"] if options.lines is not None else []),
        *([f"--since={options.since}"] if options.since is not None else []),
        *([f"--boot={boot}"] if boot is not None else []),
        *(["--follow"] if options.follow else []),
    ]


PROGRAMS: dict[str, Callable[[argparse.Namespace], list[str]]] = {
    "status": lambda _: ["k3os", "status"],
    "config": lambda _: ["k3os", "config", "--dump", "--provenance"],
    "logs": journal,
}
