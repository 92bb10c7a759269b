"""Unpack k3s where it will look for itself, so that its first start need not do it.

k3s is one file that carries its programs (k3s-server, containerd, runc, CNI plugins) compressed.
The first command that needs one unpacks all of them below its data directory, under a name made
from their hash (github.com/k3s-io/k3s, cmd/k3s/main.go). Only k3s itself knows how, so this runs
it, in a mount namespace with the new data directory in place of its usual one (unshare(1)).
"""

from __future__ import annotations

import os
import shutil

from k3os.config.check import check_text
from k3os.config.load import Config
from k3os.generation.layout import DATA as PERSISTENT
from k3os.generation.layout import SYSTEM
from k3os.phases.k3s import DATA, data_directory
from k3os.system.run import CommandError, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.generation.install_medium import InstallMedium
    from k3os.system.console import Say

SECONDS = 300  # 13 s on an emulated machine
# ignore any k3s configuration of this machine
ENVIRONMENT = {"K3S_CONFIG_FILE": "/dev/null", "K3S_DATA_DIR": None}
# $1: the directory that becomes k3s' data directory, with the executable in it; it may be below
# /var/lib, where its path no longer works after the mount
_SCRIPT = f"""
set -e
cd "$1"
mount -t tmpfs none /var/lib
mkdir -p {DATA}
mount --no-canonicalize --bind . {DATA}
exec {DATA}/k3s ctr --version
"""


def for_first_start(medium: InstallMedium, config: bytes, root: str, say: Say) -> None:
    """Unpack the k3s of a medium that was copied below root, with the config.yaml for it.

    If that fails, the node does it at its first start; a message says so.
    """
    version = medium.versions.get("k3s")
    if version is None:
        return
    if data_directory(Config(check_text(config, "config.yaml")[0])) != DATA:
        return  # perhaps on a disk that only the node has
    say("unpacking k3s")
    why = unpack(f"{root}/{SYSTEM}/k3s/{version}/k3s", f"{root}/{PERSISTENT}")
    if why:
        say(f"k3s will unpack itself at its first start, which did not work here: {why}")


def unpack(executable: str, root: str) -> str:
    """Unpack executable below root, the future /; returns why that failed, "" on success.

    What k3s already had there stays. Needs root or user namespaces, and a machine that can run the
    executable. Leaves nothing half-done behind.
    """
    home = root + DATA
    there = os.path.isdir(f"{home}/data")
    mine = f"{home}/k3s"
    as_root = [] if os.geteuid() == 0 else ["--map-root-user"]
    command = ["unshare", "--mount", *as_root, "/bin/sh", "-c", _SCRIPT, "sh", home]
    why = ""
    before = os.umask(0o022)  # it becomes the node's /var, and all users run k3s
    try:
        os.makedirs(home, exist_ok=True)
        _lay_beside(executable, mine)
        run(command, env=ENVIRONMENT, timeout=SECONDS)
    except (CommandError, OSError) as error:
        why = str(error)
    finally:
        os.umask(before)
    if os.path.lexists(mine):
        os.unlink(mine)
    if not why and not any(map(os.path.exists, _servers(home))):
        why = f"{os.path.basename(executable)} left no programs in {DATA}/data"
    if why and not there:
        shutil.rmtree(f"{home}/data", ignore_errors=True)
        _remove_empty(home, root)
    elif os.path.exists(f"{home}/data/.lock"):
        os.unlink(f"{home}/data/.lock")  # k3s creates it again
    return why


def _lay_beside(executable: str, target: str) -> None:
    """Into the directory that it fills: k3s acts on the name by which it is run."""
    try:
        os.link(executable, target)
    except OSError:
        shutil.copy(executable, target)


def _servers(home: str) -> list[str]:
    """Where k3s looks for itself."""
    names = os.listdir(f"{home}/data") if os.path.isdir(f"{home}/data") else []
    return [f"{home}/data/{name}/bin/k3s" for name in names]


def _remove_empty(path: str, root: str) -> None:
    """Remove path and its parents below root as long as they are empty."""
    while path != root:
        if os.path.isdir(path):
            if os.listdir(path):
                return
            os.rmdir(path)
        path = os.path.dirname(path)
