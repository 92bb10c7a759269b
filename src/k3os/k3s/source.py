"""The values of K3S=, and the layout of a k3s release.

It only parses and names things; it reads neither files of k3s nor the network. The layout is that
of the k3s project's releases: <base>/<version, "+" as %2B>/<file>, with one sum file per
architecture in the format of sha256sum(1).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from k3os.errors import UserError

RELEASES = "https://github.com/k3s-io/k3s/releases/download"
VERSION = re.compile(r"v\d+\.\d+\.\d+(-[0-9A-Za-z.]+)?\+k3s\d+")
PINNED = Path(__file__).with_name("pinned.json")

# architecture -> (executable, sum file) of a release
RELEASE_FILES = {
    "amd64": ("k3s", "sha256sum-amd64.txt"),
    "arm64": ("k3s-arm64", "sha256sum-arm64.txt"),
    "arm": ("k3s-armhf", "sha256sum-arm.txt"),
}
WORDS = "auto, none, a version such as v1.33.1+k3s1, a URL, or the path of an executable"


@dataclass(frozen=True)
class Auto:
    """The pinned version, if its release can be reached."""


@dataclass(frozen=True)
class Release:
    """One version of the k3s releases; sha256 comes after `#sha256=`, "" without it."""

    version: str
    sha256: str = ""


@dataclass(frozen=True)
class Download:
    """An executable at any address; sha256 comes after `#sha256=` in K3S, "" without it."""

    url: str
    sha256: str = ""


@dataclass(frozen=True)
class LocalFile:
    """An executable on this machine."""

    path: Path


@dataclass(frozen=True)
class Nothing:
    """No k3s in the image, and none is fetched."""


K3sSource = Auto | Release | Download | LocalFile | Nothing


@dataclass(frozen=True)
class Pinned:
    """The k3s version this k3OS was made for.

    sums: version -> architecture -> hash of the executable as the maintainers saw it, including
    other versions. `k3os k3s pin` writes it; what has no entry must come over https.
    """

    version: str
    sums: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def parse_source(text: str) -> K3sSource:
    """Parse a value of K3S; raises UserError for anything else."""
    if text in ("", "auto"):
        return Auto()
    if text == "none":
        return Nothing()
    if VERSION.fullmatch(text.partition("#")[0]):
        return Release(*split_checksum(text, "K3S"))
    if text.startswith(("http://", "https://")):
        url, sha256 = split_checksum(text, "K3S")
        return Download(url, sha256)
    if "/" in text or Path(text).is_file():
        return LocalFile(Path(text).absolute())
    if re.fullmatch(r"v?\d+\.\d+(\.\d+)?([-+]k3s\d*)?", text):
        raise UserError(
            f"{text!r} is not a full k3s version", "write it like v1.33.1+k3s1", where="K3S"
        )
    raise UserError(f"unknown value {text!r}", f"use {WORDS}", "K3S")


def split_checksum(text: str, where: str) -> tuple[str, str]:
    """Split "URL#sha256=HEX" into the URL and the hash ("" without a `#`)."""
    url, given, fragment = text.partition("#")
    if not given:
        return url, ""
    match = re.fullmatch(r"sha256=([0-9a-fA-F]{64})", fragment)
    if match is None:
        raise UserError(
            f"{fragment!r} behind # is not a checksum", "write #sha256=<64 hex digits>", where
        )
    return url, match[1].lower()


def pinned() -> Pinned:
    """The version and hashes of pinned.json."""
    record = json.loads(PINNED.read_text())
    return Pinned(record["version"], record["sums"])


def release_files(arch: str) -> tuple[str, str]:
    """(name of the executable, name of the sum file); raises UserError."""
    if arch not in RELEASE_FILES:
        raise UserError(f"there is no k3s for {arch!r}", f"use one of: {', '.join(RELEASE_FILES)}")
    return RELEASE_FILES[arch]


def release_url(version: str, name: str) -> str:
    """The address of a file of a release; K3S_RELEASES names a mirror with the same layout."""
    base = os.environ.get("K3S_RELEASES") or RELEASES
    return f"{base.rstrip('/')}/{version.replace('+', '%2B')}/{name}"


def machine_arch(machine: str) -> str:
    """Our name for uname(2)'s machine ("amd64" for "x86_64")."""
    names = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "armv8l": "arm"}
    return names.get(machine, machine)
