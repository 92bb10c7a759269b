"""The lower layer of the operator's image: the node's Python without the node, and wheels.

Many versions of k3OS share it. Foreign modules are included only in compiled form: the image is on
every node, and their sources would make it half as large again. Users and modes exist only in the
archive.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from k3os.errors import UserError
from k3os.image import oci
from k3os.image.elf import needed_libraries, stripped
from k3os.image.progress import Progress
from k3os.image.rootfs import PACKAGES, PYTHON, compile_directory, remove_unused
from k3os.image.settings import Settings
from k3os.image.tree import FILE, SYMLINK, Entry, Tree, read_tar
from k3os.image.wheels import Wheel, download, unpack
from k3os.names import OPERATOR_UID as UID

# files of the stage: a frame, its description, and the wheels for the SBOM
FRAME, LAYER, WHEELS = "layer.zst", "layer.json", "wheels.json"
# Python does not need times, and versions can share a layer that does not change
BASE_TIME = 0
# parts of the standard library that need libraries for terminals and databases; old encodings
UNUSED = (
    *(f"{PYTHON}/{name}" for name in ("curses", "dbm", "sqlite3", "venv", "_pyrepl", "pydoc.py")),
    *(f"{PYTHON}/lib-dynload/{name}.*" for name in ("_curses*", "_dbm", "_gdbm", "_sqlite3")),
    *(f"{PYTHON}/lib-dynload/{name}.*" for name in ("readline", "_test*", "_tkinter", "xx*")),
    f"{PYTHON}/lib-dynload/_codecs_*",
)
CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"
KEPT = ("usr/share/zoneinfo", "usr/lib/ssl", "etc/ssl/openssl.cnf", CERTIFICATES)
MERGED = ("bin", "lib", "lib64")  # links to directories in /usr
FILES = {
    "etc/passwd": f"root:x:0:0:root:/:/sbin/nologin\nk3os:x:{UID}:{UID}:k3OS:/:/sbin/nologin\n",
    "etc/group": f"root:x:0:\nk3os:x:{UID}:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}


def build_base(settings: Settings, progress: Progress, base_tar: Path, output: Path) -> None:
    """Write the layer of Python and the wheels: FRAME, LAYER and WHEELS."""
    wheels = download(settings, progress)
    tree = base_tree(settings, progress, read_tar(base_tar), wheels)
    purpose = "Python with the libraries of requirements-operator.lock"
    layer = oci.write_layer(tree, purpose, output / FRAME, BASE_TIME)
    (output / LAYER).write_text(json.dumps([layer.sha256, layer.size, layer.unpacked, purpose]))
    listed = [(wheel.name, wheel.version, wheel.sha256) for wheel in wheels]
    (output / WHEELS).write_text(json.dumps(listed))


def base_tree(settings: Settings, progress: Progress, system: Tree, wheels: list[Wheel]) -> Tree:
    """Python, the wheels' packages, and what both need from the system. Raises UserError."""
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
    """The standard library, with each module's compiled form instead of its source."""
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
    """Add the shared libraries that the tree's programs and modules need, directly or indirectly.

    directory: where the system keeps its own. Raises UserError if one is missing.
    """
    known = {path.rpartition("/")[2] for path in tree.entries}
    waiting = [path for path, entry in tree.entries.items() if entry.kind == FILE]
    while waiting:
        path = waiting.pop()
        for name in sorted(needed_libraries(tree.read(path)) - known):
            candidate = f"{directory}/{name}"
            if candidate not in system:
                raise UserError(
                    f"/{path} needs {name}, which is not in the base system",
                    "the package with it belongs to NODE_PACKAGES in image/packages.py",
                )
            real = system.resolve(candidate)
            tree.add(candidate, system.entries[real])
            known.add(name)
            waiting.append(candidate)


def _add_loader(tree: Tree, system: Tree, loader: str) -> None:
    """The dynamic linker, under the path in the programs (which contains links)."""
    real = system.resolve(loader)
    tree.add(real, system.entries[real])
    directory, _, name = loader.partition("/")
    tree.add(f"usr/{directory}/{name}", Entry(SYMLINK, 0o777, target=f"/{real}"))
