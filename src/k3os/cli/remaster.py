"""`k3os remaster`: change the configuration, command line or k3s of an ISO without a build."""

from __future__ import annotations

import argparse
import signal
from pathlib import Path

from k3os.cli.build import check_config
from k3os.errors import UserError
from k3os.system.run import CommandError

EPILOG = """\
The new ISO boots like the original one: BIOS and UEFI, Secure Boot, CD and USB stick. Without
any option it is the same system. Kernel parameters are added to every entry of the menu;
k3os.mode=install makes "Install k3OS to disk" the default entry.

k3os remaster k3os-amd64.iso node-1.iso --config node-1.yaml
k3os remaster k3os-amd64.iso new.iso --cmdline 'k3os.mode=install k3os.install.silent'
"""


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="k3os remaster",
        description="Make a new ISO from a k3OS ISO, with other contents. Root is not needed.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("source", type=Path, metavar="IN.iso")
    add("target", type=Path, metavar="OUT.iso")
    add("--config", type=Path, metavar="FILE", help="the new config.yaml; it is checked first")
    add("--cmdline", default="", metavar="TEXT", help="kernel parameters to add to the menu")
    add("--k3s", type=Path, metavar="PATH", help="the k3s executable, instead of the ISO's")
    add(
        *("--airgap",),
        nargs="+",
        action="extend",
        default=[],
        metavar="PATH",
        help="image archives that k3s imports when it starts, besides those of the ISO",
    )
    add("--sign-key", type=Path, metavar="KEY", help="sign it for `k3os upgrade` (OpenSSH)")
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, _terminate)
    check(options.config, options.cmdline)
    from k3os.image.remaster import RemasterRequest, explain, remaster

    request = RemasterRequest(
        options.source,
        options.target,
        options.config,
        options.cmdline,
        options.k3s,
        tuple(options.airgap),
        options.sign_key,
    )
    try:
        remaster(request, print)
    except CommandError as error:
        raise explain(error) from error
    except OSError as error:
        where = str(error.filename or "")
        raise UserError(error.strerror or str(error), "no new ISO was written", where) from error
    return 0


def check(config: Path | None, cmdline: str) -> None:
    """Refuse what would be an error on the node."""
    import sys

    from k3os.config.check import check_files

    check_config(str(config) if config else None, "--config")
    problems = check_files([], cmdline)
    for problem in problems:
        print(problem, file=sys.stderr)
    if any(problem.is_error for problem in problems):
        raise UserError("the kernel parameters have errors", "fix the lines above", "--cmdline")


def _terminate(number: int, frame: object) -> None:
    raise KeyboardInterrupt  # as for Ctrl-C: unfinished files are removed
