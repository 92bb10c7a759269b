"""The configuration's own files: only the owner may read one that contains a secret.

A copied or edited file easily ends up with mode 0644. This only changes modes; a medium that is
read-only or has no modes is left alone.
"""

from __future__ import annotations

import errno
import os
import stat

from k3os.config.load import Config
from k3os.config.value import Place
from k3os.paths import LOCAL_CONFIG, OWN_SYSTEM, STATE
from k3os.phases.actions import DONE, UNCHANGED, Action

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.phases.node import Node

KEY = "k3os"
# keys that contain whole files, or arguments of other programs
MAY_HOLD_ONE = (
    *("init_cmd", "boot_cmd", "run_cmd", "ready_cmd"),
    *("write_files", "k3os.manifests", "k3os.containerd"),
)
FILES = (f"{OWN_SYSTEM}/config.yaml", LOCAL_CONFIG)
DIRECTORY = f"{STATE}/config.d"


def plan(config: Config, node: Node) -> list[Action]:
    directory = node.path(DIRECTORY)
    names = sorted(os.listdir(directory)) if os.path.isdir(directory) else []
    paths = [*FILES, *(f"{DIRECTORY}/{name}" for name in names)]
    return [Close(KEY, Place(path), path) for path in paths if _is_open(node, path)]


def _is_open(node: Node, path: str) -> bool:
    try:
        status = os.lstat(node.entry(path))
    except OSError:
        return False
    if not stat.S_ISREG(status.st_mode) or not status.st_mode & 0o077:
        return False
    return has_secret(node, path)


def has_secret(node: Node, path: str) -> bool:
    """Whether a file contains a secret; one that is not a valid configuration may contain one."""
    from k3os.config.check import check_text, read_limited

    data, unreadable = read_limited(node.path(path))
    if unreadable is not None:
        return True
    values, problems = check_text(data, path)
    whole = Config(values)
    if any(problem.is_error for problem in problems) or whole.secrets():
        return True
    from k3os.config.value import texts_of
    from k3os.errors import discreet

    texts = [text for value in values.values() for text, _ in texts_of(value)]
    may_hold_one = any(key in values for key in MAY_HOLD_ONE)
    return may_hold_one or any(discreet(text) != text for text in texts)


class Close(Action):
    """Remove the permissions of everybody but the file's owner."""

    __slots__ = ("path",)

    def __init__(self, key: str, place: Place, path: str) -> None:
        super().__init__(key, place)
        self.path = path

    def describe(self) -> str:
        return f"let only root read {self.path}"

    def perform(self, node: Node) -> str:
        path = node.entry(self.path)
        mode = stat.S_IMODE(os.stat(path).st_mode)
        try:
            os.chmod(path, mode & 0o700)
        except OSError as error:
            if error.errno != errno.EROFS:
                raise
            self.note = "its file system is read-only"
            return UNCHANGED
        if stat.S_IMODE(os.stat(path).st_mode) & 0o077:
            self.note = "its file system has no modes"
            return UNCHANGED
        node.say(f"{self.path} was readable by others (mode {mode:04o}): now only root can read it")
        return DONE
