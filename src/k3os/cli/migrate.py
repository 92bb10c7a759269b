"""`k3os migrate`: convert a config.yaml that was written for the original k3OS."""

from __future__ import annotations

import os
import sys

from k3os.cli import options
from k3os.errors import UserError

HELP = """\
usage: k3os migrate [--write] FILE

Print the new form of a config.yaml that was written for the original k3OS: names as the reference
has them, k3s arguments one by one and under their present names, absolute paths. Comments and
everything else stay as they are. Standard error lists what was changed, and what
`k3os config check` still finds.

  --write   write it to FILE instead; the old one becomes FILE.old
"""


def main(argv: list[str]) -> int:
    """Exit code 0, 1 when the result has an error, 2 for wrong usage."""
    paths, given = options.read(HELP, argv)
    options.count(HELP, paths, 1, 1)
    from k3os.config.check import check_data, read_limited
    from k3os.config.migrate import migrate
    from k3os.k3s.source import pinned

    path = paths[0]
    data, unreadable = read_limited(path)
    if unreadable is not None:
        raise UserError(unreadable.message, "is the path right?", path)
    text, changes = migrate(data, path)
    new = text.encode()
    if "--write" not in given:
        sys.stdout.write(text)
        sys.stdout.flush()
    elif new != data:
        _write(path, data, new)
    for line in changes:
        print(line, file=sys.stderr)
    name = path if "--write" in given else f"{path} (new)"
    problems = check_data(new, name, pinned().version)
    for problem in problems:
        print(problem, file=sys.stderr)
    if not changes:
        print(f"{path}: nothing to change", file=sys.stderr)
    return 1 if any(problem.is_error for problem in problems) else 0


def _write(path: str, data: bytes, new: bytes) -> None:
    from k3os.system.files import atomic_write

    old = f"{path}.old"
    try:
        attributes = os.stat(path)
        if os.path.lexists(old):
            raise UserError("is there already", "move it away", old)
        uid, gid = (attributes.st_uid, attributes.st_gid) if os.geteuid() == 0 else (-1, -1)
        for name, content in ((old, data), (os.path.realpath(path), new)):
            atomic_write(name, content, mode=attributes.st_mode & 0o777, uid=uid, gid=gid)
    except OSError as error:
        raise UserError(f"cannot be written: {error.strerror}", "", path) from None
