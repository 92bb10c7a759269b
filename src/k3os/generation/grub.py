"""What GRUB reads on a disk: the stub for UEFI, and its menu, which counts the attempts of a trial.
An older release's menu is extended to name the file system that it is on, and to pass a
generation's kernel arguments, once there are some.

Without a file system's UUID, only the label decides what is booted (boot/media.py). Another
system's menu is left alone.
"""

from __future__ import annotations

import os
import re

from k3os.config.scalars import is_console
from k3os.errors import UserError
from k3os.generation import kernel_args, layout
from k3os.generation.layout import GENERATIONS, LINKS, MEDIUM_UUID, MENU, numbers
from k3os.generation.switching import flush_journal
from k3os.system.blockdev import probe
from k3os.system.files import atomic_write
from k3os.system.mounts import mounted
from k3os.system.numbers import are_digits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from k3os.system.console import Say

DEFAULT_TTY = {"amd64": "ttyS0"}

SYSTEM = f"/{layout.SYSTEM}"
RESET = "k3os.factory_reset"
# a complete line of an installed disk's menu that starts a kernel and does nothing else
_LINUX = re.compile(
    rf"([ \t]*)linux[ \t]+{SYSTEM}/(current|previous)/kernel/vmlinuz(?:[ \t][^;{{}}#\\\n]*)?"
)
# one that a user wrote, perhaps in another form
_SOME_LINUX = re.compile(rf"[^#\n]*\blinux(?:16|efi)?[ \t].*{SYSTEM}/.*vmlinuz")
_NAMED = re.compile(rf"[ \t]{MEDIUM_UUID}=\S*")
# at the end of such a line: the kernel arguments of its generation
ARGUMENTS = f"${kernel_args.VARIABLE}"
# A kernel that panics restarts the machine, from the very start: sysctl would be too late.
RESTARTS = "panic=10"
# By default the kernel tests its own ciphers first, which takes a seventh of the time to the login.
# Later kernels only do so for their developers; with fips=1, all of them do.
NO_SELF_TESTS = "cryptomgr.notests"
TAKEOVER_HEADER = "# k3OS takes this system over at the next boot."

# A new version has three attempts (k3os.generation.trial). GRUB counts them, since a kernel that
# panics cannot, and GRUB has no arithmetic. If a kernel or initrd is missing: the fallback.
# GRUB cannot write to LVM and RAID: nobody counts the attempts there
TRIAL = """\
if [ -s /boot/grub/grubenv ]; then
    load_env --file /boot/grub/grubenv k3os_trial k3os_tries k3os_timeout
fi
if [ -n "$k3os_trial" ]; then
    set fallback=previous
    set back="k3os.rollback"
    set trial="k3os.trial=$k3os_timeout softlockup_panic=1"
    if [ "$k3os_tries" = 3 ]; then
        set k3os_tries=2
    elif [ "$k3os_tries" = 2 ]; then
        set k3os_tries=1
    elif [ "$k3os_tries" = 1 ]; then
        set k3os_tries=0
    else
        set default=previous
    fi
    if save_env --file /boot/grub/grubenv k3os_tries; then
        true
    else
        set trial="$trial k3os.uncounted"
    fi
fi
"""


def efi_stub(uuid: str) -> str:
    """/EFI/debian/grub.cfg, which Debian's signed GRUB reads to find the menu."""
    return (
        f"search --no-floppy --set=root --fs-uuid {uuid}\n"
        "set prefix=($root)/boot/grub\n"
        "configfile $prefix/grub.cfg\n"
    )


def consoles(tty: str, arch: str = "amd64") -> tuple[str, str]:
    """The kernel's console parameters, and the number of GRUB's serial port or "".

    tty: "ttyS1", "ttyS1,9600", "tty1", or "" for the screen and the first serial port. Where the
    firmware names that port (everywhere but on PCs), the kernel needs no parameter for it. Raises
    UserError if invalid.
    """
    if tty and not is_console(tty):
        # it becomes part of a line that GRUB runs
        raise UserError(f"`{tty}` is not a console", "write e.g. `ttyS0` or `ttyS1,9600`", "tty")
    tty = tty.removeprefix("/dev/").removeprefix("console=") or DEFAULT_TTY.get(arch, "")
    if not tty:
        return "", ""
    name, _, speed = tty.partition(",")
    if name.startswith("tty") and are_digits(name[3:]):
        return f"console={name}", ""
    serial = name.removeprefix("ttyS")
    return f"console=tty0 console={name},{speed or 115200}", serial if are_digits(serial) else ""


def with_uuid(menu: str, uuid: str) -> str:
    """A menu whose entries name the file system that it is on; the rest stays.

    GRUB has read the menu from there, so this machine boots that one and no other file system
    with the same label. uuid: of that file system; "": it has none, the label decides.
    """
    lines = menu.split("\n")
    for number, line in enumerate(lines):
        if uuid and _LINUX.fullmatch(line):
            lines[number] = f"{_NAMED.sub('', line.rstrip())} {MEDIUM_UUID}={uuid}"
    return "\n".join(lines)


def with_arguments(menu: str) -> str:
    """A menu whose entries pass the kernel the arguments of the generation that they boot
    (kernel_args.py); the rest stays."""
    lines = []
    for line in menu.split("\n"):
        found = _LINUX.fullmatch(line)
        if found and ARGUMENTS not in line.split():
            indent, path = found[1], f"{SYSTEM}/{found[2]}/{layout.ARGUMENTS}"
            lines += [
                f"{indent}set {kernel_args.VARIABLE}=",
                f"{indent}if [ -s {path} ]; then",
                f"{indent}    load_env --file {path} {kernel_args.VARIABLE}",
                f"{indent}fi",
            ]
            line = f"{line.rstrip()} {ARGUMENTS}"
        lines.append(line)
    return "\n".join(lines)


def write_menu(root: str, menu: str, uuid: str) -> None:
    """uuid: of the file system mounted at root, which may already contain generations."""
    system = f"{root}{SYSTEM}"
    if any(kernel_args.has_file(f"{system}/{GENERATIONS}/{number}") for number in numbers(system)):
        menu = with_arguments(menu)
    os.makedirs(f"{root}/boot/grub", exist_ok=True)
    atomic_write(f"{root}/{MENU}", with_uuid(menu, uuid).encode(), sync=True)


def menu(
    tty: str = "",
    *,
    debug: bool = False,
    uuid: str = "",
    arch: str = "amd64",
    arguments: bool = False,
) -> str:
    """/boot/grub/grub.cfg of an installed disk: only pointers, so upgrades need not change it.

    uuid: of the file system, for a GRUB that is not ours and may have started elsewhere.
    arguments: whether a generation has some for the kernel.
    """
    quiet = _parameters(debug)
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
    return with_uuid(with_arguments(text) if arguments else text, uuid)


def takeover_menu(
    tty: str, uuid: str, backup: str, *, debug: bool = False, arch: str = "amd64"
) -> str:
    """The menu of the one boot that performs a takeover (boot/takeover.py).

    backup: the name of the former menu, beside this one; it exists as long as nothing was
    deleted.
    """
    quiet = _parameters(debug)
    text = f"{TAKEOVER_HEADER} The menu that was here before: {backup}.\n"
    text += _settings(tty, uuid, arch)
    title = "k3OS: delete the system that was here, and start"
    text += _entry(title, "takeover", "current", f"{quiet} k3os.takeover={uuid}")
    text += f"if [ -e /boot/grub/{backup} ]; then\n"
    text += '    menuentry "The system that was here" --id before {\n'
    return text + f"        configfile /boot/grub/{backup}\n    }}\nfi\n"


def _parameters(debug: bool) -> str:
    """For the kernel, in all entries except the rescue ones."""
    return f"{'k3os.debug' if debug else 'quiet'} {RESTARTS} {NO_SELF_TESTS}"


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


def name_medium(root: str, say: Say) -> None:
    """Apply with_uuid on the state partition mounted, writable, at root. It never fails: an
    unchanged menu boots, too."""
    try:
        with open(f"{root}/{MENU}", encoding="utf-8", errors="surrogateescape") as file:
            old = file.read()
        menu = with_uuid(old, uuid_at(root))
        if menu != old:
            atomic_write(f"{root}/{MENU}", menu.encode("utf-8", "surrogateescape"), sync=True)
            flush_journal(root)
            say("the boot menu names this disk's file system now: no other disk is booted from")
    except FileNotFoundError:
        return  # another system boots k3OS
    except OSError as error:
        say(f"the boot menu still uses the label: {error}")


def pass_arguments(root: str, say: Say) -> None:
    """Make the menu on the state partition mounted, writable, at root pass the kernel a
    generation's arguments; an older release's does not. Raises UserError if that is impossible.
    """
    try:
        with open(f"{root}/{MENU}", encoding="utf-8", errors="surrogateescape") as file:
            old = file.read()
    except FileNotFoundError:
        old = ""
    lines = old.split("\n")
    found = [each for each in map(_LINUX.fullmatch, lines) if each]
    others = len(found) < sum(bool(_SOME_LINUX.match(line)) for line in lines)
    if others or {each[2] for each in found} != set(LINKS):
        raise UserError(
            f"{MENU} on this disk does not start each generation as our menu does: another boot "
            "loader starts k3OS, or somebody changed it",
            "give the arguments there; nothing was changed",
        )
    menu = with_arguments(old)
    if menu != old:
        atomic_write(f"{root}/{MENU}", menu.encode("utf-8", "surrogateescape"), sync=True)
        flush_journal(root)
        say("the boot menu hands the kernel the arguments of a generation now")


def uuid_at(root: str) -> str:
    """The UUID of the file system mounted at root, "" if it has none. Raises OSError."""
    device = ""
    for source, target, _ in mounted():
        if target == root:
            device = source
    return probe(device).uuid if device.startswith("/dev/") else ""
