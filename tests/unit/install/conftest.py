"""A fake medium to install from."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from k3os.generation import layout

FILES = {
    "kernel/6.1/vmlinuz": b"kernel",
    "k3os/0.2/rootfs.squashfs": b"rootfs" * 1000,
    "k3s/v1/k3s": b"k3s",
}


@pytest.fixture
def medium(tmp_path: Path) -> Path:
    """A medium with /k3os/system and the boot loaders."""
    root = tmp_path / "medium"
    system = root / "k3os/system"
    for name, data in FILES.items():
        (system / name).parent.mkdir(parents=True)
        (system / name).write_bytes(data)
    (system / "k3s/v1/k3s").chmod(0o555)
    manifest = {
        "generation": 1,
        "kernel": "6.1",
        "k3os": "0.2",
        "k3s": "v1",
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in FILES.items()},
    }
    (system / "generations/1").mkdir(parents=True)
    (system / "generations/1/manifest.json").write_text(json.dumps(manifest))
    (system / "current").symlink_to("generations/1")
    for name in layout.LOADER_FILES["amd64"]:
        (root / layout.LOADERS).mkdir(parents=True, exist_ok=True)
        (root / layout.LOADERS / name).write_bytes(b"loader")
    return root
