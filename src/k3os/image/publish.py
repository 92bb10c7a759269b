"""The artifacts: each is complete or missing; then their checksums and signatures."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from k3os.generation.release import MANIFEST_ARTIFACT, SIGNATURE, SUMS_ARTIFACT
from k3os.image import loaders, operator, packages
from k3os.image.sbom import sbom
from k3os.image.settings import Settings
from k3os.image.signing import sign
from k3os.image.stage_outputs import StageOutputs, release_tree
from k3os.image.tree import read_tar
from k3os.system.digest import file_sha256
from k3os.system.files import atomic_write
from k3os.system.run import run


def publish(
    settings: Settings, outputs: StageOutputs, media: dict[str, Path], tarball: Path
) -> list[Path]:
    """Copy the results into the artifacts directory, atomically; then write the checksums."""
    arch = settings.arch.name
    settings.artifacts.mkdir(parents=True, exist_ok=True)
    sources = {
        **media,
        f"k3os-rootfs-{arch}.tar.gz": tarball / "rootfs.tar.gz",
        f"k3os-rootfs-{arch}.squashfs": outputs.rootfs / "rootfs.squashfs",
    }
    if outputs.boot is not None:
        sources["install.sh"] = settings.source / "install.sh"
    if outputs.operator is not None:
        image = outputs.operator.image
        sources[f"k3os-operator-{arch}.tar.zst"] = image / operator.IMAGE
        sources[f"k3os-operator-chart-{arch}.tgz"] = image / operator.CHART
        sources[f"k3os-operator-kustomize-{arch}.tar.gz"] = image / operator.KUSTOMIZE
    if outputs.k3s is not None:
        sources[f"k3os-k3s-{arch}"] = outputs.k3s.path
    published = []
    for name, source in sources.items():
        target = settings.artifacts / name
        temporary = target.with_name(f".{name}.new")
        # a reflink or a copy: with a hard link, a user's edit would damage the cache
        run(["cp", "--reflink=auto", "--sparse=auto", str(source), str(temporary)])
        os.chmod(temporary, 0o755 if name.endswith(".sh") else 0o644)
        temporary.rename(target)
        published.append(target)
    published += publish_manifest(settings, outputs)
    python = operator.wheels_of(outputs.operator.base) if outputs.operator else []
    listed = installed_packages(settings, outputs)
    document = sbom(settings, listed, outputs.k3s_identity, python)
    path = settings.artifacts / f"k3os-{arch}.spdx.json"
    atomic_write(str(path), json.dumps(document, indent=1).encode() + b"\n")
    published.append(path)
    sums = "".join(f"{file_sha256(file)}  {file.name}\n" for file in sorted(published))
    path = settings.artifacts / SUMS_ARTIFACT.format(arch=arch)
    return [*published, *write_signed(settings, path, sums.encode())]


def publish_manifest(settings: Settings, outputs: StageOutputs) -> list[Path]:
    """The manifest as a separate file, which makes the artifacts a release directory."""
    tree = release_tree(settings, outputs)
    data = tree.read("k3os/system/generations/1/manifest.json")
    name = MANIFEST_ARTIFACT.format(arch=settings.arch.name)
    return write_signed(settings, settings.artifacts / name, data)


def write_signed(settings: Settings, path: Path, data: bytes) -> list[Path]:
    """Write a file, and its signature if there is a key; otherwise remove an old signature."""
    atomic_write(str(path), data)
    signature = path.with_name(path.name + SIGNATURE)
    if settings.sign_key is None:
        signature.unlink(missing_ok=True)
        return [path]
    atomic_write(str(signature), sign(data, settings.sign_key))
    return [path, signature]


def installed_packages(settings: Settings, outputs: StageOutputs) -> list[packages.Package]:
    """Every Debian package with files in the image."""
    status = read_tar(outputs.base / "base.tar").read("var/lib/dpkg/status").decode()
    listing = (outputs.shell / "packages.txt").read_text()
    wanted = ["linux-(image|binary|modules)-.*", "(raspi-)?firmware.*", ".*-microcode"]
    wanted += ["wireless-regdb", packages.STATIC_SHELL, *map(re.escape, settings.firmware)]
    if outputs.boot is not None:
        listing += (outputs.boot.loaders / "packages.txt").read_text()
        wanted += loaders.LOADERS_OF[settings.arch.name].packages
    return packages.parse_status(status) + packages.parse_listing(listing, "|".join(wanted))
