"""Reads an archive of an OCI image, as strictly as the specification allows.

image-spec 1.1: "Image Layout", "Content Descriptors", "Image Manifest", "Image Configuration".
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from pathlib import Path
from typing import Any

from k3os.system.run import run

MEDIA = "application/vnd.oci.image"
DIGEST = re.compile(r"sha256:([0-9a-f]{64})")


class Layout:
    """The checked files of an archive, with manifest and configuration of its only image."""

    def __init__(self, archive: Path) -> None:
        data = run(["zstd", "-dc", str(archive)])
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            members = [info for info in tar if info.isfile()]
            names = [info.name for info in members]
            assert len(set(names)) == len(names)
            self.files = {info.name: _read(tar, info) for info in members}
        assert data.endswith(bytes(2 * tarfile.BLOCKSIZE)), "a tar ends with two empty blocks"
        self.used = {"oci-layout", "index.json", "manifest.json"}
        assert json.loads(self.files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
        index = json.loads(self.files["index.json"])
        assert index["schemaVersion"] == 2
        (self.entry,) = index["manifests"]
        manifest = json.loads(self.blob(self.entry, f"{MEDIA}.manifest.v1+json"))
        assert manifest["schemaVersion"] == 2
        # what Kubernetes and containerd call an image's ID
        self.image_id: str = manifest["config"]["digest"]
        self.config = json.loads(self.blob(manifest["config"], f"{MEDIA}.config.v1+json"))
        packed = [self.blob(each, f"{MEDIA}.layer.v1.tar+zstd") for each in manifest["layers"]]
        self.layers = [run(["zstd", "-dc"], stdin=layer) for layer in packed]
        self._check_config(manifest)
        self._check_docker(manifest)
        assert self.used == set(self.files), "nothing else is in it"

    def blob(self, descriptor: dict[str, Any], media_type: str) -> bytes:
        """What a descriptor points to; checks its size and digest."""
        assert descriptor["mediaType"] == media_type
        match = DIGEST.fullmatch(descriptor["digest"])
        assert match
        name = f"blobs/sha256/{match[1]}"
        data = self.files[name]
        assert len(data) == descriptor["size"]
        assert hashlib.sha256(data).hexdigest() == match[1]
        self.used.add(name)
        return data

    def _check_config(self, manifest: dict[str, Any]) -> None:
        platform = self.entry["platform"]
        assert (self.config["architecture"], self.config["os"]) == (
            platform["architecture"],
            platform["os"],
        )
        assert self.config["rootfs"]["type"] == "layers"
        found = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in self.layers]
        assert self.config["rootfs"]["diff_ids"] == found
        assert len(self.config["history"]) == len(manifest["layers"])

    def _check_docker(self, manifest: dict[str, Any]) -> None:
        (only,) = json.loads(self.files["manifest.json"])

        def path(descriptor: dict[str, Any]) -> str:
            return f"blobs/{descriptor['digest'].replace(':', '/')}"

        assert only["Config"] == path(manifest["config"])
        assert only["Layers"] == [path(each) for each in manifest["layers"]]
        assert only["RepoTags"] == [self.name]

    @property
    def name(self) -> str:
        """What containerd calls the image."""
        name: str = self.entry["annotations"]["io.containerd.image.name"]
        tag = self.entry["annotations"]["org.opencontainers.image.ref.name"]
        assert name.rpartition(":")[2] == tag
        return name

    def members(self) -> dict[str, tarfile.TarInfo]:
        """The files of all layers; those of higher layers win."""
        found = {}
        for layer in self.layers:
            with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
                for info in tar:
                    assert not info.name.startswith(("/", "./", "../"))
                    found[info.name.rstrip("/")] = info
        return found

    def unpack(self, directory: Path) -> None:
        """Unpack the layers, lowest first, as a container sees them."""
        for layer in self.layers:
            run(["tar", "-x", "-p", "-C", str(directory)], stdin=layer)


def _read(tar: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(info)
    assert file is not None
    return file.read()
