"""A virtual machine as data, and the QEMU arguments for it.

It starts nothing and touches no file. Options: qemu(1), sections "Block device options",
"Network options"; https://www.qemu.org/docs/master/system/invocation.html.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from k3os.errors import UserError

SSH = 22
# our architecture -> QEMU's program and machine. q35 has AHCI, PCIe and xHCI like real machines;
# virt has PCIe, and boots UEFI or a kernel directly.
MACHINES = {
    "amd64": ("qemu-system-x86_64", "q35"),
    "arm64": ("qemu-system-aarch64", "virt"),
    "arm": ("qemu-system-arm", "virt,highmem=off"),
}
# specific boards, by their QEMU names (system/arm/raspi.rst), with the processors and memory that
# they have: no PCI, an SD card; Linux's console is the second serial port
BOARD_MACHINES = {"raspi3b": ("-smp", "4", "-m", "1024")}
# Debian's packages ovmf and qemu-efi-aarch64: firmware code with a matching empty variable store
FIRMWARE = {
    "amd64": ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    "arm64": ("/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd"),
}
FIRMWARE_PACKAGES = {"amd64": "ovmf", "arm64": "qemu-efi-aarch64"}
# the kernel's console on the serial port
SERIAL = {"amd64": "ttyS0", "arm64": "ttyAMA0", "arm": "ttyAMA0"}
# the same with Microsoft's keys enrolled; this firmware requires system management mode
SECURE_FIRMWARE = {
    "amd64": ("/usr/share/OVMF/OVMF_CODE_4M.secboot.fd", "/usr/share/OVMF/OVMF_VARS_4M.ms.fd")
}
SECURE_MACHINE = "q35,smm=on"

# How a drive is attached to the machine: (controller or "", device).
INTERFACES = {
    "virtio": ("", "virtio-blk-pci,drive={drive}{extra}"),
    "nvme": ("", "nvme,drive={drive}{extra}"),
    "usb-storage": (
        "qemu-xhci,id=xhci",
        "usb-storage,bus=xhci.0,drive={drive},removable=on{extra}",
    ),
    "cdrom": ("", "ide-cd,drive={drive}{extra}"),  # on a PC
    "virtio-cdrom": ("virtio-scsi-pci,id=scsi", "scsi-cd,bus=scsi.0,drive={drive}{extra}"),
}


@dataclass(frozen=True)
class Disk:
    """A drive: an image file, its format ("raw", "qcow2"), how the guest sees it (INTERFACES).

    cache: QEMU's cache mode ("none", "writethrough", "unsafe"), or its default.
    sector: bytes per logical sector, 0 for the usual 512.
    """

    path: Path
    format: str = "raw"
    interface: str = "virtio"
    readonly: bool = False
    serial: str = ""
    cache: str = ""
    sector: int = 0


@dataclass(frozen=True)
class Tap:
    """A network card on an existing tap device (ip-tuntap(8)), and its address.

    namespace: the network namespace of the device, in which QEMU then runs, too; "" for ours.
    """

    device: str
    mac: str
    namespace: str = ""


@dataclass(frozen=True)
class VMSpec:
    """A virtual machine. It boots `kernel` if given; otherwise its firmware boots the drives in
    order, the cdrom first.

    memory: MiB. forwards: guest TCP ports that each get a local port. network: False for none.
    tap: replaces QEMU's own network, which no other machine is on; nothing is forwarded then.
    secure_boot: UEFI that starts only signed code. extra: further QEMU arguments.
    board: one of BOARD_MACHINES, with one disk as its SD card, and with the kernel and device tree
    that its firmware would choose.
    """

    kernel: Path | None = None
    initrd: Path | None = None
    append: str = ""
    cdrom: Path | None = None
    disks: tuple[Disk, ...] = ()
    memory: int = 2048
    cpus: int = 2
    uefi: bool = False
    secure_boot: bool = False
    network: bool = True
    forwards: tuple[int, ...] = (SSH,)
    tap: Tap | None = None
    extra: tuple[str, ...] = ()
    arch: str = "amd64"
    board: str = ""
    device_tree: Path | None = None

    @property
    def firmware(self) -> tuple[str, str] | None:
        """The UEFI firmware's code and its empty variables, None for a BIOS."""
        if self.secure_boot:
            return SECURE_FIRMWARE[self.arch]
        return FIRMWARE[self.arch] if self.uefi else None

    @property
    def forwarded(self) -> tuple[int, ...]:
        """The guest's ports that are forwarded to local ones."""
        return self.forwards if self.tap is None else ()

    @property
    def launcher(self) -> tuple[str, ...]:
        """Prefix of QEMU's command line that makes it run in its tap device's namespace."""
        if self.tap is None or not self.tap.namespace:
            return ()
        return ("ip", "netns", "exec", self.tap.namespace)

    @property
    def firmware_package(self) -> str:
        """Debian's package that contains the firmware."""
        return FIRMWARE_PACKAGES[self.arch]

    @property
    def drives(self) -> tuple[Disk, ...]:
        """All drives in boot order."""
        if self.cdrom is None:
            return self.disks
        drive = "cdrom" if self.arch == "amd64" else "virtio-cdrom"
        return (Disk(self.cdrom, interface=drive, readonly=True), *self.disks)


def arguments(
    spec: VMSpec, accel: tuple[str, ...], ports: dict[int, int], vars_copy: Path | None = None
) -> list[str]:
    """The QEMU command line of a spec, without consoles and monitor.

    accel: from k3os.vm.accel. ports: guest port -> local port. vars_copy: a private, writable copy
    of the UEFI variables; required for UEFI. Raises UserError for an impossible spec.
    """
    if spec.arch not in MACHINES:
        raise UserError(f"no virtual machine for {spec.arch}", f"use one of: {', '.join(MACHINES)}")
    if spec.board:
        return _board(spec, accel, ports)
    program, machine = MACHINES[spec.arch]
    machine = SECURE_MACHINE if spec.secure_boot else machine
    command = [program, "-machine", machine, *accel, "-smp", str(spec.cpus)]
    command += ["-m", str(spec.memory), "-nodefaults", "-no-user-config"]
    command += ["-vga", "std"] if spec.arch == "amd64" else []
    command += ["-device", "virtio-rng-pci"]
    if spec.firmware is not None:
        if vars_copy is None:
            raise UserError("UEFI needs its variables in a file", "see k3os.vm.machine")
        if spec.secure_boot:
            command += ["-global", "driver=cfi.pflash01,property=secure,value=on"]
        command += ["-drive", f"if=pflash,format=raw,readonly=on,file={spec.firmware[0]}"]
        command += ["-drive", f"if=pflash,format=raw,file={_escape(vars_copy)}"]
    command += _boot(spec)
    command += _drives(spec)
    command += _network(spec, ports)
    return [*command, *spec.extra]


def _board(spec: VMSpec, accel: tuple[str, ...], ports: dict[int, int]) -> list[str]:
    """A board's command line; the accelerator without -cpu, since a board has a fixed processor."""
    (card,) = spec.disks
    command = [MACHINES[spec.arch][0], "-machine", spec.board, *accel[:2]]
    command += [*BOARD_MACHINES[spec.board], "-nodefaults", "-no-user-config"]
    command += ["-kernel", str(spec.kernel), "-dtb", str(spec.device_tree)]
    command += ["-drive", f"if=sd,format={card.format},file={_escape(card.path)}"]
    command += ["-chardev", "null,id=first", "-serial", "chardev:first"]
    return [*command, *_network(spec, ports, "usb-net"), *spec.extra]


def _boot(spec: VMSpec) -> list[str]:
    if spec.kernel is None:
        if spec.append or spec.initrd:
            raise UserError("a kernel command line or initrd needs a kernel", "give the kernel too")
        return []
    command = ["-kernel", str(spec.kernel)]
    if spec.initrd is not None:
        command += ["-initrd", str(spec.initrd)]
    return [*command, "-append", spec.append]


def _drives(spec: VMSpec) -> list[str]:
    command: list[str] = []
    controllers: set[str] = set()
    for number, disk in enumerate(spec.drives):
        if disk.interface not in INTERFACES:
            raise UserError(
                f"unknown disk interface {disk.interface!r}", f"use: {', '.join(INTERFACES)}"
            )
        controller, device = INTERFACES[disk.interface]
        if controller and controller not in controllers:
            controllers.add(controller)
            command += ["-device", controller]
        extra = f",bootindex={number}" if spec.kernel is None else ""
        # QEMU refuses an NVMe drive without a serial number
        serial = disk.serial or (f"k3os{number}" if disk.interface == "nvme" else "")
        extra += f",serial={serial}" if serial else ""
        if disk.sector:
            extra += f",logical_block_size={disk.sector},physical_block_size={disk.sector}"
        drive = f"if=none,id=drive{number},format={disk.format},file={_escape(disk.path)}"
        drive += f",cache={disk.cache}" if disk.cache else ""
        drive += ",readonly=on" if disk.readonly else ""
        # locks keep two machines from using one image; read-only media need none
        drive += ",file.locking=off" if disk.readonly else ""
        command += ["-drive", drive]
        command += ["-device", device.format(drive=f"drive{number}", extra=extra)]
    return command


def _network(
    spec: VMSpec, ports: dict[int, int], device: str = "virtio-net-pci,romfile="
) -> list[str]:
    if not spec.network:
        return []
    if spec.tap is not None:
        backend = f"tap,id=net0,ifname={spec.tap.device},script=no,downscript=no"
        return ["-netdev", backend, "-device", f"{device},netdev=net0,mac={spec.tap.mac}"]
    forwards = "".join(f",hostfwd=tcp:127.0.0.1:{ports[guest]}-:{guest}" for guest in spec.forwards)
    # no romfile: firmware that first tries to boot from the network costs seconds
    return ["-netdev", f"user,id=net0{forwards}", "-device", f"{device},netdev=net0"]


def _escape(path: Path) -> str:
    """A comma in a value is written twice (qemu(1), "-drive")."""
    return str(path).replace(",", ",,")
