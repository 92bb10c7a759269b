"""Debian packages in, tar archives out: the two stages that need the network.

`base` is the node's user space with configured packages; `kernel` only unpacks the packages of
kernel and firmware. mmdebstrap (mmdebstrap(1)) does the work, as root or in a user namespace; it
chooses the default mirror by itself.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from k3os.errors import UserError
from k3os.image import emulation
from k3os.image.progress import Progress
from k3os.image.settings import SUITE, Settings
from k3os.system.run import CommandError, run

# What k3s and the installer need, in addition to Debian's Essential packages and dependencies.
NODE_PACKAGES = (
    # the running system
    *("systemd", "systemd-sysv", "udev", "dbus", "kmod", "procps", "sudo", "login"),
    *("openssh-server", "openssh-client", "ca-certificates", "curl", "zstd", "xz-utils"),
    *("python3", "python3-yaml", "libcrypt1", "busybox", "nano", "less", "tzdata"),
    # the network
    *("connman", "wpasupplicant", "iproute2", "iputils-ping", "ethtool", "netbase"),
    "libnss-myhostname",  # sudo looks up its host, even while DHCP changes the name
    # called by k3s, its network plugins and volumes
    *("iptables", "nftables", "ipset", "conntrack", "socat", "open-iscsi", "nfs-common"),
    # containerd loads pods' profiles with apparmor_parser; volumes may be encrypted
    *("apparmor", "cryptsetup-bin"),
    # disks
    *("parted", "fdisk", "e2fsprogs", "xfsprogs", "dosfstools", "efibootmgr"),
)
# For a hypervisor's requests: addresses, shutdown, freezing for a backup. udev starts them.
# Hyper-V and VMware do not run armhf.
GUEST_AGENTS = ("qemu-guest-agent",)
_OTHER_AGENTS = ("hyperv-daemons", "open-vm-tools")
GUEST_AGENTS_OF = {"amd64": _OTHER_AGENTS, "arm64": _OTHER_AGENTS}
# The first stage of an overlay installation runs before our root is mounted.
STATIC_SHELL = "busybox-static"
FIRMWARE_PACKAGES = ("firmware-linux-free", "firmware-ath9k-htc", "wireless-regdb")
# the image takes what network cards and disk controllers do not work without
# (kernel.wanted_firmware); the packages are named after the makers of the chips
NONFREE_FIRMWARE_PACKAGES = tuple(
    f"firmware-{name}"
    for name in (
        *("bnx2", "bnx2x", "cavium", "intel-misc", "misc-nonfree", "myricom", "netxen"),
        *("qlogic", "realtek"),
    )
)
# on arm64 the Raspberry Pi's WiFi, but not Intel's microcode: it is as large as a whole initrd
NONFREE_FIRMWARE_PACKAGES_OF = {
    "amd64": ("amd64-microcode",),
    "arm64": ("firmware-brcm80211", "raspi-firmware"),
}
NONFREE = "non-free-firmware"

# Needed while packages are configured, useless on a node, which never installs one.
BUILD_TIME_PACKAGES = (
    frozenset(
        "adduser debconf dpkg init-system-helpers perl-base ucf libpam-runtime "
        "debian-archive-keyring sysvinit-utils".split()
    )
    | frozenset(
        # of open-vm-tools, for parts that k3os.image.agents removes
        "libdrm2 libdrm-common libfuse3-4 libgcrypt20 libgpg-error0 libmspack0t64 libpci3 libxml2 "
        "libxmlsec1t64 libxmlsec1t64-openssl libxslt1.1 lsb-release pci.ids pciutils".split()
    )
    | frozenset(
        # of xfs_scrub, which is removed: 38 MB, to detect characters that look alike
        "libicu76 python3-dbus".split()
    )
)

# Only the node's version of Python can compile for it; unchecked, because images change times
_COMPILE = (
    'chroot "$1" python3 -m compileall -q -f --invalidation-mode unchecked-hash '
    "/usr/lib/python3.13 /usr/lib/python3/dist-packages"
)
# suites that mmdebstrap uses in addition to the release if no mirror is given
FIXES = frozenset((f"{SUITE}-updates", f"{SUITE}-security"))
# mmdebstrap's default
DEFAULT_MIRROR = "http://deb.debian.org/debian"
ADDRESS = re.compile(r"[a-z+]+://[^\s'\"]+")
# apt's messages, e.g. "Get:1 <mirror> trixie InRelease"; the last one is about stale lists
INDEX = re.compile(r"^(?:Get|Hit):\d+ (\S+) (\S+) InRelease", re.MULTILINE)
UNKNOWN_PACKAGE = re.compile(r"^E: Unable to locate package (\S+)$", re.MULTILINE)
STALE_LIST = re.compile(
    r"^E: Failed to fetch (\S+)/dists/([^/\s]+)/\S+\s+"
    r"(?:File has unexpected size|Hash Sum mismatch)",
    re.MULTILINE,
)
_LIST_DEBS = (
    'for deb in "$1"/var/cache/apt/archives/*.deb; do '
    "dpkg-deb --show --showformat '${Package} ${Version} ${Source}\\n' \"$deb\"; "
    'done > "$1/packages.txt"'
)
# if no package is missing: an empty list
_NO_DEBS = '{ ! ls "$1"/var/cache/apt/archives/*.deb >/dev/null 2>&1 && : > "$1/packages.txt"; }'


T = TypeVar("T")


class StaleLists(UserError):
    """The mirror's package lists are not those that it has signed.

    suites: the affected ones. archive: the URL to build without them, "" if that does not help.
    """

    def __init__(self, architecture: str, where: str, suites: list[str], archive: str) -> None:
        self.suites = ", ".join(suites)
        self.archive = archive
        without = ""
        if archive:
            without = (
                f"; or build with MIRROR={archive}: an address takes {SUITE} alone, so without the "
                f"fixes of {self.suites}"
            )
        super().__init__(
            f"the mirror's lists of {architecture} packages are not those that it signs: "
            f"{self.suites}",
            f"try again later, it may be in the middle of an update{without}",
            where,
        )


@dataclass(frozen=True)
class Package:
    """A binary package in an image; source: the name of its source package."""

    name: str
    version: str
    source: str


def base_options(settings: Settings) -> list[str]:
    """mmdebstrap's options for the node's user space, packages configured."""
    agents = (*GUEST_AGENTS, *GUEST_AGENTS_OF.get(settings.arch.name, ()))
    return [
        "--variant=essential",
        f"--include={','.join((*NODE_PACKAGES, *agents))}",
        *(
            f"--dpkgopt=path-exclude=/usr/share/{directory}/*"
            for directory in ("doc", "man", "locale", "info", "lintian", "bug", "i18n/locales")
        ),
        "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        f"--customize-hook={_COMPILE}",
    ]


def kernel_options(settings: Settings) -> list[str]:
    """mmdebstrap's options for the kernel's and firmware's files, and `packages.txt`.

    An architecture for which we build nothing bootable gets only the static shell.
    """
    packages = [settings.kernel_package, STATIC_SHELL] if settings.arch.boots else [STATIC_SHELL]
    components = ["main"]
    if settings.arch.boots and settings.kernel.drivers:
        nonfree = NONFREE_FIRMWARE_PACKAGES_OF.get(settings.arch.name, ())
        firmware = [*FIRMWARE_PACKAGES, *NONFREE_FIRMWARE_PACKAGES, *nonfree, *settings.firmware]
        packages += dict.fromkeys(firmware)
        components.append(NONFREE)
    return [
        f"--components={','.join(components)}",
        "--variant=extract",
        f"--include={','.join(packages)}",
        f"--extract-hook={_LIST_DEBS}",
    ]


def bootstrap_base(settings: Settings, progress: Progress, output: Path) -> None:
    """Write <output>/base.tar."""
    emulation.ensure(settings.arch)
    _mmdebstrap(settings, progress, base_options(settings), output / "base.tar")


def unpack_kernel(settings: Settings, progress: Progress, output: Path) -> None:
    """Write <output>/kernel.tar."""
    more = settings.kernel.suite if settings.arch.boots else SUITE
    _mmdebstrap(settings, progress, kernel_options(settings), output / "kernel.tar", more)


def unpack(
    settings: Settings,
    progress: Progress,
    packages: tuple[str, ...],
    target: Path,
    *,
    components: tuple[str, ...] = ("main",),
) -> None:
    """Write a tar with the files of packages and all their dependencies, and `packages.txt`."""
    options = [
        f"--components={','.join(components)}",
        "--variant=extract",
        f"--include={','.join(packages)}",
        f"--extract-hook={_LIST_DEBS}",
    ]
    _mmdebstrap(settings, progress, options, target)


def unpack_beside(
    settings: Settings, progress: Progress, names: tuple[str, ...], status: Path, target: Path
) -> None:
    """Write a tar with the files of packages and of those dependencies that are not installed
    according to status (a dpkg status file), and `packages.txt`."""
    options = [
        "--variant=extract",
        f"--include={','.join(names)}",
        f'--setup-hook=cat {shlex.quote(str(status))} > "$1"/var/lib/dpkg/status',
        f"--extract-hook={_NO_DEBS} || {{ {_LIST_DEBS}; }}",
    ]
    try:
        _mmdebstrap(settings, progress, options, target)
    except UserError as error:
        unknown = UNKNOWN_PACKAGE.findall(progress.stage_log())
        if not unknown:
            raise
        raise UserError(
            f"Debian {SUITE} has no package {', '.join(unknown)} for {settings.arch.debian}",
            "packages.debian.org lists them",
            "PACKAGES",
        ) from error


def _mmdebstrap(
    settings: Settings, progress: Progress, options: list[str], output: Path, suite: str = SUITE
) -> None:
    """suite: another one that packages may come from, in addition to the release."""
    command = [
        *("mmdebstrap", "--mode=auto", "--format=tar"),
        f"--architectures={settings.arch.debian}",
        '--aptopt=APT::Install-Recommends "false"',
        '--aptopt=Acquire::Languages "none"',
        # if a mirror stalls or answers 503, retry, then fail
        '--aptopt=Acquire::Retries "3"',
        '--aptopt=Acquire::http::Timeout "30"',
        '--aptopt=Acquire::https::Timeout "30"',
        *options,
        *([] if suite == SUITE else [f"--setup-hook={suite_hook(settings.mirror, suite)}"]),
        SUITE,
        str(output),
    ]
    if settings.mirror:
        command.append(settings.mirror)
    try:
        run(
            command,
            log=progress.log,
            env={
                "SOURCE_DATE_EPOCH": str(settings.epoch),
                "LC_ALL": "C.UTF-8",
                **emulation.environment(settings.arch),
            },
        )
    except CommandError as error:
        if error.returncode == 127:
            raise
        where = settings.mirror and f"MIRROR={settings.mirror}"
        log = progress.stage_log()
        problem = mirror_problem(log, settings.arch.debian) or unknown_firmware(log, settings)
        raise problem or UserError(
            f"mmdebstrap could not make the packages of Debian {SUITE} ready",
            "the log above says why; if the mirror is at fault, try again or set MIRROR=URL",
            where,
        ) from error


def suite_hook(mirror: str, suite: str) -> str:
    """A hook for mmdebstrap that adds a suite of the mirror (sources.list(5)). Raises UserError."""
    if mirror and not ADDRESS.fullmatch(mirror):
        raise UserError(
            f"{mirror!r} is not an address, so the suite {suite} beside it is not known",
            "give the URL of a mirror, or take KERNEL=generic",
            "MIRROR",
        )
    line = f"deb {mirror or DEFAULT_MIRROR} {suite} main"
    return f"echo '{line}' >\"$1\"/etc/apt/sources.list.d/{suite}.list"


def mirror_problem(log: str, architecture: str) -> StaleLists | None:
    """The error if the mirror's package lists are not those that it has signed; else None.

    log: the output of apt-get update. A mirror is in this state for minutes during an update, and
    permanently if it keeps an outdated file for a rarely used architecture.
    """
    stale = dict.fromkeys(STALE_LIST.findall(log))
    if not stale:
        return None
    suites = [suite for _, suite in stale]
    archive = ""
    if FIXES.issuperset(suites):
        archive = next((url for url, suite in INDEX.findall(log) if suite == SUITE), "")
    return StaleLists(architecture, next(url for url, _ in stale), suites, archive)


def without_stale_fixes(settings: Settings, progress: Progress, make: Callable[[Settings], T]) -> T:
    """make(settings); if only lists of fixes are stale, once more without those suites.

    The next build tries them again. A signed build is a release, and fails here instead: nobody
    should unknowingly get one without security fixes. Raises StaleLists and whatever make raises.
    """
    try:
        return make(settings)
    except StaleLists as problem:
        if settings.mirror or settings.sign_key or not problem.archive:
            raise
        progress.warn(f"{problem.where}: {problem.message}")
        made = make(replace(settings, mirror=problem.archive))
        progress.warn(
            f"built from {SUITE} alone, without the fixes of {problem.suites}: build again later, "
            "when the mirror has them"
        )
        return made


def unknown_firmware(log: str, settings: Settings) -> UserError | None:
    """The error if apt does not know a package named in FIRMWARE; else None."""
    unknown = [name for name in UNKNOWN_PACKAGE.findall(log) if name in settings.firmware]
    if not unknown:
        return None
    return UserError(
        f"Debian {SUITE} has no package {', '.join(unknown)} for {settings.arch.debian}",
        "`apt-cache search firmware` lists them, packages.debian.org too",
        "FIRMWARE",
    )


def parse_status(text: str) -> list[Package]:
    """The packages of a dpkg status file (deb822, dpkg-query(1)), without build-time ones."""
    packages = []
    for paragraph in text.split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z-]+): (.*)$", paragraph, re.MULTILINE))
        if not fields.get("Status", "").endswith(" installed"):
            continue
        if fields["Package"] not in BUILD_TIME_PACKAGES:
            source = str(fields.get("Source") or fields["Package"]).split()[0]
            packages.append(Package(fields["Package"], fields["Version"], source))
    return sorted(packages, key=lambda package: package.name)


def parse_listing(text: str, wanted: str) -> list[Package]:
    """The packages of `packages.txt` whose name matches the regular expression wanted."""
    packages = set()
    for line in text.splitlines():
        name, version, *source = line.split()
        if re.fullmatch(wanted, name):
            packages.add(Package(name, version, source[0] if source else name))
    return sorted(packages, key=lambda package: package.name)
