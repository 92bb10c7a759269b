"""A small Debian 13 on a disk, for tests that start from another Linux.

Made without a loop device: mmdebstrap(1), mke2fs(8) -d; kept in CACHE under the hash of its
inputs. Debian's own grub-install puts GRUB on it, in the running machine.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from k3os.image.cache import Cache, digest
from k3os.image.progress import Progress
from k3os.image.settings import SUITE, from_environment
from k3os.system.run import run

PACKAGES = (
    *("linux-image-cloud-amd64", "initramfs-tools", "zstd", "busybox", "grub-pc"),
    *("systemd", "systemd-sysv", "udev", "login", "e2fsprogs", "fdisk", "curl", "procps"),
    *("lvm2", "mdadm"),
)
LABEL = "debian-root"
PROMPT = r"^root@\S+:\S*# "
SIZE = 1500 << 20
MIB = 1 << 20
# a partition for GRUB's core image, then the root
LAYOUT = "label: gpt\nsize=1MiB, type=21686148-6449-6E6F-744E-656564454649\ntype=linux\n"
START = 2 * MIB
FILES = {
    "/etc/fstab": f"LABEL={LABEL} / ext4 defaults 0 1\n",
    "/etc/hostname": "debian\n",
    "/etc/systemd/network/all.network": "[Match]\nName=en*\n[Network]\nDHCP=yes\n",
    "/etc/systemd/system/serial-getty@ttyS0.service.d/autologin.conf": (
        "[Service]\nExecStart=\nExecStart=-/sbin/agetty -a root --keep-baud 115200 %I dumb\n"
    ),
}
DISABLED = "apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer e2scrub_reap.service"
_MAKE_DISK = """
set -e
mkdir tree
tar --numeric-owner --exclude='./dev/*' -xf root.tar -C tree
rm root.tar
cp --dereference tree/boot/vmlinuz-* vmlinuz
cp --dereference tree/boot/initrd.img-* initrd
/sbin/mke2fs -q -t ext4 -L "$1" -E "offset=$2" -d tree disk.img "$3"
rm -rf tree
"""


@dataclass(frozen=True)
class Debian:
    """Its disk (sparse, raw; copy it), and kernel and initrd to boot it without GRUB."""

    disk: Path
    kernel: Path
    initrd: Path

    @property
    def append(self) -> str:
        return f"root=LABEL={LABEL} rw console=ttyS0,115200 quiet"


def debian(log: Path) -> Debian:
    """The disk from the cache; made first if it is missing (takes a minute)."""
    settings = from_environment(os.environ)
    inputs = (SUITE, settings.mirror, PACKAGES, FILES, DISABLED, LAYOUT, SIZE, _MAKE_DISK)
    with Progress(log) as progress:
        cache = Cache(settings.cache, progress)
        with cache.locked():
            made = cache.stage(
                "debian", digest(*inputs), lambda output: _make(settings.mirror, progress, output)
            )
    return Debian(made / "disk.img", made / "vmlinuz", made / "initrd")


def _make(mirror: str, progress: Progress, output: Path) -> None:
    files = output / "files"
    for name, text in FILES.items():
        path = files / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    command = ["mmdebstrap", "--mode=auto", "--format=tar", "--variant=apt"]
    command += ['--aptopt=APT::Install-Recommends "false"', '--aptopt=Acquire::Retries "3"']
    command += [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale")]
    command += [f"--include={','.join(PACKAGES)}", f"--customize-hook=copy-in {files}/etc /"]
    command += [f'--customize-hook=chroot "$1" systemctl disable {DISABLED}']
    command += ['--customize-hook=chroot "$1" systemctl enable systemd-networkd.service']
    command += ["--customize-hook=rm -rf $1/var/lib/apt/lists $1/var/cache/apt"]
    command += [SUITE, str(output / "root.tar"), *([mirror] if mirror else [])]
    run(command, log=progress.log, env={"LC_ALL": "C.UTF-8"})
    run(["rm", "-rf", str(files)])
    disk = output / "disk.img"
    with open(disk, "wb") as file:
        file.truncate(SIZE)
    run(["sfdisk", "-q", str(disk)], stdin=LAYOUT.encode())
    as_root = [] if os.getuid() == 0 else ["unshare", "--map-auto", "--map-root-user"]
    room = str((SIZE - START - MIB) // 1024) + "k"
    shell = ["/bin/sh", "-c", _MAKE_DISK, "sh", LABEL, str(START), room]
    run([*as_root, *shell], cwd=str(output), log=progress.log)
