"""The k3s executables that `make test-real` is given, with their version and pause image."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from k3os.errors import UserError
from k3os.k3s.executable import ask_version, check_executable
from k3os.k3s.source import RELEASES, VERSION, pinned
from k3os.system.digest import file_sha256
from k3os.system.run import CommandError, run

PAUSE = re.compile(r"--pause-image\b[^\n]*\(default: \"?([^\s\")]+)")


@dataclass(frozen=True)
class K3s:
    """A k3s executable."""

    path: Path
    version: str
    pause: str

    @property
    def minor(self) -> int:
        return int(self.version.split(".")[1])


@dataclass(frozen=True)
class Given:
    """k3s: what the lab starts with. next: what it is upgraded to; None: the same, relabelled.
    airgap: archives with k3s' own images (CoreDNS); without them pods only have the node's DNS."""

    k3s: K3s
    next: K3s | None
    airgap: tuple[Path, ...]


def given(environ: Mapping[str, str]) -> Given:
    """Read K3S, K3S_NEXT and K3S_AIRGAP. Raises UserError."""
    text = environ.get("K3S", "")
    if not text:
        raise UserError(
            "which k3s? `make test-real` boots clusters of a real one",
            f"make test-real K3S=<path> [K3S_NEXT=<path of a newer one>]; releases: {RELEASES}"
            f"/<version>/k3s, e.g. {RELEASES}/{pinned().version.replace('+', '%2B')}/k3s",
            "K3S",
        )
    first = ask(Path(text), "K3S")
    newer = environ.get("K3S_NEXT", "")
    following = ask(Path(newer), "K3S_NEXT") if newer else None
    if following is not None and order(following.version) <= order(first.version):
        raise UserError(
            f"{following.version} is not newer than {first.version}, nodes refuse it",
            "give the older one as K3S",
            "K3S_NEXT",
        )
    archives = tuple(Path(each).absolute() for each in environ.get("K3S_AIRGAP", "").split())
    return Given(first, following, archives)


def ask(path: Path, where: str) -> K3s:
    """Ask an executable for version and pause image. Raises UserError if it is not k3s."""
    path = path.absolute()
    check_executable(path, "amd64", where)
    with open(path, "rb") as file:
        if file.read(2) == b"#!":
            raise UserError(f"{path} is a script", f"give an executable of {RELEASES}", where)
    version = ask_version(path, file_sha256(path))
    with tempfile.TemporaryDirectory(prefix="k3os-ask.") as scratch:
        # a scratch data-dir, because some versions unpack themselves first
        command = [str(path), "agent", "--data-dir", scratch, "--help"]
        try:
            text = run(command, cwd="/", env={"K3S": None}, timeout=60).decode(errors="replace")
        except CommandError:
            text = ""
    pause = pause_image(text)
    if not VERSION.fullmatch(version) or not pause:
        raise UserError(
            f"{path} is not k3s: `agent --help` names no pause image",
            f"give an executable of {RELEASES}",
            where,
        )
    return K3s(path, version, pause)


def pause_image(text: str) -> str:
    """The default pause image in the output of `k3s agent --help`; "" if there is none."""
    match = PAUSE.search(text)
    return match[1] if match else ""


def order(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)))


def later(version: str, steps: int = 1) -> str:
    """A newer version of the same length, for a relabelled copy."""
    head, dot, patch = version.partition("+")[0].rpartition(".")
    suffix = version.partition("+")[2]
    raised = str(int(patch) + steps)
    if len(raised) != len(patch):
        # the patch number got longer: raise the number after `+k3s` instead
        return f"{head}{dot}{patch}+k3s{int(suffix.removeprefix('k3s')) + steps}"
    return f"{head}{dot}{raised}+{suffix}"


def relabelled(path: Path, version: str, wanted: str) -> bytes:
    """The same executable, reporting another version."""
    data = path.read_bytes()
    if len(version) != len(wanted) or version.encode() not in data:
        raise UserError(f"{path} cannot be given the version {wanted}", "give K3S_NEXT", "K3S")
    return data.replace(version.encode(), wanted.encode())
