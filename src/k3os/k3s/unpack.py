"""Unpack k3s where it will look for itself, so that its first start need not do it.

k3s is one file that carries its programs (k3s-server, containerd, runc, CNI plugins) compressed;
the first command that needs one unpacks them all below its data directory, under a name made of
their hash (github.com/k3s-io/k3s, cmd/k3s/main.go). It is the only one who knows how: this runs it,
in a mount namespace in which its data directory is the one that is being filled (unshare(1)).
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
# no configuration of a k3s on this machine counts
ENVIRONMENT = {"K3S_CONFIG_FILE": "/dev/null", "K3S_DATA_DIR": None}
# $1: the directory that becomes k3s' data directory, with the executable in it; it may be below
# /var/lib, where its name leads nowhere any more
_SCRIPT = f"""
set -e
cd "$1"
mount -t tmpfs none /var/lib
mkdir -p {DATA}
mount --no-canonicalize --bind . {DATA}
exec {DATA}/k3s ctr --version
"""


def for_first_start(medium: InstallMedium, config: bytes, root: str, say: Say) -> None:
    """Unpack the k3s of a medium that was laid down below root, with the config.yaml for it.

    Where that does not work the node does it at its first start, and so it is said.
    """
    version = medium.versions.get("k3s")
    if version is None:
        return
    if data_directory(Config(check_text(config, "config.yaml")[0])) != DATA:
        return  # on a disk, perhaps, that only the node has
    say("unpacking k3s")
    why = unpack(f"{root}/{SYSTEM}/k3s/{version}/k3s", f"{root}/{PERSISTENT}")
    if why:
        say(f"k3s will unpack itself at its first start, which did not work here: {why}")


def unpack(executable: str, root: str) -> str:
    """Unpack executable below root, the future /; why that did not work, "" when it did.

    What k3s had there already stays. Needs root or user namespaces, and a machine that can run the
    executable. Nothing half-done is left behind.
    """
    home = root + DATA
    there = os.path.isdir(f"{home}/data")
    mine = f"{home}/k3s"
    as_root = [] if os.geteuid() == 0 else ["--map-root-user"]
    command = ["unshare", "--mount", *as_root, "/bin/sh", "-c", _SCRIPT, "sh", home]
    why = ""
    before = os.umask(0o022)  # it is the node's /var, and everybody's k3s
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
        os.unlink(f"{home}/data/.lock")  # k3s makes it anew
    return why


def _lay_beside(executable: str, target: str) -> None:
    """Beside what it fills: the name is the one of its commands that it is run as."""
    try:
        os.link(executable, target)
    except OSError:
        shutil.copy(executable, target)


def _servers(home: str) -> list[str]:
    """Where k3s itself is looked for."""
    names = os.listdir(f"{home}/data") if os.path.isdir(f"{home}/data") else []
    return [f"{home}/data/{name}/bin/k3s" for name in names]


def _remove_empty(path: str, root: str) -> None:
    """Remove path and its parents below root, as far as nothing is in them."""
    while path != root:
        if os.path.isdir(path):
            if os.listdir(path):
                return
            os.rmdir(path)
        path = os.path.dirname(path)
