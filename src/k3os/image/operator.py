"""The operator's image: the node's Python without the node, libraries from wheels, our code.

Two layers: Python with the libraries, which is the same for many versions of k3OS, and our
package. Modules that are not ours are there in compiled form only: the image lies on every node,
and their sources would make it half as large again. Users and modes exist only in the archive.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

from k3os import __version__
from k3os.errors import UserError
from k3os.image import oci
from k3os.image.cache import Cache, digest
from k3os.image.elf import needed_libraries, stripped
from k3os.image.progress import Progress
from k3os.image.rootfs import PACKAGES, PYTHON, compile_code, compile_directory, remove_unused
from k3os.image.settings import Settings
from k3os.image.tree import FILE, SYMLINK, Entry, Tree, read_tar
from k3os.image.wheels import LOCK, Wheel, download, unpack
from k3os.operator.manifests import UID, Build, as_yaml, image_name

IMAGE, IMAGE_ID, MANIFESTS = "image.tar.zst", "image-id", "manifests.yaml"
# of the base: a frame, what is in it, and the wheels for the SBOM
FRAME, LAYER, WHEELS = "layer.zst", "layer.json", "wheels.json"
# modules of the build that decide what is in the base
BASE_CODE = ("elf", "oci", "operator", "rootfs", "tree", "wheels")
# Python has no use for a time, and a layer that does not change can be shared by versions
BASE_TIME = 0
# subpackages and commands of a workstation
WITHOUT = (("image", "vm"), ("build.py", "run.py"))
# of the standard library: what needs libraries for terminals and databases, old encodings
UNUSED = (
    *(f"{PYTHON}/{name}" for name in ("curses", "dbm", "sqlite3", "venv", "_pyrepl", "pydoc.py")),
    *(f"{PYTHON}/lib-dynload/{name}.*" for name in ("_curses*", "_dbm", "_gdbm", "_sqlite3")),
    *(f"{PYTHON}/lib-dynload/{name}.*" for name in ("readline", "_test*", "_tkinter", "xx*")),
    f"{PYTHON}/lib-dynload/_codecs_*",
)
CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"
KEPT = ("usr/share/zoneinfo", "usr/lib/ssl", "etc/ssl/openssl.cnf", CERTIFICATES)
MERGED = ("bin", "lib", "lib64")  # links to the same in /usr
FILES = {
    "etc/passwd": f"root:x:0:0:root:/:/sbin/nologin\nk3os:x:{UID}:{UID}:k3OS:/:/sbin/nologin\n",
    "etc/group": f"root:x:0:\nk3os:x:{UID}:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}
SETTINGS = {
    "User": f"{UID}:{UID}",
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
    """The finished stages; None where no operator is wanted, or possible.

    content: what identifies the bytes of base_tar.
    """
    if not settings.operator:
        return None
    if not settings.arch.wheels:
        progress.note(f"no operator: its libraries have no wheels for {settings.arch.name}")
        return None
    code = [Path(__file__).with_name(f"{name}.py") for name in BASE_CODE]
    base = cache.stage(
        "operator-base",
        digest(content, settings.arch.name, settings.source / LOCK, *code),
        lambda out: build_base(settings, progress, base_tar, out),
    )
    built = cache.stage(
        "operator",
        digest(base.name, settings.source / "src" / "k3os", settings.epoch),
        lambda out: build_image(settings, progress, base_tar, base, out),
    )
    return Built(base, built)


def build_base(settings: Settings, progress: Progress, base_tar: Path, output: Path) -> None:
    """Write the layer of Python and the wheels: FRAME, LAYER and WHEELS."""
    wheels = download(settings, progress)
    tree = base_tree(settings, progress, read_tar(base_tar), wheels)
    purpose = "Python with the libraries of requirements-operator.lock"
    layer = oci.write_layer(tree, purpose, output / FRAME, BASE_TIME)
    (output / LAYER).write_text(json.dumps([layer.sha256, layer.size, layer.unpacked, purpose]))
    listed = [(wheel.name, wheel.version, wheel.sha256) for wheel in wheels]
    (output / WHEELS).write_text(json.dumps(listed))


def build_image(
    settings: Settings, progress: Progress, base_tar: Path, base: Path, output: Path
) -> None:
    """Write IMAGE, IMAGE_ID and MANIFESTS; base: the directory of build_base."""
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
    (output / IMAGE_ID).write_text(f"{known}\n")
    build = Build(__version__, known, settings.arch.name)
    (output / MANIFESTS).write_text(as_yaml(build))


def wheels_of(base: Path) -> list[tuple[str, str, str]]:
    """Name, version and SHA-256 of each wheel in the image."""
    return [
        (name, version, sha256) for name, version, sha256 in json.loads((base / WHEELS).read_text())
    ]


def base_tree(settings: Settings, progress: Progress, system: Tree, wheels: list[Wheel]) -> Tree:
    """Python, the wheels' packages, and what both need of the system. Raises UserError."""
    remove_unused(system)
    system.remove(*UNUSED)
    tree = system.subtree(KEPT)
    _add_compiled(tree, system)
    for path in ("usr/bin/python3", "usr/bin/python3.13", *MERGED):
        if path in system:
            tree.add(path, system.entries[path])
    with tempfile.TemporaryDirectory() as directory:
        code = Path(directory)
        for wheel in wheels:
            unpack(wheel, code)
        compile_directory(settings, system, code, progress, "-b")
        for file in sorted(code.rglob("*")):
            if file.is_file() and file.suffix != ".py":
                mode = 0o755 if ".so" in file.name else 0o644
                data = stripped(file.read_bytes())
                tree.file(f"{PACKAGES}/{file.relative_to(code)}", data, mode)
    add_libraries(tree, system, f"usr/lib/{settings.arch.triplet}")
    _add_loader(tree, system, settings.arch.loader)
    for path, text in FILES.items():
        tree.file(path, text.encode())
    for path in ("dev", "proc", "run", "sys"):
        tree.directory(path)
    tree.directory("tmp", 0o1777)
    return tree


def _add_compiled(tree: Tree, system: Tree) -> None:
    """The standard library: each module's compiled form in the place of its source."""
    suffix = ".cpython-313.pyc"
    for path, entry in system.entries.items():
        if not path.startswith(f"{PYTHON}/") or entry.kind != FILE:
            continue
        directory, _, name = path.rpartition("/")
        if directory.endswith("/__pycache__"):
            if name.endswith(suffix):
                module = name.removesuffix(suffix)
                tree.add(f"{directory.removesuffix('/__pycache__')}/{module}.pyc", entry)
        elif not name.endswith(".py"):
            tree.add(path, entry)


def add_libraries(tree: Tree, system: Tree, directory: str) -> None:
    """Add the shared libraries that the tree's programs and modules need, and those they need.

    directory: where the system has its own. Raises UserError for one that is nowhere.
    """
    known = {path.rpartition("/")[2] for path in tree.entries}
    waiting = [path for path, entry in tree.entries.items() if entry.kind == FILE]
    while waiting:
        path = waiting.pop()
        for name in sorted(needed_libraries(tree.read(path)) - known):
            found = f"{directory}/{name}"
            if found not in system:
                raise UserError(
                    f"/{path} needs {name}, which is not in the base system",
                    "the package with it belongs to NODE_PACKAGES in image/packages.py",
                )
            real = system.resolve(found)
            tree.add(found, system.entries[real])
            known.add(name)
            waiting.append(found)


def _add_loader(tree: Tree, system: Tree, loader: str) -> None:
    """The dynamic linker under the name that programs have for it (a path through links)."""
    real = system.resolve(loader)
    tree.add(real, system.entries[real])
    directory, _, name = loader.partition("/")
    tree.add(f"usr/{directory}/{name}", Entry(SYMLINK, 0o777, target=f"/{real}"))
