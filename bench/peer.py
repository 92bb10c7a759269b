"""The peer: a minimal Debian cloud image, with cloud-init and a NoCloud seed.

It is leaner than Debian's own cloud image (no recommended packages, no boot loader, no unattended
upgrades), so the comparison favours the peer. No root and no loop device are needed:
mmdebstrap(1), mke2fs(8) -d and xorrisofs(1) do the work.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import images, scenario
from k3os.image.cache import Cache, digest
from k3os.image.progress import Progress
from k3os.image.settings import SUITE, Settings
from k3os.system.run import run

PACKAGES = (
    *("linux-image-cloud-amd64", "initramfs-tools", "zstd", "busybox"),
    *("systemd", "systemd-sysv", "udev", "dbus", "libpam-systemd", "login"),
    # with which Debian's cloud images configure their network
    *("netplan.io", "systemd-resolved", "systemd-timesyncd", "iproute2"),
    *("openssh-server", "sudo", "procps", "ca-certificates", "e2fsprogs", "cloud-init"),
)
# What k3s needs, and both systems have: Debian's cloud images include AppArmor; a released k3s
# includes iptables, others may not.
REAL_PACKAGES = (*PACKAGES, "iptables", "apparmor")
DISK_SIZE = "2G"
ROOT_LABEL = "root"

# The unit that k3s' own installer writes, as far as its position in the boot is concerned.
K3S_UNIT = """\
[Unit]
Description=Stands for k3s
Wants=network-online.target
After=network-online.target
[Service]
Type=notify
ExecStart=/usr/local/sbin/k3s server
[Install]
WantedBy=multi-user.target
"""
# As in k3OS' live mode, so that the bench can run commands in both.
AUTOLOGIN = f"""\
[Service]
ExecStart=
ExecStart=-/sbin/agetty -a {scenario.USER} --noclear --keep-baud 115200 %I $TERM
"""
# For a real k3s: the rest of what that installer writes, and the program that waits for /readyz.
REAL_K3S_UNIT = K3S_UNIT.replace(
    "[Service]\n",
    """\
[Service]
KillMode=process
Delegate=yes
LimitNOFILE=1048576
LimitNPROC=infinity
LimitCORE=infinity
TasksMax=infinity
TimeoutStartSec=0
Restart=always
RestartSec=5s
ExecStartPre=-/sbin/modprobe br_netfilter
ExecStartPre=-/sbin/modprobe overlay
""",
).replace("Stands for k3s", "k3s")
READY_UNIT = f"""\
[Unit]
Description=Says when k3s answers
[Service]
ExecStart={scenario.READY_COMMAND}
[Install]
WantedBy=multi-user.target
"""
FILES = {
    "/etc/fstab": f"LABEL={ROOT_LABEL} / ext4 defaults 0 1\n",
    "/etc/systemd/system/k3s.service": K3S_UNIT,
    "/etc/systemd/system/serial-getty@ttyS0.service.d/autologin.conf": AUTOLOGIN,
}
REAL_FILES = FILES | {
    "/etc/systemd/system/k3s.service": REAL_K3S_UNIT,
    "/etc/systemd/system/bench-ready.service": READY_UNIT,
    scenario.READY_PROGRAM: scenario.READY_TEXT,
}

# Runs as root or as root of a user namespace, so that files get the owners in the archive.
_MAKE_DISK = """
set -e
mkdir tree
tar --numeric-owner --exclude='./dev/*' -xf root.tar -C tree
rm root.tar
truncate -s "$1" root.ext4
/sbin/mke2fs -q -t ext4 -L "$2" -E lazy_itable_init=0,lazy_journal_init=0 -d tree root.ext4
cp --dereference tree/boot/vmlinuz-* vmlinuz
cp --dereference tree/boot/initrd.img-* initrd
"""


@dataclass(frozen=True)
class Peer:
    """The peer's files: kernel, initrd, root disk (raw; compressed), seed, root tree."""

    kernel: Path
    initrd: Path
    disk: Path
    download: Path
    seed: Path
    tree: Path

    @property
    def append(self) -> str:
        return f"root=LABEL={ROOT_LABEL} ro {scenario.KERNEL_ARGUMENTS}"


def build_peer(
    settings: Settings, progress: Progress, cache: Cache, real: Path | None = None
) -> Peer:
    """Build the peer or take it from the cache; real: a k3s instead of the stand-in.

    Raises CommandError.
    """
    k3s = real or Path(__file__).with_name("k3s")
    packages = REAL_PACKAGES if real else PACKAGES
    files, size = (REAL_FILES, images.DISK_SIZE) if real else (FILES, DISK_SIZE)
    key = digest(SUITE, settings.mirror, packages, size, files, _MAKE_DISK, k3s)
    root = cache.stage(
        "peer-k3s" if real else "peer",
        key,
        lambda out: _build_root(settings, progress, k3s, packages, files, size, out),
    )
    seed = cache.stage(
        "seed",
        digest(scenario.USER_DATA, scenario.META_DATA),
        lambda out: _build_seed(progress, out),
    )
    return Peer(
        kernel=root / "vmlinuz",
        initrd=root / "initrd",
        disk=root / "root.ext4",
        download=root / "root.qcow2",
        seed=seed / "seed.iso",
        tree=root / "tree",
    )


def mmdebstrap_command(
    settings: Settings,
    k3s: Path,
    packages: Sequence[str],
    files: Path,
    units: list[str],
    output: Path,
) -> list[str]:
    """The command that writes the peer's root as a tar archive; files: a tree of extra files;
    units: those of them to start at boot."""
    command = [
        *("mmdebstrap", "--mode=auto", "--format=tar", "--variant=apt"),
        '--aptopt=APT::Install-Recommends "false"',
        '--aptopt=Acquire::Retries "3"',
        f"--include={','.join(packages)}",
        f"--customize-hook=copy-in {shlex.quote(str(files / 'etc'))} /",
        f"--customize-hook=upload {shlex.quote(str(k3s))} /usr/local/sbin/k3s",
        '--customize-hook=chmod 755 "$1/usr/local/sbin/k3s"',
        f'--customize-hook=chroot "$1" systemctl enable {" ".join(units)}',
        SUITE,
        str(output),
    ]
    return [*command, settings.mirror] if settings.mirror else command


def _build_root(
    settings: Settings,
    progress: Progress,
    k3s: Path,
    packages: Sequence[str],
    texts: dict[str, str],
    size: str,
    output: Path,
) -> None:
    files = output / "files"
    for name, text in texts.items():
        path = files / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    units = [Path(name).name for name, text in texts.items() if "WantedBy=" in text]
    run(
        mmdebstrap_command(settings, k3s, packages, files, units, output / "root.tar"),
        log=progress.log,
        env={"SOURCE_DATE_EPOCH": str(settings.epoch), "LC_ALL": "C.UTF-8"},
    )
    shutil.rmtree(files)
    as_root = [] if os.getuid() == 0 else ["unshare", "--map-auto", "--map-root-user"]
    run(
        [*as_root, "/bin/sh", "-c", _MAKE_DISK, "sh", size, ROOT_LABEL],
        cwd=str(output),
        log=progress.log,
    )
    run(
        [
            *("qemu-img", "convert", "-c", "-O", "qcow2", "-o", "compression_type=zstd"),
            *(str(output / "root.ext4"), str(output / "root.qcow2")),
        ],
        log=progress.log,
    )


def _build_seed(progress: Progress, output: Path) -> None:
    tree = output / "tree"
    tree.mkdir()
    (tree / "user-data").write_text(scenario.USER_DATA)
    (tree / "meta-data").write_text(scenario.META_DATA)
    run(
        ["xorrisofs", "-quiet", "-V", "cidata", "-J", "-r", "-o", f"{output}/seed.iso", str(tree)],
        log=progress.log,
    )
