"""The initrd stage: Python, a few programs and the boot modules as one zstd cpio archive.

PID 1 is `k3os init`. Of Python only compiled files go in (no sources), and of the libraries exactly
those that the programs' ELF headers name.
"""

from __future__ import annotations

import posixpath
from pathlib import Path

from k3os.errors import UserError
from k3os.image.elf import needed_libraries
from k3os.image.progress import Progress
from k3os.image.rootfs import PACKAGES, PYTHON
from k3os.image.settings import Settings
from k3os.image.tree import CHARACTER, FILE, SYMLINK, Entry, Tree, read_tar, write_cpio
from k3os.system.run import run

# What PID 1 and a person in the rescue shell need.
PROGRAMS = ("usr/bin/python3.13", "usr/bin/kmod", "usr/bin/busybox", "usr/sbin/e2fsck")
# busybox provides these commands in the rescue shell
APPLETS = (
    *("sh", "ash", "ls", "cat", "cp", "mv", "rm", "ln", "mkdir", "rmdir", "mount", "umount", "dd"),
    *("mknod", "chmod", "chown", "chroot", "df", "du", "dmesg", "echo", "env", "find", "free"),
    *("grep", "head", "tail", "hexdump", "hostname", "ip", "ping", "kill", "less", "losetup"),
    *("more", "ps", "pwd", "readlink", "reboot", "poweroff", "halt", "sed", "sleep", "sort"),
    *("stat", "stty", "sync", "tar", "touch", "tr", "udhcpc", "uname", "vi", "wc", "wget"),
    *("which", "xargs", "blkid", "fdisk", "test", "true", "false", "id", "printf", "setsid"),
)
KMOD_NAMES = ("modprobe", "lsmod", "modinfo", "insmod", "rmmod", "depmod")
# Not needed of the standard library; what is left also makes Python useful in a rescue shell.
UNUSED_PYTHON = frozenset(
    "asyncio concurrent multiprocessing unittest xml xmlrpc sqlite3 dbm curses wsgiref email "
    "http pydoc_data ensurepip idlelib test tkinter turtledemo lib2to3 venv _pyrepl "
    "mailbox.py pickletools.py pydoc.py doctest.py turtle.py "
    "tarfile.py pdb.py imaplib.py ftplib.py smtplib.py poplib.py statistics.py optparse.py "
    "_pydecimal.py _pydatetime.py decimal.py fractions.py nntplib.py cProfile.py profile.py "
    "pstats.py webbrowser.py zipapp.py plistlib.py cgi.py antigravity.py this.py _aix_support.py "
    "_osx_support.py sysconfig __phello__ zoneinfo graphlib.py ssl.py".split()
)
# only needed to build extension modules, for one architecture
BUILD_CONFIG = "config-3.13-"
EXTENSIONS = ("_ctypes.", "_hashlib.", "_json.", "_bz2.", "_lzma.")
LIBRARIES = ("libcrypt.so.1",)  # crypt(3) is loaded by name, so no ELF header names it


def build_base(
    settings: Settings, progress: Progress, base_tar: Path, boot_modules: Path, output: Path
) -> None:
    """Write <output>/base: everything except our own code, which changes more often."""
    base = read_tar(base_tar)
    tree = Tree()
    for path in ("dev", "proc", "sys", "run", "tmp", "etc", "root", "var", "mnt", "sysroot"):
        tree.directory(path)
    # Python needs random numbers before we can mount /dev. Without a source in the processor or
    # firmware the kernel's are not ready then: getrandom(2) fails, random(4) does not
    tree.add("dev/urandom", Entry(CHARACTER, 0o666, device=(1, 9)))
    loader_directory = settings.arch.loader.split("/")[0]
    for link in dict.fromkeys(("bin", "sbin", "lib", loader_directory)):
        tree.link(link, f"usr/{link}")
    add_programs(base, tree)
    add_python(base, tree)
    tree.copy_directory(boot_modules / "modules", "usr/lib/modules")
    add_libraries(base, tree, settings)
    pack(tree, output / "base", 0, progress)


def build_initrd(
    settings: Settings,
    progress: Progress,
    microcode: Path,
    base: Path,
    code: Path,
    output: Path,
) -> None:
    """Write <output>/initrd: microcode, base, our code; the kernel unpacks them in this order."""
    tree = Tree()
    for path in sorted(code.rglob("*.pyc")):
        _add_compiled(tree, f"{PACKAGES}/{path.relative_to(code).as_posix()}", path.read_bytes())
    tree.copy_directory(settings.source / "overlay" / "initrd")
    pack(tree, output / "code", settings.epoch, progress)
    parts = (microcode, base, output / "code")
    (output / "initrd").write_bytes(b"".join(path.read_bytes() for path in parts))
    (output / "code").unlink()


def add_programs(base: Tree, tree: Tree) -> None:
    for path in PROGRAMS:
        tree.file(path, base.read(path), 0o755)
    tree.link("usr/bin/python3", "python3.13")
    for name in KMOD_NAMES:
        tree.link(f"usr/sbin/{name}", "../bin/kmod")
    for name in APPLETS:
        tree.link(f"usr/bin/{name}", "busybox")


def add_python(base: Tree, tree: Tree) -> None:
    """The standard library as .pyc in place of its .py (PEP 3147, "sourceless imports")."""
    for path, entry in base.walk():
        if entry.kind != FILE or not path.startswith((f"{PYTHON}/", f"{PACKAGES}/")):
            continue
        relative = path.split("/", 3 if path.startswith(PYTHON) else 4)[-1]
        top = relative.split("/")[0].replace("__pycache__", relative.rsplit("/", 1)[-1])
        name = top.replace(".cpython-313.pyc", ".py")
        if name in UNUSED_PYTHON or name.startswith(BUILD_CONFIG) or "/test" in relative:
            continue
        if path.endswith(".cpython-313.pyc"):
            if path.startswith(PYTHON) or relative.startswith("yaml/"):
                _add_compiled(tree, path, entry.data())
        elif path.endswith(".so"):
            name = posixpath.basename(path)
            if name.startswith(EXTENSIONS) or relative.startswith("yaml/"):
                tree.file(path, entry.data(), 0o755)


def _add_compiled(tree: Tree, cached: str, data: bytes) -> None:
    """a/__pycache__/b.cpython-313.pyc becomes a/b.pyc, which is importable without a source."""
    directory, name = posixpath.split(cached)
    if name.endswith((".opt-1.pyc", ".opt-2.pyc")):
        return
    target = posixpath.join(posixpath.dirname(directory), name.split(".")[0] + ".pyc")
    tree.file(target, data)


def add_libraries(base: Tree, tree: Tree, settings: Settings) -> None:
    """Every shared library that the ELF files in the tree need, directly or indirectly."""
    directory = f"usr/lib/{settings.arch.triplet}"
    queue = [
        data
        for _, entry in tree.walk()
        if entry.kind == FILE
        and (data := entry.data()).startswith(b"\x7fELF")
        and entry.mode & 0o100
    ]
    wanted = set(LIBRARIES)
    done: set[str] = set()
    while queue or wanted - done:
        for data in queue:
            wanted |= needed_libraries(data)
        queue = []
        for name in sorted(wanted - done):
            done.add(name)
            path = f"{directory}/{name}"
            try:
                data = base.read(path)
            except KeyError:
                raise UserError(f"{name} is needed in the initrd, but no package has it") from None
            tree.file(path, data, 0o755)
            queue.append(data)
    loader = settings.arch.loader
    tree.link(f"usr/{loader}", f"../lib/{settings.arch.triplet}/{posixpath.basename(loader)}")
    if f"{directory}/{posixpath.basename(loader)}" not in tree:
        tree.file(
            f"{directory}/{posixpath.basename(loader)}",
            base.read(f"{directory}/{posixpath.basename(loader)}"),
            0o755,
        )


def pack(tree: Tree, target: Path, epoch: int, progress: Progress) -> None:
    """cpio | zstd. Level 19, without checksums, which the kernel's decompressor ignores."""
    archive = target.with_suffix(".cpio")
    with open(archive, "wb") as file:
        write_cpio(tree, file, epoch)
    links = sum(1 for entry in tree.entries.values() if entry.kind == SYMLINK)
    progress.write_log(f"initrd: {len(tree.entries)} files, {links} links")
    command = ["zstd", "-q", "-19", "-T2", "--no-check", str(archive), "-o", str(target)]
    run(command, log=progress.log)
    archive.unlink()
