"""The operator's image: a layer of Python with libraries (operator_base.py), one of our package."""

from __future__ import annotations

import gzip
import io
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from k3os import __version__
from k3os.image import oci
from k3os.image.cache import Cache, digest
from k3os.image.operator_base import CERTIFICATES, FRAME, LAYER, WHEELS, build_base
from k3os.image.progress import Progress
from k3os.image.rootfs import PACKAGES, compile_code
from k3os.image.settings import Settings
from k3os.image.sources import closure
from k3os.image.tree import Tree, read_tar, write_tar
from k3os.image.wheels import LOCK
from k3os.names import OPERATOR_UID
from k3os.operator.chart import chart
from k3os.operator.kustomize import base as kustomize_base
from k3os.operator.kustomize import build_for
from k3os.operator.manifests import Build, as_yaml, image_name

IMAGE, IMAGE_ID, IMAGE_NAME = "image.tar.zst", "image-id", "image-name"
MANIFESTS = "manifests.yaml"
# for nodes without an image; in a separate directory, since they do not go into a node
TO_INSTALL = "to-install"
CHART, KUSTOMIZE = f"{TO_INSTALL}/chart.tgz", f"{TO_INSTALL}/kustomize.tar.gz"
# subpackages and commands for workstations only
WITHOUT = (("image", "vm"), ("build.py", "run.py"))
# the modules that build the base
CODE = ("k3os.image.operator_base",)
SETTINGS = {
    "User": f"{OPERATOR_UID}:{OPERATOR_UID}",
    "Entrypoint": ["/usr/bin/python3", "-m", "k3os", "operator"],
    "Cmd": ["run"],
    "WorkingDir": "/",
    "Env": [
        "PATH=/usr/bin",
        "LANG=C.UTF-8",
        "PYTHONUNBUFFERED=1",
        "PYTHONDONTWRITEBYTECODE=1",
        f"SSL_CERT_FILE=/{CERTIFICATES}",
    ],
    "Labels": {
        "org.opencontainers.image.title": "k3os-operator",
        "org.opencontainers.image.version": __version__,
        "org.opencontainers.image.licenses": "Apache-2.0",
    },
}


@dataclass(frozen=True)
class Built:
    """The directories of the stages: the base's layer, and the image with its manifests."""

    base: Path
    image: Path


def stages(
    settings: Settings, progress: Progress, cache: Cache, base_tar: Path, content: str
) -> Built | None:
    """The finished stages; None if no operator is wanted, or possible.

    content: identifies the bytes of base_tar.
    """
    if not settings.operator:
        return None
    if not settings.arch.wheels:
        progress.note(f"no operator: its libraries have no wheels for {settings.arch.name}")
        return None
    base = cache.stage(
        "operator-base",
        digest(content, settings.arch.name, settings.source / LOCK, *closure(*CODE)),
        lambda out: build_base(settings, progress, base_tar, out),
    )
    built = cache.stage(
        "operator",
        digest(base.name, settings.source / "src" / "k3os", settings.epoch),
        lambda out: build_image(settings, progress, base_tar, base, out),
    )
    return Built(base, built)


def build_image(
    settings: Settings, progress: Progress, base_tar: Path, base: Path, output: Path
) -> None:
    """Write IMAGE, IMAGE_ID, IMAGE_NAME, MANIFESTS, CHART and KUSTOMIZE; base: the directory of
    build_base."""
    sha256, size, unpacked, purpose = json.loads((base / LAYER).read_text())
    lower = oci.Layer(sha256, size, unpacked, purpose, base / FRAME)
    with tempfile.TemporaryDirectory(dir=output) as directory:
        code = Path(directory) / "code"
        compile_code(settings, read_tar(base_tar), code, progress, WITHOUT)
        tree = Tree()
        tree.copy_directory(code, PACKAGES)
        frame = Path(directory) / FRAME
        upper = oci.write_layer(tree, f"k3OS {__version__}", frame, settings.epoch)
        described = oci.Image(image_name(__version__), settings.arch.name, settings.epoch, SETTINGS)
        oci.write_archive(described, [lower, upper], output / IMAGE)
        known = oci.image_id(described, [lower, upper])
        digest_in_registry = oci.manifest_digest(described, [lower, upper])
    (output / IMAGE_ID).write_text(f"{known}\n")
    (output / IMAGE_NAME).write_text(f"{described.name}\n")
    build = Build(__version__, known, settings.arch.name)
    (output / MANIFESTS).write_text(as_yaml(build))
    (output / TO_INSTALL).mkdir()
    pulled = build_for(__version__, settings.arch.name)
    made = {CHART: chart(pulled, digest_in_registry), KUSTOMIZE: kustomize_base(pulled)}
    for name, files in made.items():
        (output / name).write_bytes(packed(files, settings.epoch))


def packed(files: Mapping[str, str], epoch: int) -> bytes:
    """Texts by path as a reproducible .tar.gz."""
    tree, output = Tree(), io.BytesIO()
    for path, text in files.items():
        tree.file(path, text.encode())
    write_tar(tree, output, epoch)
    return gzip.compress(output.getvalue(), mtime=0)


def wheels_of(base: Path) -> list[tuple[str, str, str]]:
    """Name, version and SHA-256 of each wheel in the image."""
    return [
        (name, version, sha256) for name, version, sha256 in json.loads((base / WHEELS).read_text())
    ]
