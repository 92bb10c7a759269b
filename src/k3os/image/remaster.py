"""A k3OS ISO with different contents: extract its files, change them, make an ISO again.

The loaders for UEFI are kept unchanged, with their signatures; GRUB for BIOS is this host's, as in
a build. All times are the image's own, so the same inputs give the same bytes.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from k3os.config.check import check_cmdline, check_text
from k3os.errors import UserError
from k3os.generation import install_medium, layout, manifest
from k3os.generation.install_medium import InstallMedium
from k3os.generation.layout import AIRGAP, CONFIG, ISO_LABEL, LOADERS, MENU, SYSTEM
from k3os.generation.release import SIGNATURE
from k3os.image import menu
from k3os.image.iso import make_iso
from k3os.image.loaders import EFI_CONFIG, ISO_CONFIG
from k3os.image.signing import sign
from k3os.install.config import check_for_k3s, k3s_version
from k3os.k3s.fetch import Component, fetch, fetch_airgap
from k3os.k3s.source import LocalFile
from k3os.system.blockdev import probe
from k3os.system.console import Say
from k3os.system.digest import file_sha256
from k3os.system.run import CommandError, run

# added by grub-mkrescue(1) itself, and again when we run it
_GENERATED = ("boot.catalog", "efi.img", "mach_kernel", "System", ".disk")
# by that of Debian 12, of Debian 13
_GENERATED_LOADERS = ("EFI/BOOT", "EFI/boot", "efi/boot")
_GRUB_KEEPS = ("grub.cfg", "k3os")


@dataclass(frozen=True)
class RemasterRequest:
    """What to change; None, "" and (): no change. The config has already been checked."""

    source: Path
    target: Path
    config: Path | None = None
    cmdline: str = ""
    k3s: Path | None = None
    airgap: tuple[str, ...] = ()
    sign_key: Path | None = None


def remaster(request: RemasterRequest, say: Say) -> None:
    """Write request.target, complete or not at all. Raises UserError, CommandError, OSError."""
    menu.quoted(request.cmdline)
    _check_target(request)
    with extracted(request.source, request.target.parent) as root:
        with _named("--airgap"):
            archives = fetch_airgap(request.airgap, root.parent)
        what = install_medium.read_medium(str(root))
        install_medium.verify(what, f"{root}/{SYSTEM}", lambda _: None)
        install_medium.verify_medium(what)
        epoch = json.loads(what.manifest).get("created")
        if not isinstance(epoch, int):
            raise UserError(f"{request.source} does not say when it was made", "take another ISO")
        versions = ", ".join(f"{name} {text}" for name, text in what.versions.items())
        say(f"{request.source}: {versions}")
        _change(root, request, what, archives, say)
        _check(root, request, say)
        _sum_up(root, what.arch)
        _sign(root / SYSTEM, request.sign_key, before=what.manifest, say=say)
        _normalize(root, epoch)
        unfinished = root.parent / "new.iso"
        make_iso(root, unfinished, epoch)
        unfinished.chmod(0o600 if (root / CONFIG).exists() else 0o644)
        with open(unfinished, "rb") as file:
            os.fsync(file.fileno())
        unfinished.rename(request.target)
    say(f"{request.target}: {request.target.stat().st_size / 10**6:.1f} MB")


@contextmanager
def _named(option: str) -> Iterator[None]:
    """Errors refer to an option here, not to a variable of the build."""
    try:
        yield
    except UserError as error:
        raise UserError(error.message, error.hint, option) from error


def _check_target(request: RemasterRequest) -> None:
    target = request.target
    if target.exists() and not target.is_file():
        raise UserError(f"{target} is not a file", "name a new file", "OUT.iso")
    if target.resolve() == request.source.resolve() or (
        target.exists() and request.source.exists() and target.samefile(request.source)
    ):
        raise UserError("the new ISO would replace the one it is made of", "name another file")
    if not target.parent.is_dir():
        raise UserError(f"{target.parent} is not a directory", "make it first", "OUT.iso")


@contextmanager
def extracted(iso: Path, directory: Path) -> Iterator[Path]:
    """The files of a k3OS ISO, in a temporary directory below directory that is removed."""
    try:
        volume = probe(str(iso))
    except OSError as error:
        raise UserError(f"{iso}: {error.strerror}", "give the path of a k3OS ISO") from None
    if (volume.kind, volume.label) != ("iso9660", ISO_LABEL):
        raise UserError(
            f"{iso} is not a k3OS ISO: it carries {volume.kind or 'nothing known'} "
            f"{volume.label!r}",
            f"give the path of one; its volume label is {ISO_LABEL}",
        )
    scratch = Path(tempfile.mkdtemp(prefix=".k3os-", dir=directory))
    try:
        root = scratch / "iso"
        run(["xorriso", "-osirrox", "on", "-indev", str(iso), "-extract", "/", str(root)])
        run(["chmod", "-R", "u+rwX", str(root)])
        yield root
    finally:
        shutil.rmtree(scratch)


def _change(
    root: Path, request: RemasterRequest, what: InstallMedium, archives: list[Path], say: Say
) -> None:
    for name in (*_GENERATED, *_GENERATED_LOADERS):
        _remove(root / name)
    with suppress(OSError):  # it contains somebody's own files, or does not exist
        (root / "efi").rmdir()
    for path in (root / "boot/grub").iterdir():
        if path.name not in _GRUB_KEEPS:
            _remove(path)
    (root / EFI_CONFIG).parent.mkdir(parents=True, exist_ok=True)
    (root / EFI_CONFIG).write_text(ISO_CONFIG)
    if request.config is not None:
        shutil.copyfile(request.config, root / CONFIG)
        say(f"config.yaml: {request.config}")
    if request.cmdline:
        path = root / MENU
        change = menu.add_parameters(path.read_text(), request.cmdline)
        path.write_text(change.text)
        say(f"kernel parameters: {' '.join(change.names)}")
        if change.default:
            say(f"the entry that is booted by itself: {change.default}")
    if request.k3s is not None:
        arch = str(json.loads(what.manifest).get("arch", "amd64"))
        with _named("--k3s"):
            component = fetch(LocalFile(request.k3s.absolute()), arch, root.parent)
        assert component is not None
        put_k3s(root / SYSTEM, component)
        say(f"k3s: {what.versions.get('k3s', 'none')} -> {component.version}")
    for archive in archives:
        directory = root / SYSTEM / AIRGAP
        directory.mkdir(exist_ok=True)
        shutil.copyfile(archive, directory / archive.name)
        say(f"image archive: {archive.name}")


def _check(root: Path, request: RemasterRequest, say: Say) -> None:
    """Refuse what the ISO's new k3s would reject; everything else has been checked."""
    version = k3s_version(install_medium.read_medium(str(root)))
    own = root / CONFIG
    if own.exists() and (request.config or request.k3s):
        check_for_k3s(check_text(own.read_bytes(), own.name)[0], say, version)
    check_for_k3s(check_cmdline(request.cmdline)[0], say, version)


def _sum_up(root: Path, arch: str) -> None:
    """Update the checksums of files outside of components; older manifests have none."""
    path = (root / SYSTEM / "current").resolve() / manifest.NAME
    record = json.loads(path.read_text())
    if manifest.MEDIUM not in record:
        return
    names = [*layout.MENUS, *(f"{LOADERS}/{name}" for name in layout.LOADER_FILES[arch])]
    names += [str(each.relative_to(root)) for each in (root / SYSTEM / AIRGAP).glob("*")]
    sums = {name: file_sha256(f"{root}/{name}") for name in sorted(names)}
    if sums != record[manifest.MEDIUM]:
        path.write_bytes(manifest.as_bytes({**record, manifest.MEDIUM: sums}))


def _sign(system: Path, key: Path | None, *, before: bytes, say: Say) -> None:
    """Sign the manifest in its current form; a signature of the former one is removed."""
    path = (system / "current").resolve() / manifest.NAME
    changed = path.read_bytes() != before
    signature = path.with_name(path.name + SIGNATURE)
    if key is not None:
        with _named("--sign-key"):
            signature.write_bytes(sign(path.read_bytes(), key))
        say(f"signed by {key}")
    elif changed and signature.exists():
        signature.unlink()
        say("not signed any more: `k3os upgrade` takes it only with --insecure (see --sign-key)")


def put_k3s(system: Path, component: Component) -> None:
    """Replace the k3s of the generation that boots."""
    generation = (system / "current").resolve()
    link = generation / "k3s"
    _remove(link)
    in_use = {path.readlink().name for path in system.glob("generations/*/k3s")}
    for old in system.glob("k3s/*"):
        if old.name not in in_use:
            _remove(old)
    name = f"k3s/{component.version}"
    (system / name).mkdir(parents=True, exist_ok=True)
    shutil.copyfile(component.path, system / name / "k3s")
    (system / name / "k3s").chmod(0o755)
    link.symlink_to(f"../../{name}")
    path = generation / manifest.NAME
    files = {f"{name}/k3s": (component.sha256, component.path.stat().st_size)}
    record = json.loads(path.read_text())
    path.write_bytes(
        manifest.as_bytes(manifest.with_component(record, "k3s", component.version, files))
    )


def _normalize(root: Path, epoch: int) -> None:
    """Make modes and times independent of who unpacked the files, and when."""
    for path in root.rglob("*"):
        if not path.is_symlink():
            executable = path.is_dir() or path.stat().st_mode & 0o100
            path.chmod(0o755 if executable else 0o644)
    for path in [*root.rglob("*"), root]:
        os.utime(path, (epoch, epoch), follow_symlinks=False)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def explain(error: CommandError) -> UserError:
    """A message for a missing or failed program of the host."""
    if error.returncode == 127:
        return UserError(f"{error.argv[0]} is not installed", "run `make setup`")
    return UserError(str(error), "is there space left on the disk?")
