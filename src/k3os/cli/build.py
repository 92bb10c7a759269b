"""`k3os build`: build the images. All settings are environment variables, as with `make`."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import sys
from pathlib import Path
from types import FrameType

from k3os.errors import UserError
from k3os.system.run import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from k3os.image.progress import Progress
    from k3os.image.settings import Settings

EPILOG = """\
variables:
  ARCH=amd64|arm64|arm       architecture; of arm (ARMv7) the root file system tarball only
  KERNEL=generic|backports|cloud
                             Debian's kernel for any machine, a newer one (arm64's default), the
                             small one for virtual machines
  FIRMWARE="PACKAGE ..."     Debian's firmware packages to add: firmware-iwlwifi, or microcode:
                             intel-microcode
  K3S=auto|VERSION|URL|PATH|none
                             k3s: the pinned release, another, a download, a file, none
  K3S_RELEASES=URL           a mirror of the k3s releases, same layout
  K3S_AIRGAP="PATH|URL ..."  image archives that k3s imports when it starts
  OPERATOR=auto|none         put the operator into the image, or not
  SIGN_KEY=PATH              an OpenSSH key that signs the manifest and the sums
  RELEASE_KEYS="PATH ..."    public keys whose releases the nodes accept (besides SIGN_KEY's)
  CONFIG=PATH                a config.yaml to put into the ISO (it is checked first)
  MIRROR=URL                 a Debian mirror
  SOURCE_DATE_EPOCH=SECONDS  the time of all files in the images (default: the last commit's)
  ARTIFACTS=dist/artifacts   where the results go
  CACHE=.cache               where finished stages are kept

KERNEL=cloud K3S=none k3os build
"""


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="k3os build",
        description="Build ISO, kernel, initrd, rootfs tarball, sums and SBOM.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--refresh", action="store_true", help="ask the mirror for newer packages")
    arguments = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        return _build(refresh=arguments.refresh)
    except ModuleNotFoundError as error:
        missing = f"the build needs the Python package {error.name}"
        raise UserError(missing, "run `make setup`") from error


def _terminate(number: int, frame: FrameType | None) -> None:
    # as an exception it acts like Ctrl-C: child processes stop, an unfinished stage is removed
    raise KeyboardInterrupt


def _build(*, refresh: bool) -> int:
    from k3os.image.build import build
    from k3os.image.progress import Progress
    from k3os.image.settings import from_environment

    settings = from_environment(os.environ, refresh=refresh)
    check_config(str(settings.config) if settings.config else None, k3s=_version(settings.k3s))
    with Progress(settings.artifacts.parent / "logs" / "build.log") as progress:
        with explained(progress, settings):
            artifacts = build(settings, progress)
    progress.artifacts(artifacts)
    return 0


def _version(k3s: str) -> str:
    """The version of k3s that K3S= names, "" when only the build will know it."""
    from k3os.k3s.source import VERSION, pinned

    version = k3s.partition("#")[0]
    return pinned().version if k3s == "auto" else version if VERSION.fullmatch(version) else ""


def check_config(path: str | None, where: str = "CONFIG", k3s: str = "") -> None:
    """Refuse a config.yaml with errors, for this version of k3s; show its warnings."""
    if path is None:
        return
    from k3os.config.check import check_files

    problems = check_files([path], k3s_version=k3s)
    for problem in problems:
        print(problem, file=sys.stderr)
    if any(problem.is_error for problem in problems):
        raise UserError("the config.yaml has errors", "fix the lines above", where)


@contextlib.contextmanager
def explained(progress: Progress, settings: Settings) -> Iterator[None]:
    """A build that fails shows the end of its log and says what to do. Raises UserError."""
    try:
        yield
    except CommandError as error:
        print(progress.failure(), file=sys.stderr)
        raise _explain(error, settings.cache, settings.artifacts) from error
    except UserError:
        print(progress.failure(), file=sys.stderr)
        raise


def _explain(error: CommandError, *directories: Path) -> UserError:
    program = error.argv[0]
    if error.returncode == 127:
        return UserError(f"{program} is not installed", "run `make setup`")
    for directory in directories:
        if directory.exists() and shutil.disk_usage(directory).free < 16 << 20:
            return UserError(
                f"no space left on the disk of {directory}",
                "free some, or put CACHE= and ARTIFACTS= on a larger disk (4 GiB is enough)",
            )
    return UserError(str(error).splitlines()[0], "the log above says why", program)
