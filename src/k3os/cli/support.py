"""`k3os support`: one archive with this node's state, without secrets (k3os.node.support)."""

from __future__ import annotations

import os
import sys
import time

from k3os.cli import options
from k3os.errors import UserError

HELP = """\
usage: k3os support [--output FILE]

Make an archive for whoever helps you: status, configuration, journals of this boot and the one
before, systemd's units, network, disks, memory. Passwords, tokens and contents are masked; look
through it all the same before you give it away. `kubectl k3os support NODE...` does it from
elsewhere.

  --output FILE  where to write it; - is standard output; default k3os-support-NAME-TIME.tar.gz
"""


def main(argv: list[str]) -> int:
    """Exit code 0. Raises UserError."""
    words, given = options.read(HELP, argv)
    options.count(HELP, words, 0, 0)
    if os.geteuid() != 0:
        raise UserError("only root can read all of it", "write `sudo k3os support`")
    now, name = int(time.time()), os.uname().nodename
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now))
    path = given.get("--output", f"k3os-support-{name}-{stamp}.tar.gz")
    if path == "-" and sys.stdout.isatty():
        raise UserError("an archive cannot be printed to a terminal", "write `--output FILE`")
    from k3os.config.load import load_config
    from k3os.node.redaction import known_secrets
    from k3os.node.support import archive, collect

    config, _ = load_config(cloud=True)
    data = archive(name, collect(known_secrets(config)), now)
    if path == "-":
        sys.stdout.buffer.write(data)
        return 0
    from k3os.system.files import atomic_write

    try:
        atomic_write(path, data, mode=0o600)
    except OSError as error:
        raise UserError(f"it cannot be written: {error.strerror}", where=path) from error
    print(path)
    return 0
