"""`k3os upgrade`: switch versions of k3OS, kernel and k3s, or go back (k3os.node.upgrade)."""

from __future__ import annotations

from k3os.cli import options
from k3os.node import upgrade

HELP = """\
usage: k3os upgrade [SRC] [--k3os SRC] [--k3s SRC] [options]
       k3os upgrade --kernel-args [--reboot | --no-reboot] [--dry-run]
       k3os upgrade --rollback [--with-data] [--reboot | --no-reboot]

Change the versions of this node. SRC is an ISO, a root file system tarball or a release directory
(path or http(s) URL); for --k3s also a k3s version, the URL or the path of k3s itself.

  SRC                k3OS, the kernel and k3s of that release
  --k3os SRC         k3OS and the kernel
  --k3s SRC          k3s
  --no-kernel        keep the kernel; --kernel: only the kernel of SRC
  --reboot           reboot at once; without it the new k3OS and kernel wait for the next boot.
                     A new k3s alone is started right away, pods keep running.
  --no-reboot        neither reboot nor restart k3s
  --dry-run          show what would be done
  --verify-key FILE  also trust these public keys (OpenSSH)
  --insecure         accept an unsigned release, and an unpinned k3s over plain http
  --allow-downgrade  accept an older version. The previous generation is used if it has just
                     this version: nothing is fetched then, and --k3os needs --expect
  --expect VERSION   refuse a SRC with another version of k3OS
  --kernel-args      keep the versions, and apply k3os.kernel_args. The node does this by itself,
                     except for arguments that have failed
  --rollback         go back to the previous generation
  --with-data        with --rollback: also restore the copy of the datastore from before k3s
                     changed (sqlite)
"""
EXCLUSIVE = (("--kernel", "--no-kernel"), ("--reboot", "--no-reboot"))


def main(argv: list[str]) -> int:
    """Exit code 0 also when there was nothing to do. Raises UserError."""
    given = parse(argv)
    if "--kernel-args" in given:
        from k3os.node import kernel_args

        return upgrade.run(given, kernel_args.renew)
    return upgrade.run(given, upgrade.rollback if "--rollback" in given else upgrade.upgrade)


def parse(argv: list[str]) -> dict[str, str]:
    """Option -> value ("yes" for a flag), the positional source as "SRC". Raises Usage."""
    words, given = options.read(HELP, argv)
    options.count(HELP, words, 0, 1)
    options.alone(HELP, given, *EXCLUSIVE)
    given |= dict(zip(["SRC"], words, strict=False))
    sources = [name for name in ("SRC", "--k3os", "--k3s") if name in given]
    if "--rollback" in given:
        allowed = {"--rollback", "--with-data", "--reboot", "--no-reboot"}
        if others := [name for name in given if name not in allowed]:
            raise options.wrong(HELP, f"--rollback and {others[0]} exclude each other")
        return given
    if "--with-data" in given:
        raise options.wrong(HELP, "--with-data goes with --rollback")
    if "--kernel-args" in given:
        allowed = {"--kernel-args", "--reboot", "--no-reboot", "--dry-run"}
        if others := [name for name in given if name not in allowed]:
            raise options.wrong(HELP, f"--kernel-args and {others[0]} exclude each other")
        return given
    if not sources:
        raise options.wrong(HELP, "a word is missing: SRC, --k3os, --k3s or --rollback")
    if "SRC" in given and len(sources) > 1:
        raise options.wrong(HELP, f"SRC and {sources[1]} exclude each other")
    return given
