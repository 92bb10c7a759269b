"""A Debian 13 of any architecture on a disk, for overlay installations and takeovers.

Its user space is the build's own base (mmdebstrap(1), all packages configured), so that nothing
is installed twice; its kernel is Debian's. Made without root and loop devices by mke2fs(8) -d.
The initrd replaces Debian's, which an emulated processor takes minutes to generate; it does only
what this disk needs.
"""

import lzma
import os
from dataclasses import dataclass
from pathlib import Path

from k3os.image import build, kernel, packages
from k3os.image.cache import Cache, digest
from k3os.image.progress import Progress
from k3os.image.settings import Settings, from_environment
from k3os.image.tree import FILE, Tree, read_tar, write_cpio, write_tar
from k3os.system.run import run
from k3os.vm.spec import SERIAL

KERNELS = {"amd64": "linux-image-cloud-amd64", "arm64": "linux-image-cloud-arm64"}
KERNELS["arm"] = "linux-image-armmp"
NEEDED_MODULES = ("virtio_pci", "virtio_mmio", "virtio_blk", "ext4", "crc32c_generic")
PROMPT = r"^root@foreign:\S*# "
SIZE = 1500 << 20
# for a machine with UEFI; the second partition is the root
LAYOUT = "label: gpt\nsize=64MiB, type=uefi\ntype=linux\n"
START = 65 << 20
GRUB = {"arm64": ("grub2-common", "grub-efi-arm64-bin")}
AUTOLOGIN = "[Service]\nExecStart=\nExecStart=-/sbin/agetty -a root --keep-baud 115200 %I dumb\n"
FILES = {
    "etc/fstab": "/dev/vda / ext4 defaults 0 1\n",
    "etc/hostname": "foreign\n",
    "etc/machine-id": "0123456789abcdef0123456789abcdef\n",
}
INIT = """\
#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t devtmpfs devtmpfs /dev
for module in /modules/*; do $b insmod "$module"; done
mode=rw
for word in $($b cat /proc/cmdline); do
    case $word in ro) mode=ro ;; root=*) root=${word#root=} ;; esac
done
until [ -b "$root" ]; do $b sleep 0.1; done
$b mount -t ext4 -o $mode "$root" /root
for name in proc sys dev; do $b mount -o move /$name /root/$name; done
exec $b switch_root /root /sbin/init
"""
# unpacks with the documented tar command; owners only work as root, at least in a user namespace
MAKE_DISK = """
set -e
mkdir tree
tar --numeric-owner --exclude='./dev/*' -xf "$1/base.tar" -C tree
tar --numeric-owner -xf "$2" -C tree
rm -rf before && mkdir before && cp -a tree/etc tree/var before
[ -z "$3" ] || tar xzf "$3" --strip-components=1 -C tree
cp -RL more/. tree
chown -R 0:0 tree/root
/sbin/mke2fs -q -t ext4 -E "offset=$4" -d tree disk.img "$5"
rm -rf tree
"""


@dataclass(frozen=True)
class Foreign:
    """Its disk (raw), its root device, and kernel and initrd to boot it; before: its original /etc
    and /var."""

    disk: Path
    root: str
    kernel: Path
    initrd: Path
    before: Path


def foreign(
    arch: str, directory: Path, files: dict[str, Path], *, overlay: Path | None = None
) -> Foreign:
    """A machine; files: additional files on its disk.

    overlay: a tarball that is unpacked over it, so that its next boot is k3OS; the disk has no
    partitions then. Without one it has GRUB's packages and partitions for UEFI.
    """
    settings = from_environment({**os.environ, "ARCH": arch, "KERNEL": "cloud"})
    with Progress(directory / "foreign.log") as progress:
        cache = Cache(settings.cache, progress)
        with cache.locked():
            grub = () if overlay else GRUB[arch]
            base, boot = packages.without_stale_fixes(
                settings, progress, lambda chosen: _stages(chosen, progress, cache, grub)
            )
        for name, path in files.items():
            (directory / "more" / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / "more" / name).symlink_to(path)
        disk = directory / "disk.img"
        with open(disk, "wb") as file:
            file.truncate(SIZE)
        start = 0
        if not overlay:
            run(["sfdisk", "-q", str(disk)], stdin=LAYOUT.encode())
            start = START
        as_root = [] if os.getuid() == 0 else ["unshare", "--map-auto", "--map-root-user"]
        # GPT keeps a backup table at the end of the disk
        room = f"{(SIZE - start - (1 << 20)) >> 10}k"
        arguments = [str(base), str(boot / "more.tar"), str(overlay or ""), str(start), room]
        command = ["/bin/sh", "-c", MAKE_DISK, "sh", *arguments]
        run([*as_root, *command], cwd=str(directory), log=progress.log)
    root = "/dev/vda" if overlay else "/dev/vda2"
    return Foreign(disk, root, boot / "vmlinuz", boot / "initrd", directory / "before")


def _stages(
    settings: Settings, progress: Progress, cache: Cache, grub: tuple[str, ...]
) -> tuple[Path, Path]:
    """The directories with base.tar, and with vmlinuz, initrd, more.tar."""
    boot = cache.stage(
        "foreign",
        digest(settings.arch.name, settings.mirror, grub, Path(__file__)),
        lambda output: _make_boot(settings, progress, grub, output),
    )
    return build.base_stage(settings, progress, cache), boot


def _make_boot(settings: Settings, progress: Progress, grub: tuple[str, ...], output: Path) -> None:
    """Make vmlinuz, initrd, and more.tar with what the disk needs in addition to the base."""
    archive = output / "packages.tar"
    wanted = (KERNELS[settings.arch.name], packages.STATIC_SHELL, *grub)
    packages.unpack(settings, progress, wanted, archive)
    tree = read_tar(archive)
    version = kernel.kernel_version(tree)
    (output / "vmlinuz").write_bytes(tree.read(kernel.kernel_image(tree)))
    modules = tree.subtree([f"usr/lib/modules/{version}"])
    root = output / "root"
    for path, entry in modules.entries.items():
        if entry.kind == FILE:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(entry.data())
    (root / "lib").symlink_to("usr/lib")
    run(["depmod", "-b", str(root), version], log=progress.log)
    more = tree.subtree(["usr", "etc/default", "etc/grub.d"] if grub else [])
    more.copy_directory(root / "usr", "usr")
    for name, text in FILES.items():
        more.file(name, text.encode())
    getty = f"etc/systemd/system/serial-getty@{SERIAL[settings.arch.name]}.service.d"
    more.file(f"{getty}/autologin.conf", AUTOLOGIN.encode())
    with open(output / "more.tar", "wb") as file:
        write_tar(more, file, 0)
    with open(output / "initrd", "wb") as file:
        write_cpio(_initrd(tree, root / f"usr/lib/modules/{version}"), file, 0)
    run(["rm", "-rf", str(root), str(archive)])


def _initrd(packages: Tree, modules: Path) -> Tree:
    tree = Tree()
    for name in ("proc", "sys", "dev", "root"):
        tree.directory(name)
    tree.file("bin/busybox", packages.read("usr/bin/busybox"), 0o755)
    tree.file("init", INIT.encode(), 0o755)
    needed = kernel.parse_dependencies((modules / "modules.dep").read_text())
    chosen: list[str] = []
    for name in NEEDED_MODULES:
        for path in needed:
            if path.rpartition("/")[2].partition(".")[0].replace("-", "_") == name:
                # the last in the list depends on nothing
                chosen += [each for each in (*reversed(needed[path]), path) if each not in chosen]
    for number, path in enumerate(chosen):
        data = lzma.decompress((modules / path).read_bytes())
        tree.file(f"modules/{number:02}.ko", data)
    return tree
