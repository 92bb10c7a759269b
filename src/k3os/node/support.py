"""What a remote helper needs to see of a node, as one archive, without secrets.

It changes nothing, and every part is limited in time and size: a part that fails contains the
reason instead. All of them go through redaction.py, whatever wrote them.
"""

from __future__ import annotations

import gzip
import io
import tarfile

from k3os.node.redaction import redacted
from k3os.system.run import CommandError, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

SECONDS = 60.0  # for each part
MOST = 8 << 20  # bytes of each part; the end is kept
JOURNAL = ("journalctl", "--no-pager", "--quiet", "--output=short-iso-precise")
# file in the archive: the command that prints it
PARTS: dict[str, tuple[str, ...]] = {
    "status.txt": ("k3os", "status", "--all"),
    "status.json": ("k3os", "status", "--json"),
    "config.yaml": ("k3os", "config", "--dump", "--provenance"),
    "report.json": ("k3os", "report", "--dry-run"),
    "journal.txt": (*JOURNAL, "--boot=0", "--lines=20000"),
    "journal-before.txt": (*JOURNAL, "--boot=-1", "--lines=5000"),
    "k3s.txt": (*JOURNAL, "--boot=0", "--lines=5000", "--unit=k3s"),
    "kernel.txt": (*JOURNAL, "--dmesg", "--lines=5000"),
    "units.txt": ("systemctl", "list-units", "--all", "--no-pager", "--plain"),
    "boots.txt": ("journalctl", "--no-pager", "--list-boots"),
    "network.txt": ("k3os", "network", "show", "--all"),
    "network.json": ("k3os", "network", "show", "--json"),
    "addresses.txt": ("ip", "address"),
    "routes.txt": ("ip", "route", "show", "table", "all"),
    "disks.txt": ("lsblk", "--output", "NAME,SIZE,TYPE,FSTYPE,LABEL,MOUNTPOINTS"),
    "space.txt": ("df", "-h"),
    # without arguments, which may hold secrets that we do not know of
    "processes.txt": ("ps", "-eo", "pid,ppid,stat,rss,pcpu,etime,comm"),
    "containers.txt": ("crictl", "ps", "--all"),
    "cmdline.txt": ("cat", "/proc/cmdline"),
    "memory.txt": ("cat", "/proc/meminfo", "/proc/pressure/memory", "/proc/pressure/io"),
    "timeline.json": ("cat", "/run/k3os/timeline.json"),
    "os-release.txt": ("cat", "/etc/os-release"),
}


def collect(secrets: Collection[str]) -> dict[str, bytes]:
    """File to its content."""
    return {name: _part(name, list(argv), secrets) for name, argv in PARTS.items()}


def _part(name: str, argv: list[str], secrets: Collection[str]) -> bytes:
    try:
        output, how = run(argv, timeout=SECONDS), ""
    except CommandError as error:
        output, how = error.output, f"\n{' '.join(argv)}: {error.how}\n"
        if name.endswith(".json") and _is_json(output):  # programs that parse it want nothing else
            how = ""
    text = redacted(output.decode(errors="replace"), secrets).encode()[-MOST:]
    return text + how.encode()


def _is_json(output: bytes) -> bool:
    from k3os.system.json_text import parsed

    try:
        parsed(output)
    except ValueError:
        return False
    return True


def archive(directory: str, files: Mapping[str, bytes], when: int) -> bytes:
    """A .tar.gz with these files in a directory, readable only for their owner. when: seconds since
    1970."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, data in sorted(files.items()):
            entry = tarfile.TarInfo(f"{directory}/{name}")
            entry.size, entry.mode, entry.mtime = len(data), 0o600, when
            tar.addfile(entry, io.BytesIO(data))
    return gzip.compress(raw.getvalue(), mtime=when)
