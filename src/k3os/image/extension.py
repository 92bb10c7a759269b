"""A system extension (systemd-sysext(8)) of Debian packages and files, as a reproducible squashfs.

apt is told that the image's packages are installed, so it adds only what is missing; of that, files
that a node would not see or use are left out. Files of packages below /etc and /var become sources
for tmpfiles.d(5), and maintainer scripts are not run: docs/how-to/extensions.md.
"""

from __future__ import annotations

import re
from pathlib import Path

from k3os.errors import UserError
from k3os.generation import extension_fit
from k3os.image import packages, rootfs
from k3os.image.agents import choose_agents
from k3os.image.build import base_stage
from k3os.image.cache import Cache, digest
from k3os.image.extension_request import ExtensionRequest
from k3os.image.extension_units import enable, units_in
from k3os.image.places import add_places, choose_profiles
from k3os.image.progress import Progress
from k3os.image.publish import write_signed
from k3os.image.settings import SUITE, Settings
from k3os.image.tree import DIRECTORY, FILE, SYMLINK, Entry, Tree, read_tar
from k3os.system.digest import file_sha256

SUMS = ".sha256"
FACTORY = "usr/share/factory"
LISTED = "usr/share/k3os/extensions"
# the values of ARCHITECTURE= (systemd.unit(5), ConditionArchitecture=)
ARCHITECTURES = {"amd64": "x86-64", "arm64": "arm64", "arm": "arm"}
MERGED = ("bin", "sbin", "lib", "lib64")
# what no node reads, or what is for other parts of Debian that are not there
DROPPED = (
    *(f"usr/share/{name}" for name in ("man", "info", "locale", "lintian", "bug", "doc-base")),
    *("usr/share/bash-completion", "usr/share/zsh", "usr/share/fish", "usr/share/applications"),
    *("usr/share/icons", "usr/share/pixmaps", "usr/share/menu", "usr/share/initramfs-tools"),
    *(
        "usr/include",
        "usr/lib/*/pkgconfig",
        "usr/lib/*.a",
        "usr/share/debconf",
        "usr/share/reportbug",
    ),
    *("etc/init.d", "etc/rc?.d", "etc/cron.*", "etc/logrotate.d", "etc/apt", "etc/dpkg"),
    *("etc/kernel", "etc/initramfs-tools", "etc/network", "etc/ufw", "etc/init"),
    *("var/lib/dpkg", "var/lib/apt", "var/cache/apt"),
)
# what it writes itself, including the workstation's name
OF_MMDEBSTRAP = ("etc/hostname", "etc/fstab", "etc/resolv.conf", "etc/apt", "var/log/apt")
LICENCE = re.compile(r"usr/share/doc/[^/]+/copyright")
KERNEL_MODULE = re.compile(r"usr/lib/modules/.*\.ko(\.\w+)?")
KEPT_TOPS = ("usr", "opt", "etc", "var")


def make(request: ExtensionRequest, settings: Settings, progress: Progress) -> list[Path]:
    """The paths of NAME-ARCH.raw, its checksum, and the checksum's signature if there is a key.
    Raises UserError, CommandError."""
    cache = Cache(settings.cache, progress)
    with cache.locked():
        return packages.without_stale_fixes(
            settings, progress, lambda chosen: _make(request, chosen, progress, cache)
        )


def _make(
    request: ExtensionRequest, settings: Settings, progress: Progress, cache: Cache
) -> list[Path]:
    base = base_stage(settings, progress, cache) / "base.tar"
    tree, listing = Tree(), ""
    if request.packages:
        status = read_tar(base).read("var/lib/dpkg/status").decode()
        stage = unpacked(request.packages, status, settings, progress, cache)
        tree = read_tar(stage / "extension.tar")
        listing = tree.read("packages.txt").decode()
        tree.remove(*OF_MMDEBSTRAP)
        check_packages(request, listing, status)
    add_files(tree, request)
    tree = composed(request, tree, image_tree(base, settings), listing, settings)
    for unit in units_in(tree):
        state = "is started at boot" if unit in request.units else "is not started: UNITS=…"
        progress.note(f"{unit} {state}")
    name = f"{request.name}-{settings.arch.name}.raw"
    target = settings.artifacts / name
    unfinished = target.with_name(f".{name}.new")
    settings.artifacts.mkdir(parents=True, exist_ok=True)
    with progress.stage("squashfs"):
        rootfs.squash(tree, unfinished, settings.epoch, progress)
    unfinished.chmod(0o644)
    unfinished.rename(target)
    sums = f"{file_sha256(target)}  {name}\n".encode()
    return [target, *write_signed(settings, target.with_name(name + SUMS), sums)]


def unpacked(
    names: tuple[str, ...], status: str, settings: Settings, progress: Progress, cache: Cache
) -> Path:
    """The stage with extension.tar: what apt adds to the image for these packages, not configured,
    and packages.txt. status: the image's (dpkg)."""
    known = without(status, packages.BUILD_TIME_PACKAGES & set(names))

    def unpack(output: Path) -> None:
        (output / "status").write_text(known)
        packages.unpack_beside(
            settings, progress, names, output / "status", output / "extension.tar"
        )

    return cache.stage(
        "extension", digest(SUITE, settings.arch.name, settings.mirror, names, known), unpack
    )


def without(status: str, names: frozenset[str] | set[str]) -> str:
    """A dpkg status file without these packages."""
    kept = [
        paragraph
        for paragraph in status.split("\n\n")
        if not ((found := re.search(r"^Package: (\S+)$", paragraph, re.M)) and found[1] in names)
    ]
    return "\n\n".join(kept)


def check_packages(request: ExtensionRequest, listing: str, status: str) -> None:
    """Raises UserError if the image would need other packages, or already has all of them."""
    coming = {line.split()[0]: line.split()[1] for line in listing.splitlines() if line.strip()}
    there = {package.name: package.version for package in packages.parse_status(status)}
    for name in sorted(set(coming) & set(there)):
        raise UserError(
            f"they want {name} {coming[name]}, and the image has {there[name]}",
            "build the image again with packages of today: `k3os build --refresh`",
            "PACKAGES",
        )
    if not coming and request.files is None:
        raise UserError("the image has all of these already", "no extension is needed", "PACKAGES")


def image_tree(base: Path, settings: Settings) -> Tree:
    """The files that an extension adds to, by path: the image without our own Python code."""
    tree = read_tar(base)
    rootfs.remove_unused(tree)
    choose_profiles(tree)
    choose_agents(tree)
    rootfs.choose_units(tree)
    tree.copy_directory(settings.source / "overlay" / "rootfs")
    rootfs.add_release(tree, settings)
    rootfs.add_skeleton(tree)
    add_places(tree)
    return tree


def composed(
    request: ExtensionRequest, found: Tree, image: Tree, listing: str, settings: Settings
) -> Tree:
    """The contents of the extension. found: files of the packages and FILES. Raises UserError."""
    tree = merged(found)
    licences = {path: entry for path, entry in tree.entries.items() if LICENCE.fullmatch(path)}
    tree.remove(*DROPPED, "usr/share/doc")
    tree.entries |= licences
    result = Tree()
    lines = []
    for path, entry in tree.walk():
        if entry.kind not in (DIRECTORY, FILE, SYMLINK) or is_in(image, path, entry):
            continue
        top = path.partition("/")[0]
        if top in ("etc", "var"):
            lines.append(tmpfile(path, entry))
            path = f"{FACTORY}/{path}"
            if entry.kind == DIRECTORY:
                continue
        result.add(path, entry)
    if not result.entries:
        raise UserError("the image has all of it already", "no extension is needed", "PACKAGES")
    if lines:
        text = "".join(f"{line}\n" for line in lines)
        result.file(f"usr/lib/tmpfiles.d/k3os-extension-{request.name}.conf", text.encode())
    if listing:
        text = "".join(f"{line.strip()}\n" for line in sorted(listing.splitlines()))
        result.file(f"{LISTED}/{request.name}.packages", text.encode())
    enable(result, image, request.units)
    release = release_text(request, listing, settings)
    path = f"{extension_fit.RELEASES}/{extension_fit.PREFIX}{request.name}"
    result.file(path, release.encode())
    return result


def merged(found: Tree) -> Tree:
    """The tree with /bin, /lib etc. in /usr, as on a node, and without other directories."""
    tree = Tree()
    for path, entry in found.walk():
        if path.partition("/")[0] in MERGED:
            path = f"usr/{path}"
            if path.count("/") == 1 and entry.kind == SYMLINK:
                continue  # lib -> usr/lib
        if path.partition("/")[0] in KEPT_TOPS:
            tree.add(path, entry)
    return tree


def add_files(found: Tree, request: ExtensionRequest) -> None:
    """Add FILES to the packages' files, none of which may be a kernel module. Raises UserError."""
    for path in merged(found).entries:
        if KERNEL_MODULE.fullmatch(path):
            raise UserError(
                f"a package has a module of a kernel: /{path}",
                "modules go into an extension by FILES, with modules.dep and the like of depmod(8) "
                "for all modules of the node's kernel",
                "PACKAGES",
            )
    if request.files is not None:
        found.copy_directory(request.files)


def is_in(image: Tree, path: str, entry: Entry) -> bool:
    """Whether a node would not see it: the image has it, or something else in its place."""
    parts = path.split("/")
    for depth in range(1, len(parts)):
        above = image.entries.get("/".join(parts[:depth]))
        if above is not None and above.kind != DIRECTORY:
            return True
    return path in image


def tmpfile(path: str, entry: Entry) -> str:
    """The line of tmpfiles.d(5) that creates it at boot if it is missing."""
    escaped = "".join(
        character if character.isalnum() or character in "/._-+@:" else f"\\x{ord(character):02x}"
        for character in path.replace("%", "%%")
    )
    if entry.kind == DIRECTORY:
        return f"d /{escaped} {entry.mode:04o} {entry.uid} {entry.gid} -"
    return f"C /{escaped} - - - -"


def release_text(request: ExtensionRequest, listing: str, settings: Settings) -> str:
    """extension-release, in the format of os-release(5)."""
    version = request.version or version_of(listing, request.packages)
    return (
        f"ID=k3os\nSYSEXT_LEVEL={extension_fit.LEVEL}\n"
        f"ARCHITECTURE={ARCHITECTURES[settings.arch.name]}\nIMAGE_ID={request.name}\n"
        + (f"IMAGE_VERSION={version}\n" if version else "")
    )


def version_of(listing: str, names: tuple[str, ...]) -> str:
    """The version of the first package, in the characters allowed in IMAGE_VERSION."""
    known = dict(line.split()[:2] for line in listing.splitlines() if line.strip())
    found = next((known[name] for name in names if name in known), "")
    return re.sub(r"[^0-9a-z._~^+-]", "-", found.lower())[:64]
