"""Our images as the bench needs them: both kernels, with the stand-in for k3s; build times.

The images are in the bench's own directory: `dist/artifacts` belongs to the user.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench import scenario
from bench.table import Row, Samples
from k3os.image.progress import Progress
from k3os.image.settings import Settings
from k3os.system.run import run

STUB = Path(__file__).with_name("k3s")
DISK_SIZE = "4G"  # with a real k3s, for both systems: it unpacks itself
COLD_BUILD_SECONDS = 300
REBUILD_SECONDS = 40
# A source file in both the rootfs and the initrd: a change causes the longest rebuild.
CHANGED_SOURCE = "src/k3os/errors.py"


@dataclass(frozen=True)
class Image:
    """The artifacts of one of our builds."""

    directory: Path
    arch: str

    @property
    def iso(self) -> Path:
        return self.directory / f"k3os-{self.arch}.iso"

    @property
    def kernel(self) -> Path:
        return self.directory / f"k3os-vmlinuz-{self.arch}"

    @property
    def initrd(self) -> Path:
        return self.directory / f"k3os-initrd-{self.arch}"

    @property
    def disk(self) -> Path:
        return self.directory / "k3os.raw"

    @property
    def rootfs(self) -> Path:
        return self.directory / f"k3os-rootfs-{self.arch}.tar.gz"


def build_image(
    settings: Settings, progress: Progress, kernel: str, real: Path | None = None
) -> Image:
    """Build our image with kernel ("cloud", "generic"); fast if nothing has changed.

    real: a k3s instead of the stand-in.
    """
    directory = settings.cache / "bench" / f"artifacts-{kernel}{'-k3s' if real else ''}"
    directory.mkdir(parents=True, exist_ok=True)
    config = directory / "config.yaml"
    config.write_text(scenario.READY_CONFIG_YAML if real else scenario.CONFIG_YAML)
    with progress.stage(f"k3OS {kernel}"):
        _build(
            settings.source,
            settings.cache,
            directory,
            kernel,
            progress.log,
            config,
            real or STUB,
        )
    image = Image(directory, settings.arch.name)
    if real:
        with progress.stage("k3OS disk"):
            _make_disk(settings, image, progress.log)
    return image


def _make_disk(settings: Settings, image: Image, log: int) -> None:
    """Run `k3os image` on the ISO, for a disk as large as the peer's."""
    command = [sys.executable, "-m", "k3os", "image", "--format", "raw", "--size", DISK_SIZE]
    image.disk.unlink(missing_ok=True)
    run(
        [*command, "--iso", str(image.iso), "-o", str(image.disk)],
        env={"PYTHONPATH": str(settings.source / "src")},
        cwd=str(settings.source),
        log=log,
    )


def _build(
    source: Path,
    cache: Path,
    artifacts: Path,
    kernel: str,
    log: int,
    config: Path | None = None,
    k3s: Path = STUB,
) -> float:
    """Run `k3os build` on the sources in source; returns the seconds it took."""
    environment = {
        "PYTHONPATH": str(source / "src"),
        "KERNEL": kernel,
        "K3S": str(k3s),
        "K3S_AIRGAP": "",
        "CONFIG": str(config) if config else "",
        "CACHE": str(cache),
        "ARTIFACTS": str(artifacts),
    }
    start = time.monotonic()
    run([sys.executable, "-m", "k3os", "build"], env=environment, cwd=str(source), log=log)
    return time.monotonic() - start


def build_times(settings: Settings, progress: Progress) -> list[Row]:
    """In a copy of the sources, build everything from scratch, then again after a change in src/.

    Downloads all packages; takes minutes.
    """
    parent = settings.cache / "bench"
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent, prefix="build-") as name:
        copy = Path(name) / "source"
        _copy_sources(settings.source, copy)
        places = (copy, Path(name) / "cache", Path(name) / "artifacts", "generic", progress.log)
        with progress.stage("cold build"):
            cold = _build(*places)
        with open(copy / CHANGED_SOURCE, "a") as file:
            file.write("# changed by the bench\n")
        with progress.stage("rebuild"):
            rebuild = _build(*places)
    return [
        Row(
            f"cold build, generic kernel, {os.cpu_count()} cores",
            Samples((cold,), "s"),
            at_most=COLD_BUILD_SECONDS,
        ),
        Row("rebuild after a change in src/", Samples((rebuild,), "s"), at_most=REBUILD_SECONDS),
    ]


def _copy_sources(source: Path, copy: Path) -> None:
    for directory in ("src", "overlay"):
        shutil.copytree(
            source / directory,
            copy / directory,
            symlinks=True,
            ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"),
        )
