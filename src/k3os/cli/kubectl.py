"""`kubectl k3os`: follow, pause and undo a rollout, list all nodes in one table, and run commands
on a node (kubectl_node.py).

A plugin of kubectl (kubernetes.io, "Extend kubectl with plugins"): an executable `kubectl-k3os` in
PATH. It talks to the API through kubectl. This module writes nothing but the NodePool.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from typing import Any

from k3os import names
from k3os.cli.kubectl_diff import diff
from k3os.cli.kubectl_history import retry, show_history, undo
from k3os.cli.kubectl_node import ON_NODES, add_parsers, boots_as_one_word, on_nodes
from k3os.cli.kubectl_restart import RESTARTS, restarts
from k3os.cli.kubectl_restart import add_parsers as add_restarts
from k3os.cli.kubectl_text import news, news_of_trouble, node_table, picture
from k3os.cli.main import call
from k3os.cluster.duration import seconds
from k3os.cluster.kubectl import NODES, POOLS, Kubectl, NotThere, follow
from k3os.cluster.node import parse_node
from k3os.cluster.progress import Progress, ended, progress
from k3os.errors import UserError
from k3os.system.numbers import whole
from k3os.system.screen import Screen, can_redraw, printable

FAILED, UNFINISHED, TIMED_OUT = 1, 3, 124
EPILOG = """\
exit codes: 0 fine; `rollout status`: every node is up to date; `diff`: no difference
            `status`, `logs`, `config`, `shell`: what the command on the node ended with
            1 an error; `rollout status`: the rollout failed, or nodes belong to two NodePools;
              `diff`: there are differences; `reboot`, `rollback`,
              `upgrade`: the node is back, but unhealthy or with other versions
            2 wrong usage; `diff`: an error
            3 `rollout status --watch=false`: it is not over
          124 `rollout status --timeout`: it was not over in that time
"""
DIFF_EPILOG = """\
exit codes, as those of `kubectl diff`: 0 no difference, 1 differences, 2 an error
"""
Body = Mapping[str, Any]
# kubectl's options that select the cluster and the user
HANDED_ON = ("--context", "--cluster", "--user", "--kubeconfig", "--namespace")


def entry() -> None:
    """What the executable `kubectl-k3os` of a workstation calls."""
    sys.exit(main(sys.argv[1:]))


def main(argv: list[str]) -> int:
    """Exit code: see EPILOG."""
    return call("kubectl k3os", _main, argv)


def _main(argv: list[str]) -> int:
    options = parse(argv)
    given = ((name, getattr(options, name[2:], None)) for name in HANDED_ON)
    kubectl = Kubectl(tuple(f"{name}={value}" for name, value in given if value))
    if options.command == "nodes":
        return show_nodes(kubectl)
    if options.command == "diff":
        return diff(kubectl, options.filename)
    if options.command in RESTARTS:
        return restarts(kubectl, options)
    if options.command in ON_NODES:
        return on_nodes(kubectl, options)
    name = options.name.rpartition("/")[2]  # nodepool/workers works, too, as in kubectl
    if options.action == "status":
        return show_rollout(kubectl, name, timeout=options.timeout, watch=options.watch)
    if options.action == "history":
        return show_history(kubectl, name, options.revision)
    if options.action == "retry":
        return retry(kubectl, name)
    if options.action == "undo":
        return undo(kubectl, name, options.to_revision, allow=options.allow_rollback)
    return pause(kubectl, name, paused=options.action == "pause")


def parse(argv: list[str]) -> argparse.Namespace:
    """The options; on wrong ones argparse itself ends the program (exit code 2)."""
    # as in kubectl, --watch takes a value only with "="
    argv = ["--watch=true" if word == "--watch" else word for word in argv]
    return parser().parse_args(boots_as_one_word(argv))


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    shared = _handed_on(HANDED_ON)
    found = argparse.ArgumentParser(
        prog="kubectl k3os",
        description="The nodes and NodePools of k3OS.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = found.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("nodes", parents=[shared], help="a table of all nodes")
    _add_diff(commands, shared)
    # these always use the operator's namespace, and journalctl's -n means something else
    add_parsers(commands, _handed_on(HANDED_ON[:-1]))
    add_restarts(commands, _handed_on(HANDED_ON[:-1]), _duration)
    rollout = commands.add_parser("rollout", help="a NodePool's rollout: follow, pause, undo it")
    actions = rollout.add_subparsers(dest="action", required=True, metavar="ACTION")
    texts = {
        "status": "follow it, node by node, until it is over",
        "pause": "finish the nodes that have been started, start no others",
        "resume": "continue after a pause",
        "retry": "check a canary's failed gates again, or continue in spite of sick workloads",
        "history": "its earlier revisions: who changed what, and when",
        "undo": "go back to an earlier revision",
    }
    for action, text in texts.items():
        one = actions.add_parser(
            action,
            parents=[shared],
            help=text,
            description=text,
            epilog=EPILOG if action == "status" else None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        one.add_argument("name", metavar="NAME", help="name of the NodePool")
        if action == "history":
            one.add_argument(
                "--revision",
                type=_number,
                metavar="N",
                help="show this revision in full, with its configuration",
            )
        if action == "undo":
            one.add_argument(
                "--to-revision",
                type=_number,
                metavar="N",
                help="the revision to go back to (default: the one before; while a canary is not "
                "over, the last that was completed)",
            )
            one.add_argument(
                "--allow-rollback",
                action="store_true",
                help="allow older versions: sets spec.strategy.rollback to Allow",
            )
        if action == "status":
            one.add_argument(
                *("--timeout", "-t"),
                type=_duration,
                metavar="DURATION",
                help="give up after this time: 10m, 1h30m (default: never)",
            )
            one.add_argument(
                "--watch",
                type=_boolean,
                default=True,
                metavar="true|false",
                help="false: show the status once (default true)",
            )
    return found


def _add_diff(commands: Any, shared: argparse.ArgumentParser) -> None:
    text = "what applying NodePools would change on which node, and what that costs"
    one = commands.add_parser(
        "diff",
        parents=[shared],
        help=text,
        description=f"{text}; nothing is changed.",
        epilog=DIFF_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    one.add_argument(
        *("-f", "--filename"),
        action="append",
        required=True,
        metavar="FILE",
        help="the NodePools, as for `kubectl apply`: a file, a directory, an address, -",
    )


def _handed_on(options: Sequence[str]) -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    group = shared.add_argument_group("passed on to kubectl")
    for name in options:
        words = ["-n", name] if name == "--namespace" else [name]
        group.add_argument(*words, metavar=name[2:].upper())
    return shared


def _duration(text: str) -> int | None:
    if text in ("0", "0s"):  # kubectl's notation for "never"
        return None
    try:
        return seconds(text if (number := whole(text)) is None else number, "--timeout")
    except UserError as error:
        raise argparse.ArgumentTypeError(f"{error.message}; {error.hint}") from error


def _number(text: str) -> int:
    if not (found := whole(text)):
        raise argparse.ArgumentTypeError("is not a revision number")
    return found


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise argparse.ArgumentTypeError("is true or false")
    return text == "true"


def show_nodes(kubectl: Kubectl) -> int:
    """Works without NodePools, too: nodes report without an operator."""
    nodes = kubectl.objects(NODES)
    try:
        pools = kubectl.objects(POOLS)
    except NotThere:
        pools = {}
    views = [parse_node(nodes[name]) for name in sorted(nodes)]
    for line in node_table(views, list(pools.values())):
        print(printable(line))
    return 0


def pause(kubectl: Kubectl, name: str, *, paused: bool) -> int:
    """Raises UserError with kubectl's message."""
    change = f'{{"spec":{{"strategy":{{"paused":{str(paused).lower()}}}}}}}'
    kind = f"{names.PLURAL}.{names.GROUP}"
    answer = kubectl.run("patch", kind, name, "--type=merge", f"--patch={change}")
    already = " already" if "(no change)" in answer else ""
    if paused:
        print(
            f"{name} is{already} paused: nodes that have been started are finished, no others start"
        )
    else:
        print(f"{name} is not paused{' any more' if not already else ''}")
    return 0


def show_rollout(kubectl: Kubectl, name: str, *, timeout: int | None, watch: bool) -> int:
    """Follow it until it ends; exit code: see EPILOG. Raises UserError."""
    for each in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, lambda number, _: sys.exit(128 + number))
    try:
        if not watch:
            return _show_once(kubectl, name)
        if can_redraw(sys.stdout):
            with Screen() as screen:
                return _follow(kubectl, name, timeout, screen)
        return _follow(kubectl, name, timeout, None)
    except NotThere as error:
        raise UserError(
            "this cluster knows no NodePools",
            "is the operator installed? docs/explanation/operator.md#where-it-runs",
        ) from error


def _show_once(kubectl: Kubectl, name: str) -> int:
    seen = _progress(name, list(kubectl.objects(POOLS).values()), kubectl.objects(NODES).values())
    for text, _ in picture(seen, time.time(), sys.maxsize):
        print(printable(text))
    return {True: 0, False: FAILED, None: UNFINISHED}[ended(seen)]


def _progress(name: str, pools: Sequence[Body], nodes: Iterable[Body]) -> Progress:
    """Raises UserError when this NodePool does not exist (any more)."""
    known = sorted(each["metadata"]["name"] for each in pools)
    if name not in known:
        hint = f"there are: {', '.join(known)}" if known else "there is none at all"
        raise UserError(f"there is no NodePool {name!r}", hint)
    return progress(name, pools, nodes)


def _follow(kubectl: Kubectl, name: str, timeout: int | None, screen: Screen | None) -> int:
    started = time.monotonic()
    before: Progress | None = None
    told = ""
    with closing(follow(kubectl, (POOLS, NODES))) as sights:
        for sight in sights:
            now, elapsed = time.time(), time.monotonic() - started
            seen = _progress(
                name, list(sight[POOLS].objects.values()), sight[NODES].objects.values()
            )
            trouble = next((each.trouble for each in sight.values() if each.trouble), "")
            if screen is not None:
                _, height = screen.size()
                screen.draw(picture(seen, now, height, trouble, elapsed))
            else:
                for line in [*news(before, seen, now), *news_of_trouble(told, trouble, now)]:
                    print(printable(line), flush=True)
                told = trouble
            before = seen
            over = ended(seen)
            if over is not None:
                return 0 if over else FAILED
            if timeout is not None and elapsed >= timeout:
                print(f"kubectl k3os: not over after {timeout} s", file=sys.stderr)
                return TIMED_OUT
    raise AssertionError("follow has no end")
