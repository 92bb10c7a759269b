"""An OCI image as one archive that `ctr images import`, k3s, podman and `docker load` accept.

It knows nothing about the contents. Layers are compressed, since a node keeps them beside the
unpacked files. The archive is a sequence of zstd frames, which decoders read as one stream: a large
layer, which takes long to compress and seldom changes, is cached as a frame.

Formats: OCI image layout and image specification 1.1 (github.com/opencontainers/image-spec);
Docker's manifest.json (docker image save); ustar (POSIX.1-1988); zstd frames (RFC 8878, 3.1).
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from k3os.image.tree import Tree, write_tar
from k3os.system.run import run
from k3os.system.stamps import utc

MEDIA = "application/vnd.oci.image"
# zstd's best that needs at most 8 MiB to unpack; and one for data that is already compressed
BEST, QUICK = "-19", "-1"


@dataclass(frozen=True)
class Layer:
    """A layer, and the frame that contains it as a member of the archive. sha256, size: of the
    compressed layer; unpacked: the SHA-256 of the tar; purpose: for the image's history."""

    sha256: str
    size: int
    unpacked: str
    purpose: str
    frame: Path


@dataclass(frozen=True)
class Image:
    """name: includes the tag. settings: the container's ("config" of the image specification)."""

    name: str
    arch: str
    epoch: int
    settings: dict[str, Any]


def write_layer(tree: Tree, purpose: str, frame: Path, epoch: int) -> Layer:
    """Compress a tree as one layer, with all times set to epoch."""
    output = BytesIO()
    write_tar(tree, output, epoch)
    unpacked = hashlib.sha256(output.getbuffer()).hexdigest()
    _compress(output.getvalue(), frame, BEST)
    data = frame.read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    _compress(_member(f"blobs/sha256/{sha256}", data), frame, QUICK)
    return Layer(sha256, len(data), unpacked, purpose, frame)


def write_archive(image: Image, layers: Sequence[Layer], target: Path) -> None:
    """Write the archive of finished layers, the lowest first."""
    head = target.with_name(f"{target.name}.head")
    end = target.with_name(f"{target.name}.end")
    described = descriptions(image, layers).items()
    _compress(b"".join(_member(name, data) for name, data in described), head, BEST)
    _compress(bytes(2 * tarfile.BLOCKSIZE), end, BEST)
    with open(target, "wb") as output:
        for frame in (head, *(layer.frame for layer in layers), end):
            output.write(frame.read_bytes())
    head.unlink()
    end.unlink()


def image_id(image: Image, layers: Sequence[Layer]) -> str:
    """The digest of the image's configuration, which containerd and the kubelet call its ID."""
    return f"sha256:{hashlib.sha256(_json(configuration(image, layers))).hexdigest()}"


def manifest_digest(image: Image, layers: Sequence[Layer]) -> str:
    """The digest of the image in a registry, if it is pushed unchanged."""
    index = json.loads(descriptions(image, layers)["index.json"])
    return str(index["manifests"][0]["digest"])


def descriptions(image: Image, layers: Sequence[Layer]) -> dict[str, bytes]:
    """Everything in the archive except the layers: name -> content."""
    config = _json(configuration(image, layers))
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": f"{MEDIA}.manifest.v1+json",
            "config": _descriptor(f"{MEDIA}.config.v1+json", config),
            "layers": [
                {
                    "mediaType": f"{MEDIA}.layer.v1.tar+zstd",
                    "digest": f"sha256:{layer.sha256}",
                    "size": layer.size,
                }
                for layer in layers
            ],
        }
    )
    entry = {
        **_descriptor(f"{MEDIA}.manifest.v1+json", manifest),
        "annotations": {
            "io.containerd.image.name": image.name,
            "org.opencontainers.image.ref.name": image.name.rpartition(":")[2],
        },
        "platform": {"architecture": image.arch, "os": "linux"},
    }
    index = {
        "schemaVersion": 2,
        "mediaType": f"{MEDIA}.index.v1+json",
        "manifests": [entry],
    }
    docker = {
        "Config": _blob(config),
        "RepoTags": [image.name],
        "Layers": [f"blobs/sha256/{layer.sha256}" for layer in layers],
    }
    return {
        "oci-layout": _json({"imageLayoutVersion": "1.0.0"}),
        "index.json": _json(index),
        "manifest.json": _json([docker]),
        _blob(config): config,
        _blob(manifest): manifest,
    }


def configuration(image: Image, layers: Sequence[Layer]) -> dict[str, Any]:
    """The image's configuration."""
    created = utc(image.epoch)
    return {
        "created": created,
        "architecture": image.arch,
        "os": "linux",
        "config": image.settings,
        "rootfs": {
            "type": "layers",
            "diff_ids": [f"sha256:{layer.unpacked}" for layer in layers],
        },
        "history": [{"created": created, "created_by": layer.purpose} for layer in layers],
    }


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def _blob(data: bytes) -> str:
    return f"blobs/sha256/{hashlib.sha256(data).hexdigest()}"


def _descriptor(media_type: str, data: bytes) -> dict[str, Any]:
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    return {"mediaType": media_type, "digest": digest, "size": len(data)}


def _member(name: str, data: bytes) -> bytes:
    """A file as part of a tar, without the tar's end marker."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    padding = bytes(-len(data) % tarfile.BLOCKSIZE)
    return info.tobuf(tarfile.USTAR_FORMAT) + data + padding


def _compress(data: bytes, target: Path, level: str) -> None:
    # one thread: with several, the bytes might depend on the machine
    run(["zstd", "-q", "-f", level, "-T1", "-o", str(target)], stdin=data)
