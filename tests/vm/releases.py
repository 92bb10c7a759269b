"""Releases made from this build's own artifacts with parts changed, signed with a test key."""

import hashlib
import json
import os
from pathlib import Path

from k3os.generation.release import ARTIFACTS
from k3os.image.signing import sign
from k3os.system.run import run

MANIFEST = "k3os-manifest-amd64.json"


class Releases:
    """Release directories below one that a web server serves; url: as the node sees it."""

    def __init__(self, built: Path, directory: Path, url: str, key: Path) -> None:
        self.built = built
        self.directory = directory
        self.url = url
        self.key = key

    def make(self, version: str, **changed: bytes) -> str:
        """Make a release and return its URL. changed: artifact (without the architecture) -> its
        new contents."""
        target = self.directory / version
        target.mkdir()
        manifest = json.loads((self.built / MANIFEST).read_text())
        manifest["sha256"], manifest["size"] = {}, {}
        manifest["k3os"] = version
        for (component, name), artifact in ARTIFACTS.items():
            artifact = artifact.format(arch="amd64")
            path = target / artifact
            if name.partition(".")[0] in changed:
                path.write_bytes(changed[name.partition(".")[0]])
            else:
                os.symlink((self.built / artifact).absolute(), path)
            place = f"{component}/{manifest[component]}/{name}"
            manifest["sha256"][place] = hashlib.sha256(path.read_bytes()).hexdigest()
            manifest["size"][place] = path.stat().st_size
        data = json.dumps(manifest).encode()
        (target / MANIFEST).write_bytes(data)
        (target / f"{MANIFEST}.sig").write_bytes(sign(data, self.key))
        return f"{self.url}/{version}"

    def make_iso(self, version: str, **changed: bytes) -> Path:
        """The same on an ISO, which cannot boot."""
        self.make(version, **changed)
        release = self.directory / version
        sums = json.loads((release / MANIFEST).read_text())["sha256"]
        iso = self.directory / f"{version}.iso"
        command = ["xorriso", "-outdev", str(iso), "-volid", "RELEASE"]
        system = "/k3os/system"
        generation = f"{system}/generations/1"
        for name in (MANIFEST, f"{MANIFEST}.sig"):
            place = f"{generation}/{name.replace(MANIFEST, 'manifest.json')}"
            command += ["-map", str(release / name), place]
        for place in sums:
            component, _, name = place.split("/")
            artifact = release / ARTIFACTS[component, name].format(arch="amd64")
            command += ["-map", str(artifact.resolve()), f"{system}/{place}"]
        run([*command, "-lns", "generations/1", f"{system}/current"])
        return iso


def padded(path: Path, padding: str = "another version") -> bytes:
    """The same image with different bytes after its end."""
    return path.read_bytes() + padding.encode().ljust(4096, b"\0")
