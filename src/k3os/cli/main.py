"""The `k3os` command: a table of subcommands, each imported only when it is called.

It must not import anything else at start: `k3os config --dump` has a time budget.
"""

import os
import sys

from k3os.errors import ERROR_FILE, UserError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

# name -> (module, where it runs, one line of help). The module has main(argv) -> exit code.
COMMANDS: dict[str, tuple[str, str, str]] = {
    "build": ("k3os.cli.build", "workstation", "build the ISO, kernel, initrd, rootfs, sums"),
    "run": ("k3os.cli.run", "workstation", "boot the built ISO in a virtual machine"),
    "remaster": ("k3os.cli.remaster", "workstation", "make an ISO with another config or k3s"),
    "image": ("k3os.cli.image", "workstation", "make a disk image with an installed k3OS"),
    "config": ("k3os.cli.config", "anywhere", "show, check or apply the configuration"),
    "migrate": (
        "k3os.cli.migrate",
        "anywhere",
        "convert a config.yaml of the original k3OS",
    ),
    "status": ("k3os.cli.status", "node", "what was applied, what failed, versions, addresses"),
    "apply": ("k3os.cli.apply", "node", "carry out a request of the operator; called by its Job"),
    "report": ("k3os.cli.report", "node", "tell the cluster how this node is"),
    "support": ("k3os.cli.support", "node", "make an archive for support, without secrets"),
    "datasource": ("k3os.cli.datasource", "node", "show what each source of cloud data gives"),
    "install": ("k3os.cli.install", "node", "install the live system to a disk (also: os-config)"),
    "upgrade": ("k3os.cli.upgrade", "node", "change the versions of k3OS, kernel and k3s; go back"),
    "extension": ("k3os.cli.extension", "anywhere", "add, remove, list, build system extensions"),
    "confirm": ("k3os.cli.confirm", "node", "end the trial of a new version; called by the system"),
    "operator": ("k3os.cli.operator", "cluster", "roll NodePools out to their nodes"),
    "overlay": ("k3os.cli.overlay", "node", "remove k3OS from on top of another system"),
    "reset": ("k3os.cli.reset", "node", "factory reset at the next boot"),
    "grow": ("k3os.cli.grow", "node", "grow the state partition to fill its disk"),
    "network": ("k3os.cli.network", "node", "show interfaces, addresses, routes, and their origin"),
    "clock": ("k3os.cli.clock", "node", "wait for a time server if the clock was wrong"),
    "k3s": ("k3os.cli.k3s", "anywhere", "fetch k3s if the image has none; print its checksums"),
    "local": ("k3os.cli.local", "node", "run the scripts of /etc/rc.local and /etc/local.d"),
    "shutdown": ("k3os.cli.shutdown", "node", "end pods at shutdown; called by the system"),
    "completion": ("k3os.cli.completion", "anywhere", "completions of `k3os` for bash, zsh, fish"),
    "init": ("k3os.cli.init", "initrd", "PID 1 of the initrd; nobody calls it by hand"),
}

# these change or show the node that they run on; of `config` and `k3s`, only some actions do
OF_NODES = (
    *("apply", "report", "confirm", "overlay", "reset", "grow", "network", "local", "shutdown"),
    *("upgrade", "status", "support"),
)
# these download with the node's k3os.environment; `config` applies it, too
DOWNLOADING = ("upgrade", "install", "k3s", "datasource", "apply")


def usage() -> str:
    """The text of `k3os --help`."""
    lines = ["usage: k3os [--debug] COMMAND [...]", "", "commands:"]
    for name, (_, runs_where, text) in COMMANDS.items():
        lines.append(f"  {name:<10} {text} ({runs_where})")
    lines += ["", "`k3os COMMAND --help` explains one command; `k3os --version` the version."]
    return "\n".join(lines)


def main(argv: list[str]) -> int:
    """Run one subcommand; returns the exit code (0 fine, 1 a user's error, 2 wrong usage)."""
    return call("k3os", _main, argv)


def call(program: str, command: "Callable[[list[str]], int]", argv: list[str]) -> int:
    """Run a command; an error that a user can fix becomes one line and exit code 1."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed: `k3os … >&-`
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - until the end
    debug = bool(os.environ.get("K3OS_DEBUG"))
    if argv and argv[0] == "--debug":
        debug, argv = True, argv[1:]
    try:
        code = command(argv)
        sys.stdout.flush()  # here, where a closed pipe is expected
        return code
    except BrokenPipeError:  # `k3os … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except UserError as error:
        if debug:
            raise
        print(f"{program}: error: {error}", file=sys.stderr)
        if path := os.environ.get(ERROR_FILE):
            hand_over(error, path)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"\n{program}: interrupted", file=sys.stderr)
        return 130


def leave(code: int) -> "NoReturn":
    """End the process with this exit code, and let the kernel free what Python would take apart
    object by object, a sixth of a short command's time. Only output is flushed."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        code = code or 1
    os._exit(code)


def hand_over(error: UserError, path: str) -> None:
    """Pass the error to the k3os that called this one, which reports it as its own."""
    import json

    from k3os.system.files import atomic_write

    try:
        atomic_write(path, json.dumps(error.as_dict()).encode(), mode=0o600)
    except OSError as reason:
        print(f"k3os: {path} cannot be written: {reason.strerror}", file=sys.stderr)


def _main(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(usage())
        return 0 if argv else 2
    if argv[0] == "--version":
        from k3os import __version__

        print(f"k3os {__version__}")
        return 0
    if argv[0] not in COMMANDS:
        print(f"k3os: unknown command {argv[0]!r}\n\n{usage()}", file=sys.stderr)
        return 2
    path, runs_where, _ = COMMANDS[argv[0]]
    try:
        module = __import__(path, fromlist=["main"])
    except ModuleNotFoundError as error:
        if error.name != path:
            raise
        hint = f"call it where it runs: {runs_where}"
        raise UserError(f"`{argv[0]}` is not on this machine", hint) from error
    if {"-h", "--help"} & {*argv[1:]} and hasattr(module, "HELP"):
        print(module.HELP, end="")
        return 0
    if argv[0] in OF_NODES:
        from k3os.system.os_release import check_node

        check_node()
    if argv[0] in DOWNLOADING:
        from k3os.phases.environment import adopt_configured

        adopt_configured()
    if runs_where in ("node", "anywhere") and os.geteuid() == 0:
        # files that root writes here belong to the node, or to the one being installed, and must be
        # readable whatever the shell's umask; secret files set their own mode
        os.umask(0o022)
    code: int = module.main(argv[1:])
    return code
