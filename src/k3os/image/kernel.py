"""The kernel stage: Debian's kernel package in; vmlinuz, modules.squashfs, boot modules out.

Modules are unpacked from .xz (squashfs compresses them better, and loads faster) but otherwise
unchanged: their signatures stay valid for Secure Boot. What a node without screen, sound and camera
never loads is left out (DROPPED). Of the firmware packages, the image contains what its drivers
ask for, see wanted_firmware.
"""

from __future__ import annotations

import fnmatch
import lzma
import os
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from k3os.errors import UserError
from k3os.image import microcode
from k3os.image.progress import Progress
from k3os.image.settings import Settings
from k3os.image.tree import FILE, SYMLINK, Entry, Tree, read_tar
from k3os.system.run import run

# Directories below kernel/ that no node needs -> the reason.
DROPPED = {
    "sound": "a node makes no sound",
    "drivers/media": "cameras, television",
    "drivers/comedi": "data acquisition cards",
    "drivers/iio": "sensors",
    "drivers/staging": "not ready by the kernel's own word",
    "drivers/isdn": "telephones",
    "drivers/gpu/drm/nouveau": "graphics; text consoles work without",
    "drivers/gpu/drm/amd": "graphics",
    "drivers/gpu/drm/radeon": "graphics",
    "drivers/gpu/drm/i915": "graphics",
    "drivers/gpu/drm/xe": "graphics",
    "drivers/gpu/drm/vc4": "the Raspberry Pi's; it needs sound, and text works without",
    "drivers/accel": "accelerators; their user space is not in the image either",
    "drivers/video/fbdev": "graphics",
    "drivers/input/touchscreen": "no screen, no touch",
    "drivers/input/joystick": "no games",
    "drivers/input/gameport": "no games",
    "drivers/usb/gadget": "a node is a host",
    "drivers/net/can": "vehicles",
    "drivers/net/hamradio": "amateur radio",
    "drivers/infiniband/hw/hfi1": "clusters of another kind",
    "drivers/mtd": "raw flash",
    "drivers/firewire": "cameras",
    "drivers/pcmcia": "older than systemd",
    "drivers/bluetooth": "nothing pairs with a node",
    "drivers/parport": "printers",
    "drivers/md/dm-vdo": "not used by the installer",
    "net/bluetooth": "nothing pairs with a node",
    "net/nfc": "nothing pairs with a node",
    "net/can": "vehicles",
    "net/ax25": "amateur radio",
    "net/rose": "amateur radio",
    "net/netrom": "amateur radio",
    "fs/ocfs2": "no user space for it",
    "fs/bcachefs": "no user space for it",
    "fs/reiserfs": "gone",
    "fs/jfs": "gone",
    "fs/ufs": "foreign disks",
    "fs/hfs": "foreign disks",
    "fs/hfsplus": "foreign disks",
    "fs/affs": "foreign disks",
}

# What the initrd must be able to load, to find its medium on any machine.
BOOT_DIRECTORIES = (
    "drivers/ata",
    "drivers/block",
    "drivers/cdrom",
    "drivers/hv",
    "drivers/message/fusion",
    "drivers/mmc",
    "drivers/nvme",
    "drivers/pci/controller",
    "drivers/scsi",
    "drivers/ufs",
    "drivers/usb/host",
    "drivers/usb/storage",
    "drivers/virtio",
    "drivers/xen",
    "drivers/hid/usbhid",
    "fs/ext4",
    "fs/fat",
    "fs/isofs",
    "fs/overlayfs",
    "fs/squashfs",
)
# On a PC, the drivers are built in or the devices are on PCI; on ARM, the clock, power supply and
# pins of a disk controller are devices with drivers of their own.
BOOT_DIRECTORIES_OF = {
    "arm64": tuple(
        f"drivers/{name}"
        for name in (
            *("bus", "clk", "dma", "firmware", "gpio", "hwspinlock", "i2c/busses", "interconnect"),
            *("iommu", "mailbox", "memory", "mfd", "nvmem", "phy", "pinctrl", "pmdomain"),
            *("regulator", "remoteproc", "reset", "rpmsg", "soc", "spmi", "usb/chipidea"),
            *("usb/common", "usb/core", "usb/dwc2", "usb/dwc3", "usb/musb", "usb/phy"),
            *("usb/roles", "usb/typec"),
        )
    ),
}
BOOT_MODULES = (
    *("nls_ascii", "nls_cp437", "nls_utf8", "nls_iso8859-1", "crc32c_generic", "crc32c-intel"),
    *("hid-generic", "hid-hyperv", "softdog", "efivarfs", "i6300esb"),
    # arrays, and LVM volumes that are linear or striped (k3os.system.lvm)
    *("md-mod", "raid0", "raid1", "raid10", "raid456", "dm-mod"),
)
# Drivers with large firmware, which is included only on request (FIRMWARE=firmware-iwlwifi).
WIRELESS = ("kernel/drivers/net/wireless/", "kernel/net/wireless/")
# Exceptions, because they are small: sticks with free firmware, and the Raspberry Pi, whose driver
# also asks for the files of a hundred other boards.
WIFI_FIRMWARE = (
    r"(?:ath9k_htc/|htc_9271|htc_7010|carl9170).*"
    r"|brcm/brcmfmac434(?:30|36|36s|55|56)-sdio\.(?:bin|clm_blob|txt|raspberrypi,.*)"
)
FIRMWARE = "usr/lib/firmware/"
_LICENCE = r"usr/share/doc/([^/]*(?:firmware|microcode|regdb)[^/]*)/copyright"
# The radio channels that each country allows. Debian's kernels accept Debian's signature, too.
REGULATORY = {
    "regulatory.db-debian": "regulatory.db",
    "regulatory.db.p7s-debian": "regulatory.db.p7s",
}
_IMAGE = re.compile(r"boot/vmlinuz-([^/]+)|usr/lib/modules/([^/]+)/vmlinuz")

# Directories and modules of BOOT_DIRECTORIES that no medium needs: network disks, their server
# side, caches, simulations. Some pull in a third of the network and storage stacks; all are in the
# root file system, too. nbd stays because it is small, has no dependencies, and init_cmd may need
# it.
NOT_AT_BOOT = tuple(
    f"drivers/{name}"
    for name in (
        *("block/drbd", "block/aoe", "block/rbd", "block/rnbd", "block/null_blk"),
        *("block/ublk_drv", "block/xen-blkback", "xen/xen-pciback", "xen/xen-scsiback"),
        *("nvme/target", "nvme/host/nvme-fabrics", "nvme/host/nvme-fc"),
        *("nvme/host/nvme-rdma", "nvme/host/nvme-tcp", "scsi/fcoe", "scsi/scsi_debug", "scsi/ch"),
        *("scsi/st", "scsi/iscsi_tcp", "scsi/libiscsi_tcp", "scsi/qla2xxx/tcm_qla2xxx"),
        *("scsi/ibmvscsi_tgt", "virtio/virtio_vdpa"),
    )
)


def build_kernel(settings: Settings, progress: Progress, package_tar: Path, output: Path) -> None:
    """Fill output: vmlinuz, version, modules.squashfs, packages.txt, busybox, boot-modules/,
    microcode (which must precede the initrd; it may be empty).
    """
    tree = read_tar(package_tar)
    version = kernel_version(tree)
    root = output / "tree"
    modules = root / "modules" / version
    _unpack_modules(tree, version, modules)
    progress.write_log(f"kernel {version}: {sum(1 for _ in modules.rglob('*.ko'))} modules")
    for path in (root / "boot" / f"config-{version}", modules / "config"):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(kernel_config(tree, version))  # squashfs stores duplicates once
    (root / "firmware").mkdir()
    drivers_firmware = [name for name in settings.firmware if not name.endswith("-microcode")]
    asked = asked_firmware(modules, wireless=bool(drivers_firmware))
    copy_firmware(tree, wanted_firmware(tree, asked), root / "firmware")
    _depmod(root, version, progress)
    epoch = int(image_epoch(package_tar, tree))
    _squash(root, output / "modules.squashfs", epoch, progress)
    chosen = boot_modules(_dependencies(modules), BOOT_DIRECTORIES_OF.get(settings.arch.name, ()))
    _boot_modules(modules, chosen, output / "boot-modules", version, progress)
    (output / "microcode").write_bytes(microcode.archive(tree, epoch))
    (output / "vmlinuz").write_bytes(tree.read(kernel_image(tree)))
    (output / "version").write_text(version + "\n")
    build_shell(package_tar, output)
    run(["rm", "-rf", str(root)])


def build_shell(package_tar: Path, output: Path) -> None:
    """Fill output with what an overlay needs from these packages: busybox, packages.txt."""
    tree = read_tar(package_tar)
    (output / "busybox").write_bytes(tree.read("usr/bin/busybox"))
    (output / "packages.txt").write_bytes(tree.read("packages.txt"))


def kernel_image(tree: Tree) -> str:
    """The path of the only kernel in the tree; newer packages have it beside its modules."""
    images = [path for path in tree.entries if _IMAGE.fullmatch(path)]
    if len(images) != 1:
        raise UserError(f"the kernel package holds {len(images)} kernels, not one: {images}")
    return images[0]


def kernel_version(tree: Tree) -> str:
    """The version of that kernel, as `uname -r` shows it."""
    match = _IMAGE.fullmatch(kernel_image(tree))
    assert match
    return match[1] or match[2]


def kernel_config(tree: Tree, version: str) -> bytes:
    """The kernel's build configuration; newer packages also have it beside its modules."""
    for path in (f"boot/config-{version}", f"usr/lib/modules/{version}/config"):
        if path in tree:
            return tree.read(path)
    raise UserError(f"the kernel package has no configuration of {version}")


def image_epoch(package_tar: Path, tree: Tree) -> float:
    """When Debian built the kernel: the time of all files in the modules image."""
    import tarfile

    with tarfile.open(package_tar) as archive:
        return archive.getmember(f"./{kernel_image(tree)}").mtime


def _module_files(tree: Tree, version: str) -> dict[str, Entry]:
    """Without the kernel, its configuration and device trees, which may be in the same place."""
    prefix = f"usr/lib/modules/{version}/"
    kept = ("kernel/", "modules.")
    dropped = tuple(f"kernel/{directory}/" for directory in DROPPED)
    return {
        path[len(prefix) :]: entry
        for path, entry in tree.entries.items()
        if path.startswith(prefix)
        and entry.kind == FILE
        and path[len(prefix) :].startswith(kept)
        and not path[len(prefix) :].startswith(dropped)
    }


def _unpack_modules(tree: Tree, version: str, target: Path) -> None:
    files = _module_files(tree, version)
    if not files:
        raise UserError(f"the kernel package has no modules for {version}")

    def write(item: tuple[str, Entry]) -> None:
        name, entry = item
        data = entry.data()
        if name.endswith(".ko.xz"):
            name, data = name[:-3], lzma.decompress(data)
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(write, files.items()):
            continue


def asked_firmware(modules: Path, *, wireless: bool) -> list[str]:
    """The files that drivers may load (modinfo(8)), partly patterns; paths below firmware/."""
    paths = sorted(
        str(path.relative_to(modules))
        for path in modules.rglob("*.ko")
        if wireless or not str(path.relative_to(modules)).startswith(WIRELESS)
    )
    output = run(["modinfo", "-F", "firmware", *paths], cwd=str(modules)) if paths else b""
    builtin = (modules / "modules.builtin.modinfo").read_bytes().split(b"\0")
    of_builtin = [text.partition(b".firmware=")[2] for text in builtin]
    names = [*output.splitlines(), *of_builtin]
    return sorted({name.decode() for name in names if name})


def wanted_firmware(tree: Tree, asked: Iterable[str]) -> set[str]:
    """The files of the firmware packages that go into the image, and the targets of their links.

    Returns paths in the tree.
    """
    files = {
        path[len(FIRMWARE) :]: entry
        for path, entry in tree.entries.items()
        if path.startswith(FIRMWARE) and entry.kind in (FILE, SYMLINK)
    }
    wanted = {name for pattern in asked for name in fnmatch.filter(files, pattern)}
    wanted |= {name for name in files if re.fullmatch(WIFI_FIRMWARE, name)}
    links = list(wanted)
    while links:
        name = links.pop()
        if files[name].kind == SYMLINK:
            target = os.path.normpath(os.path.join(os.path.dirname(name), files[name].target))
            if target in files and target not in wanted:
                wanted.add(target)
                links.append(target)
    return {FIRMWARE + name for name in wanted}


def copy_firmware(tree: Tree, wanted: set[str], target: Path) -> None:
    """Also the radio channels, and the packages' licences, which must be distributed with them."""
    names = {path: path[len(FIRMWARE) :] for path in sorted(wanted)}
    renamed = {FIRMWARE + packaged: name for packaged, name in REGULATORY.items()}
    names |= {path: name for path, name in renamed.items() if path in tree}
    for path, entry in tree.entries.items():
        if (match := re.fullmatch(_LICENCE, path)) and entry.kind == FILE:
            names[path] = f"licences/{match[1]}.txt"
    for path, name in names.items():
        file = target / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if tree.entries[path].kind == SYMLINK:
            file.symlink_to(tree.entries[path].target)
        else:
            file.write_bytes(tree.read(path))


def _depmod(root: Path, version: str, progress: Progress) -> None:
    """depmod(8) requires <base>/lib/modules/<version>."""
    base = root.parent / "depmod"
    (base / "lib").mkdir(parents=True)
    (base / "lib" / "modules").symlink_to(root / "modules")
    run(["depmod", "-b", str(base), version], log=progress.log)
    run(["rm", "-rf", str(base)])


def _squash(source: Path, target: Path, epoch: int, progress: Progress) -> None:
    command = ["mksquashfs", str(source), str(target), "-comp", "zstd", "-Xcompression-level"]
    command += ["18", "-b", "512K", "-all-root", "-noappend", "-no-xattrs", "-no-progress"]
    command += ["-mkfs-time", str(epoch), "-all-time", str(epoch)]
    # mksquashfs rejects these options if the variable is set
    run(command, log=progress.log, env={"SOURCE_DATE_EPOCH": None})


def _dependencies(modules: Path) -> dict[str, list[str]]:
    return parse_dependencies((modules / "modules.dep").read_text())


def _boot_modules(
    modules: Path, chosen: set[str], target: Path, version: str, progress: Progress
) -> None:
    """The initrd's modules with their own depmod index, below target/modules/<version>."""
    destination = target / "modules" / version
    for name in sorted(chosen):
        path = destination / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((modules / name).read_bytes())
    for name in ("modules.builtin", "modules.builtin.modinfo", "modules.order"):
        (destination / name).write_bytes((modules / name).read_bytes())
    _depmod(target, version, progress)


def parse_dependencies(text: str) -> dict[str, list[str]]:
    """modules.dep (modules.dep(5)): a module's path -> the paths of all its dependencies."""
    lines = (line.partition(":") for line in text.splitlines())
    return {name: needed.split() for name, _, needed in lines}


def boot_modules(
    dependencies: Mapping[str, Iterable[str]], more_directories: tuple[str, ...] = ()
) -> set[str]:
    """The modules in the initrd, including dependencies."""
    wanted_names = {name.replace("-", "_") for name in BOOT_MODULES}
    wanted = (*BOOT_DIRECTORIES, *more_directories)
    directories = tuple(f"kernel/{directory}/" for directory in wanted)
    unwanted = tuple(f"kernel/{name}{end}" for name in NOT_AT_BOOT for end in ("/", ".ko"))
    chosen: set[str] = set()
    for path, needed in dependencies.items():
        name = re.sub(r"\.ko$", "", path.rpartition("/")[2]).replace("-", "_")
        in_directory = path.startswith(directories) and not path.startswith(unwanted)
        if in_directory or name in wanted_names:
            chosen |= {path, *needed}
    return chosen
