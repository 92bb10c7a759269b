"""The boot loaders on a disk: GRUB's core for BIOS, Debian's signed ones for UEFI, the menu.

BIOS: grub-bios-setup's work in a few lines, so that neither it nor root is needed for an image
file. The fields are those of GRUB's sources, include/grub/i386/pc/boot.h and diskboot.S.
"""

from __future__ import annotations

import os
import re
import struct

from k3os.boot.media import MEDIUM_UUID
from k3os.config.scalars import is_console
from k3os.errors import UserError
from k3os.system.numbers import are_digits

SECTOR = 512
BOOT_CODE = 440  # what an MBR leaves to the boot code
KERNEL_SECTOR, BOOT_DRIVE, DRIVE_CHECK = 0x5C, 0x64, 0x66
THE_BIOS_DRIVE = 0xFF
NO_OPERATIONS = b"\x90\x90"
# diskboot.img's list of blocks: one entry before the end of the core's first sector
BLOCK_LIST = SECTOR - 12
LOAD_SEGMENT = 0x820

DEFAULT_TTY = {"amd64": "ttyS0"}

SYSTEM = "/k3os/system"
RESET = "k3os.factory_reset"
# a command of an installed disk's menu that starts a kernel, with nothing else in its line
_LINUX = re.compile(
    rf"[ \t]*linux[ \t]+{SYSTEM}/(?:current|previous)/kernel/vmlinuz(?:[ \t][^;{{}}#\n]*)?"
)
_NAMED = re.compile(rf"[ \t]{MEDIUM_UUID}=\S*")
TAKEOVER_HEADER = "# k3OS takes this system over at the next boot."

# A new version has three attempts (k3os.upgrade.trial); GRUB counts because a kernel that
# panics cannot, and it has no arithmetic. A kernel or initrd that is missing: the fallback.
TRIAL = """\
if [ -s /boot/grub/grubenv ]; then
    load_env --file /boot/grub/grubenv k3os_trial k3os_tries k3os_timeout
fi
if [ -n "$k3os_trial" ]; then
    set fallback=previous
    set back="k3os.rollback"
    set trial="k3os.trial=$k3os_timeout panic=10 softlockup_panic=1"
    if [ "$k3os_tries" = 3 ]; then
        set k3os_tries=2
    elif [ "$k3os_tries" = 2 ]; then
        set k3os_tries=1
    elif [ "$k3os_tries" = 1 ]; then
        set k3os_tries=0
    else
        set default=previous
    fi
    save_env --file /boot/grub/grubenv k3os_tries
fi
"""


def boot_sector(code: bytes, core_sector: int) -> bytes:
    """The MBR's first BOOT_CODE bytes: they load the sector at core_sector."""
    sector = bytearray(code[:BOOT_CODE])
    struct.pack_into("<Q", sector, KERNEL_SECTOR, core_sector)
    sector[BOOT_DRIVE] = THE_BIOS_DRIVE
    # a hard disk needs no check of the drive's number, and some BIOSes tell a wrong one
    sector[DRIVE_CHECK : DRIVE_CHECK + 2] = NO_OPERATIONS
    return bytes(sector)


def located_core(core: bytes, core_sector: int) -> bytes:
    """The core image, knowing where it lies: all of it in one piece from core_sector on."""
    sectors = -(-len(core) // SECTOR)
    image = bytearray(core.ljust(sectors * SECTOR, b"\0"))
    struct.pack_into("<QHH", image, BLOCK_LIST, core_sector + 1, sectors - 1, LOAD_SEGMENT)
    return bytes(image)


def embed(disk: str, loaders: str, start: int, room: int) -> None:
    """Write GRUB for BIOS onto a disk (or image file): the core, then the code that leads to it.

    The core goes where the one that is started now does not lie, as long as there is room for two:
    a power cut leaves one of them. start, room: bytes, of the BIOS boot partition. Raises
    UserError, OSError.
    """
    with open(f"{loaders}/boot.img", "rb") as file:
        code = file.read()
    with open(f"{loaders}/core.img", "rb") as file:
        plain = file.read()
    size = -(-len(plain) // SECTOR) * SECTOR
    if size > room:
        raise UserError(
            f"the boot loader needs {size >> 10} KiB, but there are {room >> 10} KiB for it",
            "let the installer partition the disk",
        )
    # buffered: a disk whose own sectors are larger takes no single ones
    with open(disk, "r+b") as target:
        half = room // 2 // SECTOR * SECTOR
        started = struct.unpack_from("<Q", target.read(SECTOR), KERNEL_SECTOR)[0]
        if size <= half and started == start // SECTOR:
            start += half
        core = located_core(plain, start // SECTOR)
        target.seek(start)
        target.write(core)
        target.flush()
        os.fsync(target.fileno())
        target.seek(0)
        target.write(boot_sector(code, start // SECTOR))
        target.flush()
        os.fsync(target.fileno())


def efi_stub(uuid: str) -> str:
    """/EFI/debian/grub.cfg, which Debian's signed GRUB reads: where the menu is."""
    return (
        f"search --no-floppy --set=root --fs-uuid {uuid}\n"
        "set prefix=($root)/boot/grub\n"
        "configfile $prefix/grub.cfg\n"
    )


def consoles(tty: str, arch: str = "amd64") -> tuple[str, str]:
    """The kernel's console parameters, and the number of GRUB's serial port or "".

    tty: "ttyS1", "ttyS1,9600", "tty1", or "" for the screen and the first serial port. Where
    the firmware says which one that is (all but PCs), the kernel needs no parameter for it. Raises
    UserError for what is none.
    """
    if tty and not is_console(tty):
        # it goes into a line that GRUB runs
        raise UserError(f"`{tty}` is no console", "write e.g. `ttyS0` or `ttyS1,9600`", "tty")
    tty = tty.removeprefix("/dev/").removeprefix("console=") or DEFAULT_TTY.get(arch, "")
    if not tty:
        return "", ""
    name, _, speed = tty.partition(",")
    if name.startswith("tty") and are_digits(name[3:]):
        return f"console={name}", ""
    serial = name.removeprefix("ttyS")
    return f"console=tty0 console={name},{speed or 115200}", serial if are_digits(serial) else ""


def with_uuid(menu: str, uuid: str) -> str:
    """A menu whose entries name the file system that it lies on; what else is in it stays.

    GRUB has read the menu from there, so that is what this machine boots, and no other file
    system that looks like it. uuid: of that file system; "": it has none, the label decides.
    """
    lines = menu.split("\n")
    for number, line in enumerate(lines):
        if uuid and _LINUX.fullmatch(line):
            lines[number] = f"{_NAMED.sub('', line.rstrip())} {MEDIUM_UUID}={uuid}"
    return "\n".join(lines)


def menu(tty: str = "", *, debug: bool = False, uuid: str = "", arch: str = "amd64") -> str:
    """/boot/grub/grub.cfg of an installed disk: only pointers, no upgrade changes what it boots.

    uuid: of the file system, for a GRUB that is not ours and may have started elsewhere.
    """
    quiet = "k3os.debug" if debug else "quiet"
    text = "# k3OS. It only points to `current` and `previous`: no upgrade changes what it boots.\n"
    text += _settings(tty, uuid, arch)
    text += f"set default=current\n{TRIAL}\n"
    text += _entry("k3OS Current", "current", "current", f"{quiet} $trial")
    previous = _entry(
        "k3OS Previous", "previous", "previous", f"{quiet} k3os.generation=previous $back"
    )
    rescue = _entry("Rescue (current)", "rescue", "current", "rescue")
    older = _entry(
        "Rescue (previous)", "rescue-previous", "previous", "rescue k3os.generation=previous"
    )
    reset = _entry(
        "Delete everything in /var, /home and /opt", "reset", "current", f"{quiet} {RESET}"
    )
    asked = "".join(f"    {line}\n" for line in reset.splitlines())
    text += _if_there(previous) + rescue + _if_there(older)
    text += f'submenu "Factory reset" --id factory-reset {{\n{asked}}}\n'
    return with_uuid(text, uuid)


def takeover_menu(
    tty: str, uuid: str, backup: str, *, debug: bool = False, arch: str = "amd64"
) -> str:
    """The menu of the one boot that takes a system over (boot/takeover.py).

    backup: the name of the menu that was there, beside this one; it is there as long as nothing
    was deleted.
    """
    quiet = "k3os.debug" if debug else "quiet"
    text = f"{TAKEOVER_HEADER} The menu that was here before: {backup}.\n"
    text += _settings(tty, uuid, arch)
    title = "k3OS: delete the system that was here, and start"
    text += _entry(title, "takeover", "current", f"{quiet} k3os.takeover={uuid}")
    text += f"if [ -e /boot/grub/{backup} ]; then\n"
    text += '    menuentry "The system that was here" --id before {\n'
    return text + f"        configfile /boot/grub/{backup}\n    }}\nfi\n"


def _settings(tty: str, uuid: str, arch: str) -> str:
    console, serial = consoles(tty, arch)
    speed = re.match(r"[0-9]*", tty.partition(",")[2])[0] or "115200"  # type: ignore[index]
    text = "set default=0\nset timeout=5\n"
    if uuid:
        text += f"if [ ! -e {SYSTEM}/current/kernel/vmlinuz ]; then\n"
        text += f"    search --no-floppy --set=root --fs-uuid {uuid}\nfi\n"
    if serial:
        text += (
            f"if serial --unit={serial} --speed={speed}; then\n"
            "    terminal_input console serial\n    terminal_output console serial\nfi\n"
        )
    return text + f'set console="{console}"\n\n'


def _entry(title: str, name: str, generation: str, parameters: str) -> str:
    kernel = f"{SYSTEM}/{generation}/kernel"
    return (
        f'menuentry "{title}" --id {name} {{\n'
        f"    linux {kernel}/vmlinuz $console {parameters}\n"
        f"    initrd {kernel}/initrd\n}}\n"
    )


def _if_there(entry: str) -> str:
    body = "".join(f"    {line}\n" for line in entry.splitlines())
    return f"if [ -e {SYSTEM}/previous/kernel/vmlinuz ]; then\n{body}fi\n"
