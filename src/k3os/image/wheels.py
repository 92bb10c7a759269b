"""Python packages for the operator's image: wheels of the target's architecture, unpacked.

pip downloads the packages in requirements-operator.lock and verifies the hashes; nothing is built,
installed or run. Formats: packaging.python.org, "Binary distribution format" (wheels) and "Platform
compatibility tags".
"""

from __future__ import annotations

import fnmatch
import shutil
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from k3os.errors import UserError
from k3os.image.cache import digest
from k3os.image.progress import Progress
from k3os.image.settings import Settings
from k3os.system.digest import file_sha256
from k3os.system.run import CommandError, run

LOCK = "requirements-operator.lock"
PYTHON_VERSION = "3.13"
# a wheel names the oldest glibc 2.x that it works with; Debian 13 has 2.41
OLDEST_GLIBC, GLIBC = 5, 41
# useless at run time; licences stay
UNUSED = (
    *("*/tests/*", "*/test/*", "*/testing/*", "*.pyi", "*.pyx", "*.pxd", "*.pxi", "*.c", "*.h"),
    # the only one in C++: it would require a library of 2.4 MB, and has a Python equivalent
    "*/frozenlist/_frozenlist.*",
    *("*/_testcapi.*", "*.dist-info/RECORD", "*.dist-info/WHEEL", "*/py.typed", "*.so.map"),
)


@dataclass(frozen=True)
class Wheel:
    """A downloaded package."""

    name: str
    version: str
    path: Path

    @property
    def sha256(self) -> str:
        return file_sha256(self.path)


def download(settings: Settings, progress: Progress) -> list[Wheel]:
    """The wheels of the lock, kept in <cache>/downloads by the lock's hash. Raises UserError."""
    lock = settings.source / LOCK
    machine = settings.arch.wheels
    kept = settings.cache / "downloads" / f"wheels-{machine}-{digest(lock)}"
    if not kept.is_dir():
        fresh = kept.with_name(f".unfinished-{kept.name}")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        try:
            run([*pip_command(machine, lock), "--dest", str(fresh)], log=progress.log)
        except CommandError as error:
            raise UserError(
                f"the libraries of the operator could not be downloaded ({LOCK})",
                "the log above says why; OPERATOR=none builds without the operator",
            ) from error
        fresh.rename(kept)
    return [read_name(path) for path in sorted(kept.glob("*.whl"))]


def pip_command(machine: str, lock: Path) -> list[str]:
    """pip download for another Python version, and maybe another machine, than ours."""
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(GLIBC, OLDEST_GLIBC - 1, -1)]
    # the older name for 2_17
    platforms.append(f"manylinux2014_{machine}")
    return [
        *(sys.executable, "-m", "pip", "download", "--disable-pip-version-check"),
        *("--no-deps", "--require-hashes", "--only-binary", ":all:", "--requirement", str(lock)),
        *("--implementation", "cp", "--python-version", PYTHON_VERSION),
        *("--abi", f"cp{PYTHON_VERSION.replace('.', '')}", "--abi", "abi3", "--abi", "none"),
        *(word for name in platforms for word in ("--platform", name)),
    ]


def read_name(path: Path) -> Wheel:
    """A wheel's file name starts with name and version, which contain no dash."""
    name, version, *_ = path.name.split("-")
    return Wheel(name.replace("_", "-").lower(), version, path)


def unpack(wheel: Wheel, directory: Path) -> None:
    """Write a wheel's packages, without its scripts and what is in UNUSED."""
    with zipfile.ZipFile(wheel.path) as archive:
        for info in archive.infolist():
            name = destination(info.filename)
            if name and not info.is_dir():
                target = directory / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.read(info))


def destination(name: str) -> str:
    """The path of a wheel's member below site-packages, "" to leave it out."""
    first, _, rest = name.partition("/")
    if first.endswith(".data"):
        scheme, _, rest = rest.partition("/")
        name = rest if scheme in ("purelib", "platlib") else ""
    if any(fnmatch.fnmatchcase(f"/{name}", pattern) for pattern in UNUSED):
        return ""
    return name
