"""Taking over the machine's own root partition: k3OS is installed beside the running system.

`make_plan` refuses with a reason or decides; `take_over` writes. Of the running system only
grub.cfg is changed, with one rename at the very end: until then, and until the next boot, it starts
as before. That boot deletes it (boot/takeover.py).
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

from k3os.errors import UserError
from k3os.generation import boot_loaders, grub, install_medium, kernel_args
from k3os.generation.adding import from_medium, lay_down
from k3os.generation.install_medium import InstallMedium
from k3os.generation.layout import MENU, SYSTEM
from k3os.generation.takeover_marker import BACKUP, MARKER, POWER_OFF, REBOOT, marker
from k3os.install import formatting
from k3os.install.plan import MIB, SPARE, InstallRequest
from k3os.system import disks
from k3os.system.disks import Device, Mount
from k3os.system.files import atomic_write, sync_directory
from k3os.system.os_release import os_id
from k3os.system.run import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.system.console import Progress, Say

HOST = "/mnt/host"  # where install.sh mounts the root of the running system
GRUB_PLATFORMS = ("i386-pc", "x86_64-efi", "arm64-efi")
SECURE_BOOT = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
# extra space for us while the old system still runs
ROOM = 64 * MIB
GRUB_DIRECTORY = "boot/grub"
NOTHING_WRITTEN = "nothing was written"


@dataclass(frozen=True)
class Takeover:
    """device: the partition of /; root: where it is mounted; uuid: of its file system.

    first_menu: grub.cfg of the next boot; menu: the permanent one. then: REBOOT or POWER_OFF.
    """

    source: InstallMedium
    config: bytes
    device: Device
    root: str
    first_menu: str
    menu: str
    then: str

    def lines(self) -> list[str]:
        """The summary for a person, before anything is written."""
        versions = ", ".join(f"{name} {text}" for name, text in self.source.versions.items())
        return [
            f"install {versions}",
            f"into {self.device}, beside the running system",
            f"the next boot deletes everything on it that is not k3OS, then: {self.then}",
        ]


def make_plan(
    request: InstallRequest,
    medium: InstallMedium,
    config: bytes,
    *,
    power_off: bool,
    root: str = HOST,
) -> Takeover:
    """Raises UserError with the reason if this system must not be taken over."""
    if not request.no_format or not request.device:
        raise UserError(
            "a takeover formats nothing and needs to know the partition",
            "give --no-format and --device with the partition of /",
        )
    device = disks.look_up(request.device)
    problem = refusal(device, disks.mounts(), root) or _grub_problem(root)
    problem = problem or _secure_boot_problem(root) or _room_problem(device, root, medium.size)
    if problem:
        raise UserError(f"cannot take over: {problem}", NOTHING_WRITTEN)
    uuid = formatting.uuid(device)
    if not uuid:
        raise UserError(f"cannot take over: {device.path} has no UUID", NOTHING_WRITTEN)
    backup = os.path.basename(BACKUP)
    return Takeover(
        source=medium,
        config=config,
        device=device,
        root=root,
        first_menu=grub.takeover_menu(
            request.tty, uuid, backup, debug=request.debug, arch=medium.arch
        ),
        menu=grub.menu(
            request.tty,
            debug=request.debug,
            uuid=uuid,
            arch=medium.arch,
            arguments=bool(kernel_args.of_config(config)),
        ),
        then=POWER_OFF if power_off else REBOOT,
    )


def refusal(device: Device, table: list[Mount], root: str) -> str:
    """Why the partition cannot be taken over, "" if it can; table: the system's mounts."""
    at = {mount.target: mount for mount in table}
    if "/" not in at:
        return "the mount table of this system shows no root"
    main = at["/"]
    if main.kind != "ext4":
        return f"the root of this system is {main.kind}, not ext4"
    if main.number != disks.number_of(device.name):
        return f"{device.path} is not the partition of /, which is {main.source}"
    if main.root != "/":
        return f"/ is only the part {main.root} of {device.path}"
    if device.name.startswith(("dm-", "md")):
        kind = "a RAID (md)" if device.name.startswith("md") else "LVM or another mapping"
        return f"{device.path} is {kind}; only a plain partition can be taken over"
    for target in ("/boot", f"/{GRUB_DIRECTORY}"):
        if target in at:
            return (
                f"{target} is a file system of its own ({at[target].source}): its GRUB would not "
                "find k3OS, which comes to /k3os and /boot/grub of the root"
            )
    inside = [target for target in at if (target + "/").startswith("/k3os/")]
    if inside:
        return f"something is mounted at {inside[0]}"
    for name in ("k3os", SYSTEM, "boot", GRUB_DIRECTORY):
        if os.path.islink(f"{root}/{name}"):
            return f"/{name} is a link"
    if os.statvfs(root).f_flag & os.ST_RDONLY:
        return "the root of this system is mounted read-only"
    return ""


def _grub_problem(root: str) -> str:
    try:
        status = os.lstat(f"{root}/{MENU}")
    except FileNotFoundError:
        if os.path.exists(f"{root}/boot/grub2/grub.cfg"):
            return "its GRUB is at /boot/grub2; only /boot/grub is understood"
        return f"there is no /{MENU}: it does not boot with GRUB 2"
    if not stat.S_ISREG(status.st_mode):
        return f"/{MENU} is not a plain file"
    if not any(os.path.isdir(f"{root}/{GRUB_DIRECTORY}/{name}") for name in GRUB_PLATFORMS):
        return f"/{GRUB_DIRECTORY} holds no GRUB 2 for BIOS or UEFI (no modules)"
    return ""


def _secure_boot_problem(root: str) -> str:
    """Another distribution's shim starts only its own kernels, and ours is Debian's."""
    try:
        with open(SECURE_BOOT, "rb") as file:
            enabled = file.read()[4:5] == b"\1"
    except OSError:
        return ""
    name = os_id(root)
    if enabled and name != "debian":
        return (
            f"Secure Boot is on, and the boot loader of {name or 'this system'} would not start "
            "Debian's kernel; switch Secure Boot off, or install from the ISO"
        )
    return ""


def _room_problem(device: Device, root: str, size: int) -> str:
    known = os.statvfs(root)
    free, wanted = known.f_bavail * known.f_frsize, size + ROOM
    if free < wanted:
        return (
            f"{device.path} has {disks.human(free)} free, {disks.human(wanted)} are needed beside "
            "the running system"
        )
    if device.size < size + SPARE:
        return f"{device.path} is too small: {disks.human(size + SPARE)} are needed"
    return ""


def take_over(plan: Takeover, say: Say, progress: Progress | None = None) -> None:
    """Do it. Raises UserError; the system then boots as before."""
    say("checking the files of the medium")
    install_medium.verify(plan.source, f"{plan.source.root}/{SYSTEM}", lambda _: None)
    install_medium.verify_medium(plan.source)
    try:
        lay_down(plan.source, plan.config, plan.root, say, progress)
        boot_loaders.record(f"{plan.root}/{SYSTEM}", plan.source, ())
        from_medium(plan.source, f"{plan.root}/{SYSTEM}", kernel_args.of_config(plan.config))
        atomic_write(f"{plan.root}/{MARKER}", marker(plan.menu, plan.then), mode=0o600, sync=True)
        os.sync()
        say(f"replacing /{MENU}")
        keep_menu(plan.root)
        atomic_write(f"{plan.root}/{MENU}", plan.first_menu.encode(), sync=True)
        os.sync()
    except (UserError, CommandError, OSError) as error:
        what = error.message if isinstance(error, UserError) else str(error)
        raise UserError(
            f"the takeover of {plan.device.path} stopped: {what}",
            "this system boots as before; /k3os may be deleted, or start the takeover again",
        ) from error
    say(f"the next boot deletes everything on {plan.device.path} that is not k3OS")
    say(f"until then this takes it back: mv /{BACKUP} /{MENU}; rm -r /k3os")


def keep_menu(root: str) -> None:
    """Keep the system's own grub.cfg under another name."""
    with open(f"{root}/{MENU}", errors="surrogateescape") as file:
        if file.readline().startswith(grub.TAKEOVER_HEADER):
            return  # of an earlier takeover; the original is saved already
    if os.path.lexists(f"{root}/{BACKUP}"):
        os.unlink(f"{root}/{BACKUP}")
    os.link(f"{root}/{MENU}", f"{root}/{BACKUP}")
    sync_directory(os.path.dirname(f"{root}/{BACKUP}"))
