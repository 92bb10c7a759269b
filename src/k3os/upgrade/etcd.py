"""Snapshots of k3s' embedded etcd: `k3s etcd-snapshot`, docs.k3s.io/cli/etcd-snapshot.

This must work with every version, but they treat the server's configuration file differently. Up
to v1.22.3 the command fails at the first key for which it has no flag, and ignores the others,
since the flags of a sub-command are reset to their defaults; later ones skip unknown keys
(k3s#4449). From v1.27.13, v1.28.9, v1.29.4 and v1.30.0 on, the running server takes the snapshot
(k3s#9816); until v1.30.2 that was the one that `server` names (k3s#10513). So the command gets its
own file, and as arguments what all versions accept. No version needs the token: the newer ones
read it from the server's own file.
"""

from __future__ import annotations

import os

from k3os.errors import UserError
from k3os.k3s.settings import Settings, data_directory, is_true, last
from k3os.system.numbers import are_digits, clamped
from k3os.system.run import CommandError, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from k3os.system.console import Say

NAME = "before-upgrade"  # k3s appends the node and the time
KEPT = 3
SECONDS = 300
FILE = "/run/k3os/etcd-snapshot.yaml"
S3 = "etcd-s3"
DIRECTORY = "etcd-snapshot-dir"
# key of the server -> flag that every version of the command has
ARGUMENTS = {
    "node-name": "node-name",
    "data-dir": "data-dir",
    DIRECTORY: "dir",
    **{
        f"{S3}{end}": f"{S3}{end}"
        for end in (
            *("", "-endpoint", "-endpoint-ca", "-skip-ssl-verify", "-bucket", "-region"),
            *("-folder", "-insecure", "-timeout"),
        )
    },
}
SECRETS = {f"{S3}-access-key": "AWS_ACCESS_KEY_ID", f"{S3}-secret-key": "AWS_SECRET_ACCESS_KEY"}
# suffixes of keys for the snapshots that k3s takes by itself
SCHEDULE = ("name", "schedule-cron", "retention", "reconcile-interval")
# they would point the command to another server or configuration
NOT_OURS = ("K3S_URL", "K3S_TOKEN", "K3S_TOKEN_FILE", "K3S_NODE_NAME")
REQUESTS_SINCE = (1, 27)  # from v1.27.13 on, the running server is asked


def is_used(directory: str) -> bool:
    """Whether k3s keeps its data in etcd; directory: of its datastore.

    The same test as in k3s: the directory `etcd` alone also exists with sqlite.
    """
    return os.path.isdir(f"{directory}/etcd/member/wal")


def snapshot(version: str, settings: Settings, say: Say) -> str:
    """Have k3s write one, and remove the oldest of ours. Raises UserError."""
    local = {key: value for key, value in settings.items() if not key.startswith(S3)}
    wanted = settings if is_true(settings, S3) else local
    save = ["save", "--name", NAME]
    try:
        _k3s(save, version, wanted)
    except CommandError as error:
        if wanted is local:
            raise _none(error) from error
        say(f"etcd's snapshot did not get to S3, it stays on this node: {error}")
        try:
            _k3s(save, version, local)
        except CommandError as second:
            raise _none(second) from second
    say(f"etcd wrote the snapshot {NAME}-…: `k3s etcd-snapshot ls`")
    for place in (local, wanted) if wanted is not local else (local,):
        prune = ["prune", "--name", NAME, "--snapshot-retention", str(KEPT)]
        try:
            _k3s(prune, version, place)
        except CommandError as error:
            say(f"older snapshots of etcd stay: {error}")
    return NAME


def _none(error: CommandError) -> UserError:
    return UserError(f"etcd gave no snapshot: {error}", "nothing was switched; is k3s running?")


def _k3s(command: list[str], version: str, settings: Settings) -> None:
    """Run a sub-command of `k3s etcd-snapshot`. Raises CommandError."""
    from k3os.config.dump import double_quoted
    from k3os.system.files import atomic_write

    arguments, keys = _told(command[0], version, settings)
    environment: dict[str, str | None] = dict.fromkeys(NOT_OURS)
    environment |= {name: last(settings, key) for key, name in SECRETS.items() if key in settings}
    environment["K3S_CONFIG_FILE"] = FILE if keys else os.devnull
    if keys:
        lines = [f"{key}: {double_quoted(value)}\n" for key, value in keys.items()]
        atomic_write(FILE, "".join(lines).encode(), mode=0o600)
    try:
        run(["k3s", "etcd-snapshot", *command, *arguments], env=environment, timeout=SECONDS)
    finally:
        if keys:
            os.unlink(FILE)


def _told(command: str, version: str, settings: Settings) -> tuple[list[str], dict[str, str]]:
    """The arguments that every version has, and the keys of the configuration file."""
    arguments = dict(ARGUMENTS)
    keys = {
        key: last(settings, key)
        for key in settings
        if key.startswith((f"{S3}-", "etcd-snapshot-"))
        and key not in (*ARGUMENTS, *SECRETS, *(f"etcd-snapshot-{end}" for end in SCHEDULE))
    }
    if command != "save" and arguments.pop(DIRECTORY) and DIRECTORY in settings:
        keys[DIRECTORY] = last(settings, DIRECTORY)  # v1.22.3 has no flag for it there
    if _minor(version) >= REQUESTS_SINCE and (server := _server(settings)):
        keys |= {"etcd-server": server, "server": server}  # the unknown one is skipped
    found = [
        f"--{flag}={last(settings, key)}" for key, flag in arguments.items() if key in settings
    ]
    return found, keys


def _minor(version: str) -> tuple[int, ...]:
    return tuple(clamped(part) for part in version.lstrip("v").split(".")[:2] if are_digits(part))


def _server(settings: Settings) -> str:
    """This node's own address if it is not the default, else ""."""
    address, port = last(settings, "bind-address"), last(settings, "https-listen-port")
    if address in ("", "0.0.0.0", "::"):
        if port in ("", "6443"):
            return ""
        address = "127.0.0.1"
    host = f"[{address}]" if ":" in address else address
    return f"https://{host}:{port or 6443}"


def how_to_restore(settings: Settings, *, root: str = "") -> str:
    """The commands that restore the newest of our snapshots."""
    data = data_directory(settings)
    directory = last(settings, DIRECTORY) or f"{data}/server/db/snapshots"
    snapshots = list(_snapshots(f"{root}{directory}"))
    path = f"{directory}/{snapshots[-1]}" if snapshots else "PATH"
    flags = ["--cluster-reset", f"--cluster-reset-restore-path={path}"]
    flags += [f"--data-dir={data}"] if "data-dir" in settings else []
    flags += [f"--{S3}=false"] if is_true(settings, S3) else []
    return (
        f"`k3s etcd-snapshot ls` lists etcd's snapshots, {NAME}-… among them. `systemctl stop k3s; "
        f"k3s server {' '.join(flags)}; systemctl start k3s` restores one; other servers then need "
        "an empty server/db to join again (docs.k3s.io/cli/etcd-snapshot)"
    )


def _snapshots(directory: str) -> Iterator[str]:
    """The names of our snapshots, oldest first."""
    if os.path.isdir(directory):
        names = [name for name in os.listdir(directory) if name.startswith(f"{NAME}-")]
        yield from sorted(names, key=lambda name: os.stat(f"{directory}/{name}").st_mtime)
