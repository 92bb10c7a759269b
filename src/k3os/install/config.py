"""The configuration to install: fetched, merged with the kernel's command line, checked.

It never writes. A configuration with an error is refused, and so is one with which nobody could log
in.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from k3os.config.check import check_cmdline, check_text, read_limited
from k3os.config.dump import dump_yaml
from k3os.config.load import Config
from k3os.config.merge import merge
from k3os.config.schema import BY_PATH
from k3os.config.value import Problem, Value
from k3os.config.yamltext import LARGEST
from k3os.errors import UserError
from k3os.generation.install_medium import InstallMedium
from k3os.system.console import Say
from k3os.system.http import shown
from k3os.system.plural import counted

# settings of the installation itself are not installed
SECTION = "k3os.install."
HEADER = "# Written by the installer of k3OS: {}.\n"
LOGINS = ("k3os.password", "ssh_authorized_keys", "k3os.data_sources")
# these on a command line are for the installation only, if it also names a configuration
FOR_THE_BOOT = ("init_cmd", "boot_cmd", "run_cmd", "ready_cmd", "k3os.data_sources")


def compose(
    medium: str,
    url: str,
    cmdline: str,
    say: Say,
    *,
    answers: str = "",
    tries: int = 8,
    with_cmdline: bool = True,
    k3s_version: str = "",
) -> bytes:
    """The bytes of the new /k3os/system/config.yaml.

    medium: path of the running medium's config.yaml, used if url is "" and it exists. Both are
    overridden by the part of the command line that is meant to last (nothing with with_cmdline
    False), and that by answers (the text of a config.yaml). k3s_version: of the k3s to be
    installed, "" if not known yet. Raises UserError.
    """
    if url:
        text, name = fetch(url, tries=tries), shown(url)
    elif os.path.exists(medium):
        text, name = _read(medium), medium
    else:
        text, name = b"", "config.yaml"
    values, problems = check_text(text, name) if text else ({}, [])
    given, more = check_cmdline(cmdline)
    answered, wrong = check_text(answers.encode(), "answers")
    from k3os.config.advice import advice, of_cmdline

    more += [*of_cmdline(cmdline), *advice(values, k3s_version), *advice(given, k3s_version)]
    _refuse_errors([*problems, *more, *wrong], say, k3s_version)
    given = lasting(given, say, has_url=bool(url), refused=not with_cmdline)
    merged = merge(merge(values, hashed(given)), hashed(answered))
    check_login(merged)
    if not given and not answered:
        return text
    parts = ((name, text), ("the kernel's command line", given), ("your answers", answered))
    what = " and ".join(title for title, used in parts if used)
    return (HEADER.format(what) + dump_yaml(Config(merged), show_secrets=True)).encode()


def lasting(given: dict[str, Value], say: Say, *, has_url: bool, refused: bool) -> dict[str, Value]:
    """The part of the command line to install; the keys of both parts are reported."""
    given = {
        path: given[path] for path in BY_PATH if path in given and not path.startswith(SECTION)
    }
    taken = {} if refused else dict(given)
    if has_url:
        taken = {path: value for path, value in taken.items() if path not in FOR_THE_BOOT}
    left_out = [path for path in given if path not in taken]
    if taken:
        hint = "k3os.install.no_cmdline, or --no-cmdline, leaves it out"
        say(f"also installed from the kernel command line: {', '.join(taken)} ({hint})")
    if left_out:
        why = "it was for this boot" if not refused else "as you asked"
        say(f"not installed from the kernel command line: {', '.join(left_out)} ({why})")
    return taken


def hashed(values: dict[str, Value]) -> dict[str, Value]:
    """The same values with a hashed password: a clear one must not be stored on a disk."""
    from k3os.phases import password

    value = values.get(password.KEY)
    if value is None or password.is_crypt(str(value.data)):
        return values
    return {**values, password.KEY: Value(password.hashed(str(value.data)), value.place)}


def check(text: bytes, name: str, say: Say, k3s_version: str = "") -> None:
    """Report problems; raise UserError if there is an error."""
    from k3os.config.advice import advice

    values, problems = check_text(text, name)
    _refuse_errors([*problems, *advice(values, k3s_version)], say, k3s_version)


def k3s_version(what: InstallMedium) -> str:
    """The version of k3s on the medium; without one, a node fetches the pinned one."""
    from k3os.k3s.source import pinned

    return what.versions.get("k3s") or pinned().version


def check_for_k3s(values: dict[str, Value], say: Callable[[str], None], k3s_version: str) -> None:
    """Check again what was checked before this version was known, for errors that depend on it."""
    from k3os.config.advice import advice

    known = {str(problem) for problem in advice(values)}
    problems = [each for each in advice(values, k3s_version) if str(each) not in known]
    _refuse_errors([each for each in problems if each.is_error], say, k3s_version)


def fetch(url: str, *, tries: int = 8) -> bytes:
    """A config.yaml from http, https, ftp, tftp or a path. Raises UserError with the address.

    `#sha256=` after an address is verified: commands in the file will run as root.
    """
    scheme, separator, _ = url.partition("://")
    if not separator or scheme.lower() not in _FROM:
        return _local(url)
    import hashlib

    from k3os.k3s.source import split_checksum

    address, wanted = split_checksum(url, "config_url")
    data = _FROM[scheme.lower()](address, tries)
    digest = hashlib.sha256(data).hexdigest()
    if wanted and digest != wanted:
        raise UserError(
            f"does not match: its SHA-256 is {digest}, not {wanted}",
            "was it changed on its way, or at its source without updating the sum?",
            shown(address),
        )
    return data


def _by_http(url: str, tries: int) -> bytes:
    from k3os.system import http

    return http.get(url, limit=LARGEST, tries=tries)


def _by_ftp(url: str, tries: int) -> bytes:
    from k3os.system import ftp

    return ftp.get(url, limit=LARGEST, tries=tries)


def _by_tftp(url: str, tries: int) -> bytes:
    from k3os.system import tftp

    return tftp.get(url, limit=LARGEST, tries=tries)


_FROM = {"http": _by_http, "https": _by_http, "ftp": _by_ftp, "tftp": _by_tftp}


def _local(url: str) -> bytes:
    path = url.removeprefix("file://")
    if not path.startswith("/"):
        raise UserError(
            f"{shown(url)!r} is not the address of a configuration",
            "give http://…, https://…, ftp://…, tftp://… or an absolute path (/.base/… on the "
            "boot medium)",
            "config_url",
        )
    return _read(path)


def _read(path: str) -> bytes:
    data, problem = read_limited(path)
    if problem is not None:
        raise UserError(problem.message, "is the path right?", path)
    return data


def _refuse_errors(problems: list[Problem], say: Say, k3s_version: str = "") -> None:
    for problem in problems:
        say(str(problem))
    count = sum(problem.is_error for problem in problems)
    if count:
        of_k3s = f"--k3s {k3s_version} " if k3s_version else ""
        raise UserError(
            f"the configuration has {counted(count, 'error')}, so nothing was done",
            f"fix it; `k3os config check {of_k3s}FILE` shows the same",
        )


def has_login(values: dict[str, Value]) -> bool:
    """Whether somebody can, or possibly can, log in to a node with this configuration."""
    return any(values[path].data for path in LOGINS if path in values)


def check_login(values: dict[str, Value]) -> None:
    """Refuse a configuration that would lock everybody out."""
    if not has_login(values):
        raise UserError(
            "nobody could log in to this installation: it has no password, no ssh key and no "
            "data source that may bring one",
            "give ssh_authorized_keys or k3os.password in the configuration or on the kernel's "
            "command line",
        )
