"""PID 1 of the initrd: from the kernel's hand-over to systemd, in one process.

The steps are those of ARCHITECTURE.md ("Boot"). Whatever fails before systemd ends in a
rescue shell that says what failed; this module never returns and never raises.
"""

import os
import re
import sys
from functools import partial

from k3os.boot import host_setup, media, rescue, root, timeline
from k3os.boot.steps import try_each
from k3os.errors import UserError
from k3os.generation.layout import (
    ARGUMENTS,
    ARGUMENTS_OF,
    LINKS,
    MEDIUM_UUID,
    SYSTEM,
    has_kernel,
    have_same,
    link,
)
from k3os.paths import FRAGMENT_TRIAL, OWN_SYSTEM, RUNNING, TRIED
from k3os.system import kernelmodules, power
from k3os.system.console import calm, say
from k3os.system.numbers import whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

INIT = "/init"  # this program, in the initrd
SYSTEMD = "/usr/lib/systemd/systemd"
OWN_CONFIG = f"{OWN_SYSTEM}/config.yaml"  # the initrd's own: `k3os run --config`, PXE
# k3os.cluster.config_trial is imported only if its file exists
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


def main(overlay: str = "", words: str = "") -> "NoReturn":
    """Boot. Ends in execve(2) of systemd.

    overlay: where the foreign root with its /k3os is mounted, if the first stage of an overlay
    installation (overlay/foreign/sbin/init) calls us instead of the kernel; words: what it adds to
    the kernel's command line, as GRUB does on an installed disk.
    """
    os.environ["PATH"] = PATH
    os.umask(0o022)
    try:
        _boot(overlay, words)
    except BaseException as error:
        _fail(error, words)


def _boot(overlay: str, words: str) -> "NoReturn":
    from k3os import __version__

    timeline.started_at_boot()
    with timeline.step("kernel file systems"):
        root.mount_kernel_file_systems()
    say(f"version {__version__}, {os.uname().release}: early boot")
    with timeline.step("imports"):
        from k3os.config.cmdline import boot_options

        with open("/proc/cmdline", errors="surrogateescape") as file:
            cmdline = f"{file.read().strip()} {words}".rstrip()
        try_each({"keep the kernel's log off the console": lambda: calm(cmdline)})
        options = boot_options(cmdline)
        from k3os.phases.apply import apply_phase, preload

        try_each({"import the phases early": preload})
    debug = options.get("k3os.debug", "") not in ("", "false", "0")
    if "rescue" in options:
        kernelmodules.load(media.ALWAYS + sorted(kernelmodules.device_aliases()))
        rescue.open_shells("rescue is on the kernel's command line", after="boots on")
    with timeline.step("boot medium"):
        medium = media.foreign_root(overlay) if overlay else find_medium(options)
        choose_generation(medium, options)
    if medium.kind == "iso":
        from k3os.boot import beside

        beside.keep(medium, say)
    mode = choose_mode(options, medium.kind)
    say(f"booting {mode} from {medium.file_system}")
    if mode == "disk":
        from k3os.boot import takeover

        if takeover.is_wanted(medium):
            takeover.finish(medium, say)
    data, on_trial = "", False
    if medium.kind in INSTALLED and mode in WRITING_MODES:
        with timeline.step("state"):
            from k3os.boot import state

            data = state.prepare(medium, factory_reset="k3os.factory_reset" in options, say=say)
            kept = f"{medium.path}/{data}" if data else ""
            take_back_what_was_tried(kept)
            on_trial = on_trial_or_back(medium, options, kept)
    remember_generation(medium)
    own_config = OWN_CONFIG if os.path.exists(OWN_CONFIG) else ""
    system = os.path.dirname(own_config) if own_config else f"{medium.path}/{SYSTEM}"
    with timeline.step("phase initrd"):
        apply = partial(apply_phase, mode=mode, cmdline=cmdline, say=say)
        try_each({"apply the initrd phase": lambda: apply("initrd", system_dir=system)})
    with timeline.step("root"):
        root.build(medium, own_config, data)
    with timeline.step("enter root"):
        root.enter()
    with timeline.step("prepare"):
        host_setup.before_phase(mode)
    with timeline.step("phase boot"):
        try_each({"apply the boot phase": lambda: apply("boot")})
    with timeline.step("finish"):
        host_setup.after_phase(mode)
        if data:
            try_each({"keep /var mounted to the end": host_setup.keep_var_mounted})
        if on_trial:  # if this fails, nothing confirms the boot, and it counts as failed
            host_setup.start_unit("k3os-confirm.service")
        # a foreign root's partition is not ours to grow
        if data and medium.kind == "disk":
            device = medium.file_system.device
            try_each({"look for more room on the disk": lambda: grow_if_worthwhile(device)})
    if debug:
        say(timeline.dump().decode())
    if mode == "shell":
        rescue.open_shells(
            "k3os.mode=shell: the root is ready, systemd is not running",
            after="starts systemd",
            program="/usr/bin/bash",
        )
    # systemd, too, knows the word, as a target: one rescue shell is enough
    _start_systemd(["--unit=default.target"] if "rescue" in options else [])


def grow_if_worthwhile(device: str) -> None:
    from k3os.boot import grow

    if grow.gain(device) >= grow.WORTHWHILE:
        host_setup.start_unit("k3os-grow.service")


# seconds: nobody watches a screen for longer
LONGEST_WAIT = 3600


def _wait_seconds(options: dict[str, str]) -> float:
    text = options.get("k3os.media_timeout", "")
    seconds = whole(text, most=LONGEST_WAIT)
    if seconds is not None:
        return float(seconds)
    if text:
        wanted = f"a number of seconds from 0 to {LONGEST_WAIT}"
        say(f"k3os.media_timeout={text[:40]} is not {wanted}; waiting {media.WAIT_SECONDS}")
    return media.WAIT_SECONDS


def find_medium(options: dict[str, str]) -> media.Medium:
    """The medium that the mode asks for. Raises UserError when it is not there in time."""
    mode = options.get("k3os.mode", "")
    kinds, uuid = wanted_media(mode, medium_uuid(options))
    fallback = not mode and options.get("k3os.fallback_mode", "")
    # a system in the initrd is there before any disk
    at_once = not mode and "netboot" in kinds
    return media.find(
        say,
        kinds=kinds,
        # a slow disk must never be mistaken for an empty machine
        patience=media.FALLBACK_SECONDS if fallback or at_once else 0,
        timeout=_wait_seconds(options),
        uuid=uuid,
    )


def wanted_media(mode: str, uuid: str) -> tuple[tuple[str, ...], str]:
    """The kinds of media that a mode boots from, and the UUID that they must have, if any."""
    kinds = media.kinds_of(mode)
    booted = media.kind_of(uuid) if uuid else ""
    # GRUB booted from one medium, and no other counts. The exception is a stick without a mode: an
    # installed disk may then be preferred (k3os.fallback_mode)
    if booted in kinds and (booted == "disk" or kinds[0] == booted):
        return (booted,), uuid
    return kinds, uuid


_UUID = re.compile(r"[0-9A-Za-z-]{1,36}")


def medium_uuid(options: dict[str, str]) -> str:
    """The UUID of the file system that GRUB read; "" if it did not say."""
    uuid = options.get("k3os.takeover", "") or options.get(MEDIUM_UUID, "")
    if uuid and not _UUID.fullmatch(uuid):
        say(f"{MEDIUM_UUID}={uuid[:40]} is not a UUID; the label decides")
        return ""
    return uuid


def choose_generation(medium: media.Medium, options: dict[str, str]) -> None:
    """Select the medium's generation to boot. Raises UserError if it is missing."""
    generation = options.get("k3os.generation", "current")
    if generation not in LINKS:
        say(f"k3os.generation={generation} is unknown (known: {', '.join(LINKS)})")
    elif not os.path.exists(f"{medium.path}/{SYSTEM}/{generation}/k3os/rootfs.squashfs"):
        raise UserError(
            f"{medium.file_system} has no {generation} generation",
            "start again and choose another entry of the menu",
        )
    else:
        medium.generation = generation
    if medium.kind == "disk":
        boot_generation_of_this_kernel(medium)
        boot_generation_of_these_arguments(medium, options.get(ARGUMENTS_OF, ""))


def boot_generation_of_this_kernel(medium: media.Medium) -> None:
    """GRUB reads ext4 without its journal: right after a power cut it may still see the link from
    before a switch. Boot the generation that the running kernel belongs to."""

    def is_of_this_kernel(generation: str) -> bool:
        return has_kernel(medium.path, generation, os.uname().release)

    other = LINKS[1 - LINKS.index(medium.generation)]
    if not is_of_this_kernel(medium.generation) and is_of_this_kernel(other):
        say(f"this kernel is that of the {other} generation, so it boots")
        medium.generation = other


def boot_generation_of_these_arguments(medium: media.Medium, number: str) -> None:
    """The same for two generations with identical files. number: the generation whose arguments
    GRUB passed, "" for one without arguments."""
    system = f"{medium.path}/{SYSTEM}"
    other = LINKS[1 - LINKS.index(medium.generation)]

    def has_these(generation: str) -> bool:
        if number:
            return os.path.basename(link(f"{system}/{generation}")) == number
        return not os.path.exists(f"{system}/{generation}/{ARGUMENTS}")

    if has_these(medium.generation) or not os.path.isdir(f"{system}/{other}"):
        return
    if have_same(system, *LINKS) and has_these(other):
        say(f"the kernel has the arguments of the {other} generation, so it boots")
        medium.generation = other


def take_back_what_was_tried(data: str) -> None:
    """A configuration of `k3os config try` that nobody kept before the restart. data: as below."""
    if not data or not os.path.exists(data + TRIED):
        return
    from k3os.config import tried

    def take_back() -> None:
        if place := tried.restore(data):
            say(f"{place}: nobody kept the configuration that was tried; the former one is back")

    try_each({"take back a configuration that was tried": take_back}, say)


def on_trial_or_back(medium: media.Medium, options: dict[str, str], data: str) -> bool:
    """Act on what GRUB says about a new version: this boot is its trial, or it has failed and the
    previous one becomes the current one again. The same for a NodePool's configuration, whose
    attempts only we count. data: where persistent data is, "" for nowhere."""
    changed = bool(data) and os.path.exists(data + FRAGMENT_TRIAL)
    if "k3os.rollback" in options:
        from k3os.generation.trial import go_back

        reason = go_back(medium.path)
        say(reason)
        medium.generation = "current"
        if changed:
            from k3os.cluster import config_trial

            try_each(
                {"take its configuration back": lambda: config_trial.restore(reason, data)}, say
            )
    elif "rescue" in options:
        return False
    elif "k3os.trial" in options:
        from k3os.boot import guard

        guard.begin(options["k3os.trial"])
        return True
    elif changed:
        return configuration_on_trial(data)
    return False


def configuration_on_trial(data: str) -> bool:
    """Whether this boot is a configuration's trial; with no attempt left, the former is back."""
    from k3os.boot import guard
    from k3os.cluster import config_trial

    seconds = 0

    def count() -> None:
        nonlocal seconds
        before = config_trial.is_on_trial(data)
        seconds = config_trial.attempt(data)
        if before and not seconds:
            say(f"the former configuration is back: {config_trial.taken_back(data)['reason']}")

    try_each({"count the new configuration's trial, which is taken as it is": count}, say)
    if seconds:
        guard.begin(str(seconds))
    return bool(seconds)


def remember_generation(medium: media.Medium, path: str = RUNNING) -> None:
    """Record what is running, even if the link changes later: an upgrade must not remove it."""
    target = os.readlink(f"{medium.path}/{SYSTEM}/{medium.generation}")
    with open(path, "w") as file:
        file.write(f"{target}\n")


INSTALLED = ("disk", "overlay")  # kinds of media that keep data
WRITING_MODES = ("disk", "overlay", "shell")  # the modes that write to them


def choose_mode(options: dict[str, str], medium: str) -> str:
    """The boot mode: the cmdline's, else disk, else the fallback, else live.

    medium: "disk", "overlay", "iso" or "netboot". An unknown mode is reported and ignored: a node
    that can be reached is better than one that insists on a typo.
    """
    from k3os.config.schema import MODES

    asked = options.get("k3os.mode", "")
    if asked and asked not in MODES:
        say(f"k3os.mode={asked} is unknown (known: {', '.join(MODES)})")
        asked = ""
    if asked:
        return asked
    if medium in INSTALLED:
        return medium
    fallback = options.get("k3os.fallback_mode", "")
    if fallback == "disk" or (fallback and fallback not in MODES):
        say(f"k3os.fallback_mode={fallback} is not a mode to fall back to; booting live")
        return "live"
    return fallback or "live"


def _start_systemd(arguments: list[str]) -> "NoReturn":
    try_each({"write down the timeline": timeline.write})
    if not os.access(SYSTEMD, os.X_OK):
        raise UserError(f"{SYSTEMD} is missing in the image", "boot another version or medium")
    environment = {"PATH": PATH, "TERM": os.environ.get("TERM", "linux")}
    os.execve(SYSTEMD, [SYSTEMD, *arguments], environment)


def _fail(error: BaseException, words: str) -> "NoReturn":
    """Explain, open a shell, and start over when a person leaves it.

    A version on trial gets no shell: the machine restarts, in the end with the previous version.
    """
    # root.enter() has emptied the initrd: there is nothing left to start again
    gone = not os.path.exists(INIT)
    after = "reboots the machine" if gone else "starts the boot again"
    from k3os.boot import guard

    if guard.is_on(words):
        try:
            guard.failed(rescue.explain(error))
        finally:
            power.reboot()
    try:
        rescue.open_shells(f"the boot stopped: {rescue.explain(error)}", after=after)
    finally:
        if gone:
            power.reboot()
        _start_again()


def _start_again() -> "NoReturn":
    """Run this program again from the beginning, which also gets rid of half-done mounts."""
    os.sync()
    from k3os.system import mounts

    for _ in range(4):
        try:
            mounts.unmount(root.ROOT, mounts.MNT_DETACH)
        except OSError:
            break
    try:
        mounts.unmount(media.MOUNTED_AT, mounts.MNT_DETACH)
    except OSError as problem:
        say(f"{media.MOUNTED_AT}: {problem.strerror}")
    os.execv(sys.executable or "/usr/bin/python3", ["/usr/bin/python3", "-IS", INIT])
