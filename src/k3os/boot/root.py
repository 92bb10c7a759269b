"""Building the root of the running system and moving into it.

The result is the table in docs/reference/files.md: / tmpfs, /usr read-only, /etc fresh, /var /home
/opt persistent or (live) fresh too, /k3os from the medium. switch_root(8) describes the move.
"""

import errno
import os
import stat
import sys
from functools import partial

from k3os.boot import prefetch, timeline
from k3os.boot.media import Medium
from k3os.boot.steps import try_each
from k3os.generation.layout import DATA, SYSTEM
from k3os.paths import BASE, OWN_SYSTEM, ROOTFS
from k3os.system import mounts
from k3os.system.console import say
from k3os.system.files import atomic_write
from k3os.system.mounts import MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.boot.extensions import Extensions

ROOT = "/sysroot"
KERNEL = "/run/k3os/kernel"
# a second mount, for the images that the system runs from: systemd-shutdown(8) cannot unmount
# this place, and does not try to
HELD = "/run/initramfs/medium"
# where a configuration from the initrd is laid over the medium's
CONFIG_LAYER = "/run/k3os/config-layer"
PERSISTENT = ("var", "home", "opt")
# No setuid programs and no device files. The file systems of containers are mounts of their own
# (overlayfs), which these flags of the mount below do not restrict.
SAFE = MS_NOSUID | MS_NODEV
# Pod volumes are binds of /var: storage has device files in them, and k3s with the native
# snapshotter whole images. /opt and /usr/local (in /var/local) hold the node owner's programs.
OPTIONS = {"home": SAFE, "var": 0, "opt": 0}
COPIED = ("etc", "var", "home", "root", "opt")
KERNEL_FILE_SYSTEMS = ("proc", "sys", "dev", "run")


def build(medium: Medium, own_config: str = "", data: str = "") -> None:
    """Build ROOT from a medium.

    own_config: path of the initrd's config.yaml that replaces the medium's, or "".
    data: the directory on the medium for persistent data; "": that is in memory, too.
    Raises OSError.
    """
    os.makedirs(ROOT, exist_ok=True)
    # in a live system /var is on it, too
    mounts.mount("tmpfs", ROOT, "tmpfs", SAFE if data else MS_NOSUID, "mode=0755,size=75%")
    os.mkdir(ROOT + BASE)
    mounts.move(medium.path, ROOT + BASE)
    mounts.restrict(ROOT + BASE, SAFE)  # and binds of it
    system = f"{ROOT}{BASE}/{SYSTEM}"
    generation = f"{system}/{medium.generation}"
    os.makedirs(HELD, exist_ok=True)
    mounts.bind_read_only(ROOT + BASE, HELD)
    held = f"{HELD}/{SYSTEM}/{medium.generation}"
    if not os.path.ismount(ROOTFS):  # already mounted by the first stage of an overlay
        mounts.mount_image(f"{held}/k3os/rootfs.squashfs", ROOTFS)
    try_each({"read files ahead": lambda: prefetch.start(ROOTFS)})
    with timeline.step("copy /etc and /var"):
        populate(ROOTFS, ROOT, PERSISTENT if data else ())
    extensions = None
    if os.path.isdir(f"{generation}/extensions"):
        extensions = mounted_extensions(f"{held}/extensions")
    if extensions is None or not extensions.show_usr(f"{ROOT}/usr"):
        mounts.bind(f"{ROOTFS}/usr", f"{ROOT}/usr")
    if medium.kind == "overlay":
        add_foreign_kernel(ROOT + BASE)
    elif os.path.exists(f"{generation}/kernel/modules.squashfs"):
        add_kernel(f"{held}/kernel/modules.squashfs")
    os.makedirs(f"{ROOT}{OWN_SYSTEM}", exist_ok=True)
    os.makedirs(f"{ROOT}/{DATA}", exist_ok=True)
    if data:
        with timeline.step("persistent data"):
            attach_data(f"{ROOT}{BASE}/{data}")
    if extensions is not None:
        try_each({"show all of the extensions": partial(extensions.show_rest, ROOT)})
    _mount_system(system, f"{ROOT}{OWN_SYSTEM}", own_config)
    if medium.kind in ("disk", "overlay"):
        mounts.make_read_only(ROOT + BASE)


def mounted_extensions(directory: str) -> "Extensions | None":
    """The extensions of a generation; an error in them affects nothing else."""
    found = None

    def look() -> None:
        nonlocal found
        from k3os.boot.extensions import Extensions

        found = Extensions(directory, ROOTFS)

    with timeline.step("extensions"):
        try_each({"mount the extensions": look})
    return found


def attach_data(data: str) -> None:
    """Mount data's directories at their places, after adding what the image has for them."""
    for name in PERSISTENT:
        seed(f"{ROOTFS}/{name}", f"{data}/{name}")
        mounts.bind(f"{data}/{name}", f"{ROOT}/{name}")
        mounts.restrict(f"{ROOT}/{name}", OPTIONS[name])
    mounts.bind(data, f"{ROOT}/{DATA}")


def seed(source: str, target: str) -> None:
    """Copy to target what it lacks: directories, files, links. Existing ones stay unchanged.

    Each file is written completely or not at all, even with a power cut. If the disk is full, the
    node boots anyway: that allows somebody to make room.
    """
    try:
        _seed(source, target)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        say(f"no room for the image's {target.removeprefix(ROOT)}; the boot continues")


def _seed(source: str, target: str) -> None:
    status = os.lstat(source)
    if stat.S_ISDIR(status.st_mode):
        if not os.path.lexists(target):
            os.mkdir(target, 0o700)
            _own(target, status)
        elif not stat.S_ISDIR(os.lstat(target).st_mode):
            return  # somebody replaced it with a link
        for name in os.listdir(source):
            seed(f"{source}/{name}", f"{target}/{name}")
    elif os.path.lexists(target):
        return
    elif stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(source), target)
    elif stat.S_ISREG(status.st_mode):
        with open(source, "rb") as file:
            data = file.read()
        owner = {"uid": status.st_uid, "gid": status.st_gid}
        atomic_write(target, data, mode=stat.S_IMODE(status.st_mode), **owner, sync=True)


def _mount_system(source: str, target: str, own_config: str) -> None:
    if not own_config:
        mounts.bind_read_only(source, target)
        return
    # the merged directory gets this mode, and everybody needs k3s, which is in it
    os.makedirs(CONFIG_LAYER, mode=0o755, exist_ok=True)
    with open(own_config, "rb") as file:
        data = file.read()
    descriptor = os.open(f"{CONFIG_LAYER}/config.yaml", os.O_WRONLY | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    # two lower layers and no upper one: read-only (Documentation/filesystems/overlayfs.rst)
    mounts.mount("config", target, "overlay", MS_RDONLY | SAFE, f"lowerdir={CONFIG_LAYER}:{source}")


def add_kernel(image: str) -> None:
    """Mount the modules and firmware of the running generation below /usr/lib, and the kernel's
    build configuration in /boot: where k3s, Longhorn and others look for it."""
    mounts.mount_image(image, KERNEL)
    for name in ("modules", "firmware"):
        mounts.bind(f"{KERNEL}/{name}", f"{ROOT}/usr/lib/{name}")
    if os.path.isdir(f"{KERNEL}/boot"):  # older releases have none
        os.makedirs(f"{ROOT}/boot", exist_ok=True)
        mounts.bind(f"{KERNEL}/boot", f"{ROOT}/boot")


def add_foreign_kernel(base: str, release: str = "") -> None:
    """Mount the modules, firmware and configuration of the foreign kernel below base."""
    release = release or os.uname().release
    if os.path.exists(f"{base}/boot/config-{release}"):
        os.makedirs(f"{ROOT}/boot", exist_ok=True)
        mounts.bind_read_only(f"{base}/boot", f"{ROOT}/boot")
    for name, marker in (("modules", f"modules/{release}"), ("firmware", "firmware")):
        for place in (f"{base}/usr/lib", f"{base}/lib"):
            if os.path.isdir(f"{place}/{marker}"):
                mounts.bind_read_only(f"{place}/{name}", f"{ROOT}/usr/lib/{name}")
                break


def populate(source: str, target: str, left_empty: tuple[str, ...] = ()) -> None:
    """Copy the image's top level: links, empty directories, and the contents of COPIED."""
    for entry in sorted(os.listdir(source)):
        path, new = f"{source}/{entry}", f"{target}/{entry}"
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(path), new)
        elif entry in COPIED and entry not in left_empty:
            copy_tree(path, new)
        elif stat.S_ISDIR(status.st_mode) and not os.path.isdir(new):
            os.mkdir(new)
            os.chmod(new, stat.S_IMODE(status.st_mode))


def copy_tree(source: str, target: str) -> None:
    """Copy a directory with owners and modes; hard links and times do not matter here."""
    status = os.lstat(source)
    if stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(source), target)
    elif stat.S_ISDIR(status.st_mode):
        if not os.path.isdir(target):
            os.mkdir(target)
        _own(target, status)
        for name in os.listdir(source):
            copy_tree(f"{source}/{name}", f"{target}/{name}")
    elif stat.S_ISREG(status.st_mode):
        with open(source, "rb", buffering=0) as old, open(target, "wb", buffering=0) as new:
            while block := old.read(1 << 20):
                new.write(block)
        _own(target, status)


def _own(path: str, status: os.stat_result) -> None:
    if status.st_uid or status.st_gid:
        os.chown(path, status.st_uid, status.st_gid)
    os.chmod(path, stat.S_IMODE(status.st_mode))


def enter() -> None:
    """Make ROOT the root of this process (and of all later ones); the initrd is emptied.

    The process continues with the same Python: the new root has the same version.
    """
    initrd = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for name in KERNEL_FILE_SYSTEMS:
        mounts.move(f"/{name}", f"{ROOT}/{name}")
    os.chdir(ROOT)
    mounts.move(".", "/")
    os.chroot(".")
    os.chdir("/")
    with timeline.step("empty the initrd"):
        empty(initrd, os.stat(BASE))
    os.close(initrd)
    # the paths now lead to other directories; importlib.invalidate_caches() would import
    # importlib.metadata, which costs more than the rest of this function
    sys.path_importer_cache.clear()


def empty(directory: int, kept: os.stat_result) -> None:
    """Remove everything below an open directory on its file system: it frees the initrd's memory.

    kept: a directory that stays with its contents: what we boot from, if the initrd carried it.
    """
    device = os.fstat(directory).st_dev
    for entry in os.scandir(directory):
        if entry.is_dir(follow_symlinks=False):
            status = entry.stat(follow_symlinks=False)
            if status.st_dev != device or os.path.samestat(status, kept):
                continue
            child = os.open(entry.name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=directory)
            empty(child, kept)
            os.close(child)
            try:
                os.rmdir(entry.name, dir_fd=directory)
            except OSError:
                continue  # a mount point, or kept
        else:
            os.unlink(entry.name, dir_fd=directory)


def mount_kernel_file_systems() -> None:
    """/proc, /sys, /dev, /run of the initrd; those already mounted stay."""
    table = (
        ("proc", "/proc", "proc", MS_NOSUID | MS_NODEV, ""),
        ("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV, ""),
        ("devtmpfs", "/dev", "devtmpfs", MS_NOSUID, "mode=0755"),
        ("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=20%"),
    )
    for source, target, kind, flags, data in table:
        if not os.path.ismount(target):
            os.makedirs(target, exist_ok=True)
            mounts.mount(source, target, kind, flags, data)
    for source, target in (("debugfs", "/sys/kernel/debug"), ("tracefs", "/sys/kernel/tracing")):
        mount_for_tools(source, target)
    os.makedirs("/run/k3os", exist_ok=True)


def mount_for_tools(kind: str, target: str) -> None:
    """A kernel file system that tools in pods look into, if the kernel has it."""
    if os.path.isdir(target) and not os.path.ismount(target):
        try:
            mounts.mount(kind, target, kind, MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700")
        except OSError as error:
            if error.errno not in (errno.ENODEV, errno.EPERM):  # not built in; locked down
                say(f"could not mount {target}: {error}; the boot continues")
