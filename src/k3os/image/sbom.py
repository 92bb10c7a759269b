"""The list of everything inside an image, as SPDX 2.3 JSON.

Format: https://spdx.github.io/spdx-spec/v2.3/ ; package URLs: purl-spec, types "deb", "pypi".
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from urllib.parse import quote

from k3os import __version__
from k3os.image.packages import ADDRESS, Package
from k3os.image.settings import SUITE, Settings
from k3os.system.stamps import utc


def sbom(
    settings: Settings,
    packages: Iterable[Package],
    k3s: tuple[str, str] | None,
    python: Iterable[tuple[str, str, str]] = (),
) -> dict[str, object]:
    """The SPDX document. k3s: (version, SHA-256) or None; python: (name, version, SHA-256) of
    each wheel in the operator's image."""
    entries = [_debian(settings, package) for package in packages]
    if k3s is not None:
        entries.append(_entry("k3s", k3s[0], f"pkg:github/k3s-io/k3s@{quote(k3s[0])}", k3s[1]))
    for name, version, sha256 in python:
        entries.append(_entry(name, version, f"pkg:pypi/{name}@{quote(version)}", sha256))
    root = _entry("k3os", __version__, f"pkg:generic/k3os@{__version__}", None)
    identity = hashlib.sha256(repr([root, *entries]).encode()).hexdigest()
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"k3os-{__version__}-{settings.arch.name}",
        "documentNamespace": f"urn:k3os:spdx:{identity}",
        "creationInfo": {
            "created": utc(settings.epoch),
            "creators": [f"Tool: k3os-{__version__}"],
            **_suites(settings),
        },
        "packages": [root, *entries],
        "relationships": [
            _relation("SPDXRef-DOCUMENT", "DESCRIBES", str(root["SPDXID"])),
            *(_relation(str(root["SPDXID"]), "CONTAINS", str(e["SPDXID"])) for e in entries),
        ],
    }


def _suites(settings: Settings) -> dict[str, str]:
    if not ADDRESS.fullmatch(settings.mirror):
        return {}
    return {"comment": f"packages of Debian {SUITE} alone, without its updates and security fixes"}


def _debian(settings: Settings, package: Package) -> dict[str, object]:
    version = quote(package.version)
    purl = f"pkg:deb/debian/{quote(package.name)}@{version}?arch={settings.arch.debian}"
    entry = _entry(package.name, package.version, f"{purl}&distro={SUITE}", None)
    return entry | {"sourceInfo": f"built from the Debian source package {package.source}"}


def _entry(name: str, version: str, purl: str, sha256: str | None) -> dict[str, object]:
    safe = "".join(c if c.isalnum() or c in ".-" else "-" for c in f"{name}-{version}")
    entry: dict[str, object] = {
        "SPDXID": f"SPDXRef-Package-{safe}",
        "name": name,
        "versionInfo": version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
        "externalRefs": [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": purl,
            }
        ],
    }
    if sha256 is not None:
        entry["checksums"] = [{"algorithm": "SHA256", "checksumValue": sha256}]
    return entry


def _relation(source: str, kind: str, target: str) -> dict[str, str]:
    return {
        "spdxElementId": source,
        "relationshipType": kind,
        "relatedSpdxElement": target,
    }
