"""The rootfs stage: Debian's base plus the checkout's overlay and Python code, as squashfs.

It removes what a node never uses, creates the only user, and decides what systemd starts. Owners
and modes exist only in the archive that mksquashfs(1) reads, so no root is needed.
"""

from __future__ import annotations

import fnmatch
import os
import re
import tempfile
from pathlib import Path

from k3os.generation.extension_fit import LEVEL
from k3os.image import emulation
from k3os.image.agents import choose_agents
from k3os.image.elf import needed_libraries
from k3os.image.packages import BUILD_TIME_PACKAGES
from k3os.image.places import add_places, choose_profiles
from k3os.image.progress import Progress
from k3os.image.settings import Settings
from k3os.image.signing import trusted_keys
from k3os.image.tree import DIRECTORY, FILE, SYMLINK, Entry, Tree, read_tar, write_tar
from k3os.system.run import run

PYTHON = "usr/lib/python3.13"
PACKAGES = "usr/lib/python3/dist-packages"
RELEASE_KEYS = "usr/share/k3os/release-keys"
OPERATOR = "usr/share/k3os/operator"
# Subpackages for workstations only.
WORKSTATION = ("image", "operator", "vm")
WORKSTATION_COMMANDS = ("build.py", "kubectl_complete.py", "operator.py", "run.py")

UNUSED = (
    *("boot", "media", "mnt", "srv", "usr/games", "usr/include", "usr/src", "usr/local"),
    *("usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale", "usr/share/lintian"),
    *("usr/share/bug", "usr/share/bash-completion", "usr/share/zsh", "usr/share/pixmaps"),
    *("usr/share/perl5", "usr/share/debconf", "usr/share/polkit-1", "usr/share/applications"),
    *("usr/share/icons", "usr/share/menu", "usr/share/initramfs-tools", "usr/share/gdb"),
    *("usr/share/gcc", "usr/share/python3", "usr/share/dpkg", "usr/share/common-licenses"),
    "usr/lib/*-linux-gnu*/perl-base",
    "usr/lib/*-linux-gnu*/gconv/*",  # the node uses only UTF-8
    "usr/lib/*-linux-gnu*/systemd/libsystemd-core-*.a",
    *("usr/lib/python3.13/test", "usr/lib/python3.13/idlelib", "usr/lib/python3.13/tkinter"),
    *("usr/lib/python3.13/lib2to3", "usr/lib/python3.13/ensurepip", "usr/lib/python3.13/turtle*"),
    "usr/lib/python3.13/pydoc_data",
    *("usr/lib/init", "usr/lib/initramfs-tools", "usr/lib/dpkg", "usr/lib/apt"),
    # 10 MB of device names for people; drivers are found by modules.alias
    *("usr/lib/udev/hwdb.bin", "usr/lib/udev/hwdb.d", "usr/lib/udev/*_id_legacy"),
    *("var/cache/*", "var/log/*", "var/lib/apt", "var/lib/dpkg", "var/backups/*"),
    *("var/lib/systemd/catalog", "var/lib/systemd/credential.secret", "var/lib/python"),
    *("var/lib/systemd/deb-systemd-*", "var/lib/ucf", "var/lib/pam", "var/lib/shells.state"),
    *("usr/lib/systemd/catalog", "etc/apt", "etc/dpkg", "etc/init.d", "etc/rc?.d", "etc/cron.*"),
    *("etc/network", "etc/resolv.conf", "etc/fstab", "etc/motd", "etc/update-motd.d"),
    *("etc/ssh/ssh_host_*", "etc/iscsi/initiatorname.iscsi", "etc/machine-id", "etc/hostname"),
    *("etc/ufw", "etc/runit", "etc/sv", "etc/ifplugd", "etc/ld.so.cache~", "etc/*-"),
    *("etc/kernel", "etc/insserv.conf.d", "etc/debconf.conf", "etc/deluser.conf", "etc/apport"),
    *("etc/adduser.conf", "etc/ucf.conf", "etc/X11", "etc/logrotate.d", "etc/mtab"),
    *("etc/issue", "etc/issue.net", "etc/.pwd.lock", "var/lib/dbus/machine-id"),
    *("usr/bin/nsenter.dpkg*", "usr/bin/sshd.old", "dev/*", "proc/*", "sys/*", "run/*", "tmp/*"),
)

# Units that would cost time or memory and do nothing on a node, with their replacement.
UNITS_REMOVED = (
    *("e2scrub*", "dpkg-db-backup.*", "apt-*", "systemd-pcr*", "systemd-tpm2-*"),
    *("systemd-firstboot.service", "systemd-hwdb-update.service", "systemd-update-done.service"),
    *("systemd-sysusers.service", "systemd-machine-id-commit.service", "ldconfig.service"),
    *("systemd-journal-catalog-update.service", "systemd-remount-fs.service", "hwclock.service"),
    *("systemd-growfs-root.service", "systemd-fsck-root.service*", "systemd-quotacheck*"),
    *("systemd-network-generator.service", "systemd-networkd*", "systemd-bsod.service"),
    *("systemd-battery-check.service", "systemd-ask-password-*.path", "systemd-rfkill*"),
    *("systemd-udev-load-credentials.service", "systemd-hibernate-clear.service"),
    *("dev-mqueue.mount", "sys-fs-fuse-connections.mount", "apparmor.service"),
    *("systemd-boot-check-no-failures.service", "systemd-confext.service", "systemd-sysext.*"),
    *("systemd-pstore.service", "systemd-creds.socket", "systemd-storagetm.service"),
    *("systemd-journald-audit.socket", "systemd-mute-console.socket", "proc-fs-nfsd.mount"),
    *("systemd-binfmt.service", "proc-sys-fs-binfmt_misc.*", "x11-common.service"),
    *("cryptdisks*", "quotaon*", "initrd*", "systemd-udev-settle.service", "sshd-keygen.service"),
    *("systemd-hostnamed.*", "systemd-localed.*", "systemd-timedated.*", "nfs-blkmap.service"),
    *("systemd-sysctl.service", "procps.service", "systemd-user-sessions.service.d"),
    # / is a tmpfs already; PID 1 creates the static device nodes
    *("tmp.mount", "run-lock.mount", "dev-hugepages.mount", "modprobe@.service"),
    *("kmod-static-nodes.service", "systemd-tmpfiles-setup-dev*.service"),
    *("nftables.service", "getty-static.service", "xfs_scrub*", "system-xfs_scrub.slice"),
    # k3os-local.service runs rc.local
    *("rc-local.service*", "rc.local.service"),
    # PID 1 starts a login on each console; it does not wait for the network
    "systemd-user-sessions.service",
)

# For rancher. The second one allows reading the journal without sudo, as our messages suggest.
GROUPS = ("sudo", "systemd-journal")

# Kept, but not started at boot: udev starts the first one when its module is loaded, PID 1 mounts
# the others before systemd starts.
UNITS_ON_DEMAND = (
    *("sys-kernel-config.mount", "sys-kernel-debug.mount", "sys-kernel-tracing.mount"),
)

# Rules that only set data from the hardware database, which a node does not have; for desktops; or
# that duplicate units and connman. Rules for persistent device names stay: device plugins and
# people use /dev/dri/by-path, /dev/v4l/by-id and the like. So does 60-input-id, without which
# logind does not find a power button.
UDEV_RULES_REMOVED = (
    *("60-autosuspend", "60-evdev", "60-fido-id", "60-sensor", "70-camera", "70-joystick"),
    *("70-mouse", "70-iscsi-network-interface", "70-open-iscsi", "70-touchpad", "75-probe_mtd"),
    *("78-sound-card", "81-net-dhcp", "90-iocost", "96-e2scrub", "99-nfs"),
)

# Each is a process before the first unit starts. Kept: debug (for systemd.mask= and the like on the
# command line) and fstab (a configuration may write that file).
GENERATORS_REMOVED = (
    *("rpc-pipefs-generator", "systemd-getty-generator", "systemd-gpt-auto-generator"),
    *("systemd-hibernate-resume-generator", "systemd-rc-local-generator"),
    *("systemd-run-generator", "systemd-ssh-generator", "systemd-system-update-generator"),
    *("systemd-sysv-generator", "systemd-tpm2-generator"),
)

# What is started: target -> units. All other links in /etc/systemd are removed.
WANTS = {
    "multi-user.target": (
        *("connman.service", "wpa_supplicant.service", "k3s.service"),
        *("k3os-clock.service", "k3os-config.service", "k3os-k3s-fetch.service"),
        *("k3os-local-start.service", "k3os-pods.service"),
    ),
    "sockets.target": ("ssh.socket", "iscsid.socket", "k3os-issue.socket", "k3os-network.socket"),
    "paths.target": ("k3os-report.path", "k3os-resolv.path"),
    "network-online.target": ("k3os-network-online.service",),
    "timers.target": (
        *("fstrim.timer", "k3os-memory.timer", "k3os-report.timer", "k3os-ssh-keys.timer"),
        "k3os-verify.timer",
    ),
}


def build_rootfs(
    settings: Settings, progress: Progress, base_tar: Path, operator: Path | None, output: Path
) -> None:
    """Write <output>/rootfs.squashfs and <output>/python (the node's compiled k3os package).

    operator: the directory with the operator's image and manifests, None for none.
    """
    tree = read_tar(base_tar)
    remove_unused(tree)
    choose_profiles(tree)
    choose_agents(tree)
    add_user(tree)
    choose_units(tree)
    if settings.k3s == "none":  # as requested: then the node must not download one either
        tree.remove("etc/systemd/system/*/k3os-k3s-fetch.service")
    code = output / "python"
    compile_code(settings, tree, code, progress)
    tree.copy_directory(settings.source / "overlay" / "rootfs")
    tree.copy_directory(code, PACKAGES)
    add_release(tree, settings)
    tree.file(RELEASE_KEYS, trusted_keys(settings.sign_key, settings.release_keys).encode())
    add_skeleton(tree)
    add_places(tree)
    if operator is not None:
        for path in sorted(filter(Path.is_file, operator.iterdir())):
            tree.add(f"{OPERATOR}/{path.name}", Entry(FILE, 0o644, data=path.read_bytes))
    tree.file("usr/lib/k3os/prefetch", "\n".join(boot_files(tree)).encode() + b"\n")
    squash(tree, output / "rootfs.squashfs", settings.epoch, progress)


def remove_unused(tree: Tree) -> None:
    """Remove build-time packages' files and everything in UNUSED."""
    for package in sorted(BUILD_TIME_PACKAGES):
        info = f"var/lib/dpkg/info/{package}"
        listings = fnmatch.filter(tree.entries, f"{info}:*.list") + [f"{info}.list"]
        lists = [tree.read(listing).decode() for listing in listings if listing in tree]
        for line in "".join(lists).splitlines():
            path = line.strip("/")
            for candidate in (path, f"usr/{path}"):
                entry = tree.entries.get(candidate)
                if entry is not None and entry.kind != DIRECTORY and not _kept(candidate):
                    del tree.entries[candidate]
    tree.remove(*UNUSED)


def _kept(path: str) -> bool:
    """PAM's configuration comes from a build-time package, but belongs to the node."""
    return path.startswith(("etc/pam", "usr/share/pam")) or path.endswith("os-release")


def add_user(tree: Tree) -> None:
    """The only login is rancher (uid 1000, no password); root is locked."""
    files = {
        "etc/passwd": "rancher:x:1000:1000:k3OS,,,:/home/rancher:/bin/bash\n",
        "etc/group": "rancher:x:1000:\n",
        "etc/gshadow": "rancher:!::\n",
        "etc/shadow": "rancher:*:19000:0:99999:7:::\n",
    }
    for path, line in files.items():
        text = tree.read(path).decode()
        if path == "etc/shadow":
            fields = (entry.split(":") for entry in text.splitlines())
            # a build date in field 3 would make images differ; "!*" means no password is valid
            text = "".join(
                ":".join([name, "!*", "19000", *rest[2:]]) + "\n" for name, *rest in fields
            )
        if path in ("etc/group", "etc/gshadow"):
            text = re.sub(rf"^({'|'.join(GROUPS)}):(.*):$", r"\1:\2:rancher", text, flags=re.M)
        entry = tree.entries[path]
        tree.file(path, (text + line).encode(), entry.mode, entry.uid, entry.gid)


def choose_units(tree: Tree) -> None:
    """Remove the units of UNITS_REMOVED and enable exactly those of WANTS."""
    for pattern in UNITS_REMOVED:
        tree.remove(f"usr/lib/systemd/system/{pattern}", f"usr/lib/systemd/system/*/{pattern}")
    for unit in UNITS_ON_DEMAND:
        tree.remove(f"usr/lib/systemd/system/*/{unit}")
    for name in UDEV_RULES_REMOVED:
        tree.remove(f"usr/lib/udev/rules.d/{name}.rules")
    # keep the kernel's interface names (systemd.link(5)): a rename would disturb a running connman
    tree.link("etc/systemd/network/99-default.link", "/dev/null")
    for path, entry in list(tree.entries.items()):
        if path.startswith("etc/systemd/system/") and entry.kind in (SYMLINK, DIRECTORY):
            del tree.entries[path]
    for target, units in WANTS.items():
        for unit in units:
            tree.link(
                f"etc/systemd/system/{target}.wants/{unit}", f"/usr/lib/systemd/system/{unit}"
            )
    for name in GENERATORS_REMOVED:
        tree.remove(f"usr/lib/systemd/system-generators/{name}")
    tree.remove("usr/lib/tmpfiles.d/systemd-nologin.conf")
    tree.link("etc/systemd/system/default.target", "/usr/lib/systemd/system/multi-user.target")
    tree.link(
        "etc/systemd/system/dbus-fi.w1.wpa_supplicant1.service",
        "/usr/lib/systemd/system/wpa_supplicant.service",
    )


def compile_code(
    settings: Settings,
    tree: Tree,
    code: Path,
    progress: Progress,
    without: tuple[tuple[str, ...], tuple[str, ...]] = (WORKSTATION, WORKSTATION_COMMANDS),
) -> None:
    """Copy the package to code/k3os and compile it for the tree's Python.

    without: the subpackages, and the commands in cli, that are left out; a node's by default.
    """
    source = settings.source / "src" / "k3os"
    subpackages, commands = without
    for path in sorted(source.rglob("*")):
        relative = path.relative_to(source)
        if "__pycache__" in relative.parts or relative.parts[0] in subpackages or path.is_dir():
            continue
        if relative.parts[0] == "cli" and relative.name in commands:
            continue
        target = code / "k3os" / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    compile_directory(settings, tree, code, progress)


def compile_directory(
    settings: Settings, tree: Tree, code: Path, progress: Progress, *options: str
) -> None:
    """Compile files for PACKAGES with the tree's own Python; options: of compileall.

    The interpreter runs from the tree through its dynamic loader, without a chroot.
    """
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        unpack_python(tree, root, settings)
        node_python(
            root,
            settings,
            ["-m", "compileall", "-q", "-f", "--invalidation-mode", "unchecked-hash", *options]
            + ["-s", str(code), "-p", f"/{PACKAGES}", str(code)],
            progress,
        )


def unpack_python(tree: Tree, root: Path, settings: Settings) -> None:
    """Write the tree's interpreter, its libraries and standard library below root."""
    libraries = f"usr/lib/{settings.arch.triplet}"
    for path, entry in tree.walk():
        wanted = (
            path.startswith((f"{PYTHON}/", "usr/bin/python3.13"))
            or (path.startswith(f"{libraries}/lib") and ".so" in path and path.count("/") == 3)
            or path.startswith(f"{libraries}/ld-")
        )
        if not wanted or entry.kind == DIRECTORY:
            continue
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if entry.kind == SYMLINK:
            if not entry.target.startswith("/"):
                target.symlink_to(entry.target)
        else:
            target.write_bytes(entry.data())
            target.chmod(0o755)


def node_python(root: Path, settings: Settings, arguments: list[str], progress: Progress) -> None:
    """Run the unpacked interpreter, with the libraries in root."""
    emulation.ensure(settings.arch)
    libraries = root / "usr/lib" / settings.arch.triplet
    loader = libraries / Path(settings.arch.loader).name
    command = [str(loader), "--library-path", str(libraries), str(root / "usr/bin/python3.13")]
    environment = {"PYTHONHOME": str(root / "usr"), "PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"}
    environment |= emulation.environment(settings.arch)
    run([*command, "-s", *arguments], env=environment, log=progress.log)


def add_release(tree: Tree, settings: Settings) -> None:
    """os-release(5): our identity."""
    from k3os import __version__

    text = (
        f'NAME="k3OS"\nID=k3os\nID_LIKE=debian\nVERSION="{__version__}"\n'
        f'VERSION_ID="{__version__}"\nPRETTY_NAME="k3OS {__version__}"\n'
        f"IMAGE_VERSION={__version__}\nSYSEXT_LEVEL={LEVEL}\nSOURCE_DATE_EPOCH={settings.epoch}\n"
    )
    tree.file("usr/lib/os-release", text.encode())
    tree.link("etc/os-release", "../usr/lib/os-release")


def add_skeleton(tree: Tree) -> None:
    """Mount points, links and directories of the running system (docs/reference/files.md)."""
    for path in ("dev", "proc", "sys", "run", "k3os", "mnt", "usr/lib/modules", "usr/lib/firmware"):
        tree.remove(path)
        tree.directory(path)
    tree.directory("tmp", 0o1777)
    tree.directory("root", 0o700)
    tree.link("usr/local", "/var/local")
    for path in ("var/local", "var/log", "var/cache", "var/lib/rancher", "var/lib/rancher/k3os"):
        tree.directory(path)
    for path in ("bin", "sbin", "lib", "etc"):
        tree.directory(f"var/local/{path}")
    tree.directory("home/rancher", 0o755, 1000, 1000)
    for name in (".bashrc", ".profile"):
        source = f"etc/skel/{name}"
        if source in tree:
            tree.file(f"home/rancher/{name}", tree.read(source), 0o644, 1000, 1000)
    tree.link("etc/resolv.conf", "../run/connman/resolv.conf")
    tree.link("etc/mtab", "../proc/self/mounts")
    for name in ("kubectl", "crictl", "ctr"):
        tree.link(f"usr/sbin/{name}", "k3s")
    tree.link("usr/sbin/os-config", "k3os")
    # how k3s identifies a node, which the cluster checks after each boot
    tree.link("etc/rancher/node", "/var/lib/rancher/k3os/node")
    # setgid: rancher's group can read what k3s writes there; closed to everybody else, since
    # registries.yaml contains passwords
    tree.directory("etc/rancher/k3s", 0o2750, 0, 1000)
    tree.change("etc/sudoers.d/rancher", mode=0o440)
    tree.directory("var/lib/connman", 0o700)


# What every boot starts, in this order; `boot_files` adds their libraries.
BOOT_PROGRAMS = (
    *("usr/lib/systemd/systemd", "usr/lib/systemd/systemd-executor", "usr/bin/kmod"),
    *("usr/lib/systemd/systemd-journald", "usr/bin/udevadm", "usr/bin/systemd-tmpfiles"),
    *("usr/bin/dbus-daemon", "usr/sbin/agetty", "usr/bin/login", "usr/bin/bash"),
    *("usr/lib/systemd/systemd-logind", "usr/sbin/connmand", "usr/bin/dash", "usr/bin/busybox"),
    *("usr/lib/*/security/pam_unix.so", "usr/lib/*/systemd/libsystemd-core-*.so"),
    *("usr/bin/python3.13", "usr/lib/python3/dist-packages/yaml/_yaml.*.so"),
)


def boot_files(tree: Tree) -> list[str]:
    """BOOT_PROGRAMS, each after the libraries that it needs; paths without links."""
    libraries = {path.rpartition("/")[2]: path for path in tree.entries if ".so" in path}
    found: dict[str, None] = {}

    def add(path: str) -> None:
        real = tree.resolve(path)
        if real in found:
            return
        found[real] = None
        for name in sorted(needed_libraries(tree.read(real))):
            if name in libraries:
                add(libraries[name])

    for pattern in BOOT_PROGRAMS:
        for path in sorted(fnmatch.filter(tree.entries, pattern)):
            add(path)
    return list(found)


def squash(tree: Tree, target: Path, epoch: int, progress: Progress) -> None:
    """Write a tree as zstd squashfs, through a tar on mksquashfs's standard input."""
    # mksquashfs makes its user the owner of a tar's root directory: be root, at least in name
    command = [] if os.getuid() == 0 else ["unshare", "--map-root-user"]
    command += ["mksquashfs", "-", str(target), "-tar", "-root-mode", "0755", "-comp", "zstd"]
    command += ["-Xcompression-level", "15", "-b", "256K", "-no-progress", "-noappend"]
    command += ["-mkfs-time", str(epoch), "-all-time", str(epoch)]
    with tempfile.TemporaryFile(dir=target.parent) as archive:
        write_tar(tree, archive, epoch)
        archive.seek(0)
        # mksquashfs rejects the time options if the variable is set
        run(command, stdin=archive.fileno(), log=progress.log, env={"SOURCE_DATE_EPOCH": None})
