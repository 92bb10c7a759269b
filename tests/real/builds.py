"""Builds k3OS with the lab's k3s and images: this tree as it is, or with a later version."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

from k3os.image.settings import from_environment
from k3os.system.run import run
from tests.real.given import Given
from tests.real.lab import say

ROOT = Path(__file__).parents[2]
SECONDS = 1800
# the parts of this tree that a build reads
SOURCES = ("src", "overlay", "install.sh", "pyproject.toml", "requirements-operator.lock")
VERSION = re.compile(r'^__version__ = ".*"$', re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Builds:
    """images: archives of container images that are on every ISO."""

    k3s: Given
    images: tuple[Path, ...]
    output: Path

    def current(self) -> Path:
        """The directory with the artifacts of this tree."""
        return self._build(ROOT, self.output / "artifacts")

    def version(self, version: str) -> Path:
        """Artifacts of a copy of this tree with another version in all its parts, so that the
        operator has that version, too, as in a real release."""
        with tempfile.TemporaryDirectory() as place:
            tree = Path(place) / "k3os"
            tree.mkdir()
            for name in SOURCES:
                source = ROOT / name
                copy = shutil.copytree if source.is_dir() else shutil.copy
                copy(source, tree / name)
            file = tree / "src/k3os/__init__.py"
            text, count = VERSION.subn(f'__version__ = "{version}"', file.read_text())
            assert count == 1, file
            file.write_text(text)
            return self._build(tree, self.output / version)

    def _build(self, tree: Path, artifacts: Path) -> Path:
        wanted = {
            "KERNEL": os.environ.get("KERNEL") or "cloud",
            "K3S": str(self.k3s.k3s.path),
            "K3S_AIRGAP": " ".join(map(str, self.images)),
            "ARTIFACTS": str(artifacts),
            "CACHE": str(from_environment(os.environ).cache.absolute()),
            "ARCH": "amd64",
            "CONFIG": "",
            "SIGN_KEY": "",
            "PYTHONPATH": str(tree / "src"),
        }
        say(f"building k3OS with k3s {self.k3s.k3s.version}: {artifacts.name}")
        run([sys.executable, "-m", "k3os", "build"], env=wanted, timeout=SECONDS)
        return artifacts
