"""`k3os upgrade`: other versions of k3OS, the kernel and k3s; and back (k3os.node.upgrade)."""

from __future__ import annotations

import sys

from k3os.node import upgrade

HELP = """\
usage: k3os upgrade [SRC] [--k3os SRC] [--k3s SRC] [options]
       k3os upgrade --rollback [--with-data] [--no-reboot]

Give this node other versions. SRC is an ISO, a root file system tarball or a release directory
(path or http(s) URL); for --k3s also a k3s version, the URL or the path of k3s itself.

  SRC                k3OS, the kernel and k3s of that release
  --k3os SRC         k3OS and the kernel
  --k3s SRC          k3s
  --no-kernel        keep the kernel; --kernel: only the kernel of SRC
  --reboot           reboot at once; without it the new k3OS and kernel wait for the next boot.
                     A new k3s alone is started right away, pods go on.
  --no-reboot        neither reboot nor restart k3s
  --dry-run          show what would be done
  --verify-key FILE  also trust these public keys (OpenSSH)
  --insecure         take an unsigned release; a k3s over plain http whose sum is not pinned
  --allow-downgrade  take an older one
  --expect VERSION   refuse a SRC with another k3OS than this
  --rollback         go back to the previous generation
  --with-data        with --rollback: also put the copy of the datastore back that was taken
                     before k3s changed (sqlite)
"""
FLAGS = (
    *("--kernel", "--no-kernel", "--reboot", "--no-reboot", "--dry-run", "--insecure"),
    *("--allow-downgrade", "--rollback", "--with-data"),
)
VALUES = ("--k3os", "--k3s", "--verify-key", "--expect")
EXCLUSIVE = (("--kernel", "--no-kernel"), ("--reboot", "--no-reboot"))


def main(argv: list[str]) -> int:
    """Exit code 0 also when there was nothing to do; 2 for wrong usage. Raises UserError."""
    if argv in (["-h"], ["--help"]):
        print(HELP, end="")
        return 0
    options = parse(argv)
    if options is None:
        print(HELP, end="", file=sys.stderr)
        return 2
    return upgrade.run(options)


def parse(argv: list[str]) -> dict[str, str] | None:
    """Option to value ("yes" for a flag), the positional source as "SRC"; None: wrong usage."""
    options: dict[str, str] = {}
    rest = list(argv)
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        if name in FLAGS and not equals:
            options[name] = "yes"
        elif name in VALUES and (equals or rest):
            options[name] = value if equals else rest.pop(0)
        elif not name.startswith("-") and "SRC" not in options:
            options["SRC"] = name + equals + value
        else:
            return None
    if any(all(each in options for each in pair) for pair in EXCLUSIVE):
        return None
    sources = [name for name in ("SRC", "--k3os", "--k3s") if name in options]
    if "--rollback" in options:
        allowed = {"--rollback", "--with-data", "--reboot", "--no-reboot"}
        return options if set(options) <= allowed else None
    if not sources or "--with-data" in options or ("SRC" in options and len(sources) > 1):
        return None
    return options
