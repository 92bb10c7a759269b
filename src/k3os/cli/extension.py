"""`k3os extension`: programs, units and drivers that a node has in addition to its image
(k3os.node.extensions), and building such an extension (k3os.image.extension)."""

from __future__ import annotations

from k3os.cli import options
from k3os.errors import UserError

HELP = """\
usage: k3os extension add FILE|URL [--sha256 HEX] [--reboot]
       k3os extension remove NAME [--reboot]
       k3os extension list
       k3os extension build NAME

System extensions (systemd-sysext): files for /usr and /opt in one image, NAME.raw. `add` and
`remove` count from the next boot on, which is a trial, as after `k3os upgrade`: if that is not
healthy, the extensions of before come back. An upgrade takes them along.

  add FILE|URL      add an extension, or replace the one of its name. At a URL the file URL.sha256
                    beside it must be signed by a key that this node trusts.
  remove NAME       the node does without it
  list              each extension, and whether it is active
  build NAME        on a workstation, `make extension`: make one; the variables PACKAGES, FILES,
                    UNITS and VERSION say of what

  --sha256 HEX      what the file must be; then nothing has to be signed
  --verify-key FILE with a URL: also trust these public keys (OpenSSH)
  --insecure        take what a URL has without a sum
  --reboot          reboot at once
"""
WORDS = {"add": "SOURCE", "remove": "NAME", "build": "NAME"}


def main(argv: list[str]) -> int:
    """Exit code 0, also if there was nothing to do. Raises UserError."""
    words, given = options.read(HELP, argv)
    action = words[0]
    options.count(HELP, words, 1 + (action in WORDS), 1 + (action in WORDS))
    given |= {WORDS[action]: words[1]} if action in WORDS else {}
    if action == "build":
        return build(given["NAME"])
    from k3os.system.os_release import check_node

    check_node()
    from k3os.node import extensions

    if action == "list":
        for line in extensions.listed():
            print(line)
        return 0
    from k3os.node import upgrade
    from k3os.phases.environment import adopt_configured

    adopt_configured()
    return upgrade.run(given, extensions.add if action == "add" else extensions.remove)


def build(name: str) -> int:
    """Build dist/artifacts/NAME-ARCH.raw from environment variables. Raises UserError."""
    try:
        from k3os.image.extension import make
        from k3os.image.extension_request import read_request
        from k3os.image.progress import Progress
        from k3os.image.settings import from_environment
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("k3os"):
            message, hint = "extensions are not built on a node", "call it on a workstation"
        else:
            message, hint = f"the build needs the Python package {error.name}", "run `make setup`"
        raise UserError(message, hint) from error
    import os

    from k3os.cli.build import explained

    request, settings = read_request(name, os.environ), from_environment(os.environ)
    with Progress(settings.artifacts.parent / "logs" / f"extension-{name}.log") as progress:
        with explained(progress, settings):
            artifacts = make(request, settings, progress)
    progress.artifacts(artifacts)
    return 0
