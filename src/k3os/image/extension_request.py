"""The settings of an extension: environment variables (make variables) in, one frozen record out.

It only validates. The variables are documented in docs/how-to/extensions.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from k3os.errors import UserError
from k3os.generation import extension_fit

PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")
UNIT = re.compile(r"[0-9A-Za-z:_.\\@-]+\.(service|socket|timer|path|target|mount)")
# os-release(5), IMAGE_VERSION
VERSION = re.compile(r"[0-9a-z._~^+-]{1,64}")


@dataclass(frozen=True)
class ExtensionRequest:
    """packages: of Debian; files: a directory whose usr/, opt/ and etc/ are included, None for
    none; units: those to start at boot; version: "" for the first package's."""

    name: str
    packages: tuple[str, ...] = ()
    files: Path | None = None
    units: tuple[str, ...] = ()
    version: str = ""


def read_request(name: str, environ: Mapping[str, str]) -> ExtensionRequest:
    """From PACKAGES, FILES, UNITS and VERSION. Raises UserError with the variable's name."""
    if not extension_fit.is_name(name):
        raise UserError(
            f"{name!r} is not a valid name for an extension",
            "use at most 64 small letters, digits, and . _ - between them",
            "NAME",
        )
    packages = tuple(dict.fromkeys((environ.get("PACKAGES") or "").split()))
    units = tuple(dict.fromkeys((environ.get("UNITS") or "").split()))
    version, files = environ.get("VERSION") or "", environ.get("FILES") or ""
    for each in packages:
        if not PACKAGE.fullmatch(each):
            raise UserError(f"{each!r} is not a package name", "as apt knows it", "PACKAGES")
    for each in units:
        if not UNIT.fullmatch(each):
            raise UserError(f"{each!r} is not a unit name", "for example nfsd.service", "UNITS")
    if version and not VERSION.fullmatch(version):
        raise UserError(
            f"{version!r} is not a version", "use small letters, digits, and . _ ~ ^ + -", "VERSION"
        )
    if files and not Path(files).is_dir():
        raise UserError(f"{files} is not a directory", "one with usr/ or opt/ in it", "FILES")
    if not packages and not files:
        raise UserError(
            "nothing says what is in it", 'give PACKAGES="…", or FILES=<directory>', "PACKAGES"
        )
    return ExtensionRequest(
        name, packages, Path(files).absolute() if files else None, units, version
    )
