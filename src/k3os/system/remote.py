"""Mounts whose storage is behind the network: given up at shutdown if nobody answers.

Format: /proc/self/mountinfo (proc_pid_mountinfo(5)). A file system whose server is gone blocks any
process that touches it; so each umount(8) is a process with a time limit.
"""

from __future__ import annotations

import os
import re

KINDS = frozenset(
    ("nfs", "nfs4", "cifs", "smb3", "ceph", "afs", "9p", "glusterfs", "lustre", "ocfs2", "gfs2")
)
# in a block device's path in /sys: iSCSI, the network block device, Ceph's
DEVICES = re.compile(r"/session\d+/|/block/nbd\d+|/block/rbd\d+|/nvme-fabrics/")
NUMBER = re.compile(r"[0-9]+:[0-9]+")
MOST_LEVELS = 8
ASK_SECONDS, FORCE_SECONDS = 3, 2
SESSIONS = "/sys/class/iscsi_session"
# a write to a target that is gone fails after this instead of node.session.timeo's 120 s
RECOVERY_SECONDS, LOGOUT_SECONDS = 5, 8


class Mount:
    """path; source: server:/path or the device; kind: of the file system."""

    __slots__ = ("kind", "path", "source")

    def __init__(self, path: str, source: str, kind: str) -> None:
        self.path = path
        self.source = source
        self.kind = kind


def remote_mounts(root: str = "") -> list[Mount]:
    """Innermost first."""
    with open(f"{root}/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        lines = file.readlines()
    found = []
    for line in lines:
        head, _, tail = line.partition(" - ")
        fields, rest = head.split(), tail.split()
        if len(fields) < 5 or len(rest) < 2:
            continue
        kind, source = rest[:2]
        if kind in KINDS or _is_remote(root, fields[2]):
            found.append(Mount(_plain(fields[4]), _plain(source), kind))
    return found[::-1]


def _plain(text: str) -> str:
    """Without the escapes of mountinfo: `\\\\040` is a space."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def _is_remote(root: str, number: str, level: int = 0) -> bool:
    """Whether a block device, or one that it is built on, is behind the network."""
    if number.startswith("0:") or level > MOST_LEVELS or not NUMBER.fullmatch(number):
        return False
    place = os.path.realpath(f"{root}/sys/dev/block/{number}")
    if DEVICES.search(place):
        return True
    try:
        below = os.listdir(f"{place}/slaves")
    except OSError:
        return False
    for name in below:
        try:
            with open(f"{place}/slaves/{name}/dev", errors="replace") as file:
                inner = file.read().strip()
        except OSError:
            continue
        if _is_remote(root, inner, level + 1):
            return True
    return False


def let_go(mounts: list[Mount]) -> list[Mount]:
    """Unmount them, all at once; returns those that did not answer and were detached by force.

    Takes at most ASK_SECONDS plus FORCE_SECONDS, a little more if processes hang.
    """
    from concurrent.futures import ThreadPoolExecutor

    if not mounts:
        return []
    with ThreadPoolExecutor(len(mounts)) as threads:
        stuck = [
            each
            for each, done in zip(mounts, threads.map(_unmount, mounts), strict=True)
            if not done
        ]
        list(threads.map(_force, stuck))
    return stuck


def _unmount(mount: Mount) -> bool:
    # -c, -i: neither resolve the path nor call the type's helper, which would ask the server
    return _umount(["-c", "-i"], mount, ASK_SECONDS)


def _force(mount: Mount) -> bool:
    return _umount(["-c", "-i", "-f", "-l"], mount, FORCE_SECONDS)


def _umount(options: list[str], mount: Mount, seconds: float) -> bool:
    from k3os.system.run import CommandError, run

    try:
        run(["umount", *options, mount.path], timeout=seconds)
    except CommandError:
        return False
    return True


def hurry_iscsi(root: str = "") -> int:
    """Let I/O to an unreachable iSCSI target fail soon; returns the number of sessions."""
    try:
        names = os.listdir(root + SESSIONS)
    except FileNotFoundError:
        return 0  # the module was never loaded
    for name in names:
        try:
            with open(f"{root}{SESSIONS}/{name}/recovery_tmo", "w") as file:
                file.write(str(RECOVERY_SECONDS))
        except OSError:
            continue  # it has failed already; `end_iscsi` ends it
    return len(names)


def end_iscsi() -> None:
    """Log out of all targets, so that the kernel waits for none when it stops the disks."""
    from k3os.system.run import CommandError, run

    try:
        run(["iscsiadm", "-m", "session", "-u"], timeout=LOGOUT_SECONDS)
    except CommandError as error:
        print(error)
