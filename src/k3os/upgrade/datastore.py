"""Copies of k3s' datastore, taken before k3s changes its version.

sqlite: the online backup of https://sqlite.org/backup.html, whose copy is consistent while k3s
writes. etcd: k3os.upgrade.etcd. Agents have none, and an external one is not ours to copy.
"""

from __future__ import annotations

import os
import time

from k3os.errors import UserError
from k3os.generation.versions import is_minor_back
from k3os.k3s.settings import Settings, data_directory, last
from k3os.paths import STATE
from k3os.system.files import sync_directory
from k3os.upgrade import etcd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.config.load import Config
    from k3os.system.console import Say

SNAPSHOTS = f"{STATE}/snapshots"
KEPT = 3
SUFFIX = ".db"


def databases(settings: Settings) -> str:
    """The directory of k3s' datastore."""
    return f"{data_directory(settings)}/server/db"


def snapshot(version: str, settings: Settings, say: Say, *, root: str = "") -> str:
    """Copy the datastore; returns the copy's path, or its name with etcd, "" without a datastore.

    version: of the k3s that wrote it; settings: its own. Raises UserError: without a copy, nothing
    is switched.
    """
    directory = f"{root}{databases(settings)}"
    if etcd.is_used(directory):
        return etcd.snapshot(version, settings, say)
    endpoint = last(settings, "datastore-endpoint")
    if endpoint and not endpoint.startswith("sqlite"):
        say("the datastore is not on this node: you must copy it yourself")
        return ""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    database = f"{directory}/state.db"
    if not os.path.exists(database):
        return ""
    directory = root + SNAPSHOTS
    os.makedirs(directory, mode=0o700, exist_ok=True)
    path = f"{directory}/{stamp}-{version}{SUFFIX}"
    backup(database, path)
    for old in copies(root=root)[:-KEPT]:
        os.unlink(old)
    say(f"the datastore was copied to {path}")
    return path


def backup(database: str, path: str) -> None:
    """A consistent copy of a sqlite database that may be in use. Raises UserError."""
    import sqlite3

    unfinished = f"{path}.new"
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.close(descriptor)
    try:
        source = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)
        try:
            target = sqlite3.connect(unfinished)
            try:
                source.backup(target)
            finally:
                target.close()
        finally:
            source.close()
    except sqlite3.Error as error:
        os.unlink(unfinished)
        raise UserError(
            f"the datastore {database} cannot be copied: {error}",
            "nothing was switched; `journalctl -u k3s` may say what is wrong with it",
        ) from error
    descriptor = os.open(unfinished, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.rename(unfinished, path)
    sync_directory(os.path.dirname(path))


def copy_for(old: str | None, new: str | None, settings: Settings, *, root: str = "") -> str:
    """The newest copy that k3s `new` left before it became `old`. Raises UserError without one."""
    if old == new:
        raise UserError(
            f"the previous generation has the same k3s, {new}: the datastore fits it as it is",
            "leave --with-data out; nothing was changed",
        )
    kept = copies(root=root, version=str(new))
    if not kept:
        raise UserError(
            f"there is no copy of the datastore that k3s {new} left",
            how_to_restore(settings, root=root) or "nothing was changed",
        )
    return kept[-1]


def copies(*, root: str = "", version: str = "") -> list[str]:
    """The paths of the copies, newest last; version: only those that this k3s left."""
    directory = root + SNAPSHOTS
    names = os.listdir(directory) if os.path.isdir(directory) else []
    end = f"-{version}{SUFFIX}" if version else SUFFIX
    return [f"{directory}/{name}" for name in sorted(names) if name.endswith(end)]


def restore(path: str, settings: Settings, *, root: str = "") -> None:
    """Put a copy in place of the datastore; k3s must not be running. Raises OSError.

    The former one is kept beside it.
    """
    database = f"{root}{databases(settings)}/state.db"
    backup(path, f"{database}.restored")
    for suffix in ("", "-wal", "-shm"):
        if os.path.exists(database + suffix):
            os.replace(database + suffix, f"{database}.replaced{suffix}")
    os.rename(f"{database}.restored", database)
    sync_directory(os.path.dirname(database))


def hint(config: Config) -> str:
    """how_to_restore of this node; never fails."""
    from k3os.k3s.settings import of_node

    try:
        return how_to_restore(of_node(config))
    except UserError as error:
        return f"the datastore stays as it is; where it is cannot be told: {error}"


def going_back(old: str, new: str, settings: Settings, *, root: str = "") -> str:
    """What to tell the user before k3s goes back, "" if the datastore fits or is not on this node.
    Nothing is ever restored automatically."""
    if not is_minor_back(old, new) or not os.path.isdir(f"{root}{databases(settings)}"):
        return ""
    told = how_to_restore(settings, root=root, version=new)
    return (
        f"k3s goes back over a minor version, {old} -> {new}, and may not read what the newer one "
        f"wrote: {told or f'no copy that k3s {new} left is on this node'}"
    )


def how_to_restore(settings: Settings, *, root: str = "", version: str = "") -> str:
    """The commands that restore the newest copy, "" if there is none. version: only copies that
    this k3s left, as far as their names say so."""
    directory = f"{root}{databases(settings)}"
    if etcd.is_used(directory):
        return f"the datastore stays as it is; {etcd.how_to_restore(settings, root=root)}"
    kept = copies(root=root, version=version)
    if not kept:
        return ""
    database = f"{directory}/state.db"
    return (
        "the datastore stays as it is; this puts its copy from before the upgrade back: "
        f"`systemctl stop k3s; rm -f {database}-wal {database}-shm; cp {kept[-1]} {database}; "
        "systemctl start k3s`"
    )
