"""System extensions of an installed node: added, removed, listed.

Each change is a generation of the same versions that is on trial at the next boot, as a version is
(k3os.generation.trial), and goes back with it. What does not fit is refused before anything of it
is written. k3os.boot.extensions makes the boot of it.
"""

from __future__ import annotations

import os
import time

from k3os.errors import UserError
from k3os.generation import extension_fit, extensions
from k3os.generation.extensions import Extension
from k3os.node import upgrade
from k3os.paths import EXTENSIONS, OWN_SYSTEM, ROOTFS, RUNNING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack

    from k3os.generation.installed import Installed
    from k3os.generation.manifest import File
    from k3os.upgrade.plan import Step

LOOK = "/run/k3os/extension-look"
MAGIC = b"hsqs"  # Documentation/filesystems/squashfs.rst
LARGEST = 4 << 30
SUMS = ".sha256"
MAKES = "`make extension` makes one: docs/how-to/extensions.md"
MOST_NAMED = 3
# names of 64 characters in one option of mount(2), which takes a page of 4096 bytes
MOST = 32


def add(options: dict[str, str]) -> int:
    """Exit code 0 also where it is there already. options: of `k3os extension add`. Raises
    UserError, OSError."""
    from contextlib import ExitStack

    from k3os.generation import switching
    from k3os.generation.layout import DOWNLOADS

    upgrade.refuse_on_trial()
    installed = upgrade.look()
    try:
        source = options["SOURCE"]
        path = fetched(source, options) if "://" in source else source
        digest = checked(path, options.get("--sha256", ""))
        with ExitStack() as stack:
            new = examined(path, digest, installed, stack)
        known = installed.extensions(installed.current)
        wanted = extensions.replaced(known, new)
        if len(wanted) > MOST:
            raise UserError(f"there may be {MOST} extensions at most", "remove one")
        step = copying(path, new)
        before = next((str(each) for each in known if each.name == new.name), "none")
        what = f"{new.name}: {before} -> {new.version or new.sha256[:16]}"
        return change(installed, wanted, what, options, (step,))
    finally:
        switching.remove(upgrade.ON_DISK, (DOWNLOADS,))


def remove(options: dict[str, str]) -> int:
    """options: of `k3os extension remove`. Raises UserError, OSError."""
    upgrade.refuse_on_trial()
    installed = upgrade.look()
    known = installed.extensions(installed.current)
    name = options["NAME"]
    rest = tuple(each for each in known if each.name != name)
    if rest == known:
        raise UserError(
            f"there is no extension {name}; there are: {extensions.shown(known)}",
            "nothing was changed",
        )
    return change(installed, rest, f"{name} will be gone", options)


def change(
    installed: Installed,
    wanted: tuple[Extension, ...],
    what: str,
    options: dict[str, str],
    added: tuple[Step, ...] = (),
) -> int:
    """A generation with these, which boots next. what: for people. Raises UserError, OSError."""
    from k3os.generation.layout import GENERATIONS
    from k3os.k3s.source import machine_arch
    from k3os.system.run import run
    from k3os.upgrade import perform
    from k3os.upgrade.plan import make_plan

    decided = make_plan(
        installed,
        {},
        arch=machine_arch(os.uname().machine),
        created=int(time.time()),
        extensions=wanted,
        added=added,
    )
    if wanted == installed.extensions(installed.current) and not decided.steps:
        upgrade.say(f"nothing to do, the next boot has {extensions.shown(wanted)}")
        return 0
    upgrade.say(what)
    generation = f"{GENERATIONS}/{decided.number}"
    perform.perform(decided, installed, upgrade.say, lambda: upgrade.begin_trial(generation))
    if "--reboot" in options:
        upgrade.say("rebooting")
        run(["systemctl", "--no-block", "reboot"])
    elif decided.reboot:
        upgrade.say("it takes effect after the next boot, on trial: `sudo reboot`")
    else:
        upgrade.say("that is what runs")
    return 0


def fetched(url: str, options: dict[str, str]) -> str:
    """The path of what was downloaded and verified. Raises UserError."""
    from k3os.generation.signature import verify
    from k3os.k3s.fetch import parse_sums
    from k3os.system import http
    from k3os.upgrade.offer import signature_beside

    if not url.startswith(("http://", "https://")):
        raise UserError("is neither a path nor an http(s) address", "give one of these", url)
    name = url.rpartition("/")[2]
    digest = options.get("--sha256", "")
    if not digest and "--insecure" not in options:
        address = url + SUMS
        sums = http.get(address, limit=1 << 16)
        keys = upgrade.trusted_keys(options)
        verify(sums, signature_beside(address), keys, http.shown(address))
        digest = parse_sums(sums, http.shown(address)).get(name, "")
        if not digest:
            raise UserError(f"has no entry for {name}", "give --sha256", http.shown(address))
    draw = upgrade.progress()
    path = f"{upgrade.workplace(options)}/extension"
    http.download(
        url,
        path,
        sha256=digest or None,
        limit=LARGEST,
        progress=lambda done, size: draw(name, done, size or done),
    )
    return path


def checked(path: str, wanted: str) -> str:
    """The SHA-256 of a squashfs. wanted: what it must be, "" for any. Raises UserError."""
    from k3os.system.digest import file_sha256

    try:
        with open(path, "rb") as file:
            magic = file.read(len(MAGIC))
        digest = file_sha256(path)
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", "give an extension", path) from error
    if magic != MAGIC:
        raise UserError("is not an extension: it is not a squashfs", MAKES, path)
    if wanted and digest != wanted.lower():
        raise UserError(f"its SHA-256 is {digest}, not {wanted.lower()}", "do not use it", path)
    return digest


def examined(path: str, digest: str, installed: Installed, stack: ExitStack) -> Extension:
    """What the file at path is, when it fits the generation that boots next. Raises UserError."""
    root = mounted(path, "new", stack)
    try:
        names = extension_fit.names_in(root)
        if len(names) != 1 or not extension_fit.is_name(names[0]):
            found = ", ".join(names) or "none"
            raise UserError(
                f"is not an extension: it must have one /{extension_fit.RELEASES}/"
                f"{extension_fit.PREFIX}NAME, and has {found}",
                MAKES,
                path,
            )
        name = names[0]
        image = image_of_next(installed, stack)
        reason = extension_fit.obstacle(root, name, image, os.uname().machine, kernel(installed))
        reason = reason or hidden(root, name, image, installed, stack) or taken_in_opt(root, name)
        version = "" if reason else extension_fit.version_of(extension_fit.release_of(root, name))
    except OSError as error:
        raise UserError(f"is damaged: {error}", "get it again", path) from error
    if reason:
        raise UserError(f"{name} does not fit: {reason}", "nothing was changed", path)
    return Extension(name, version, digest, os.path.getsize(path))


def mounted(path: str, name: str, stack: ExitStack) -> str:
    """Where an image can be looked into. Raises UserError."""
    from k3os.system import mounts

    target = f"{LOOK}/{name}"
    try:
        mounts.mount_image(path, target)
    except OSError as error:
        raise UserError(f"cannot be mounted: {error.strerror}", "is it damaged?", path) from error
    stack.callback(mounts.unmount, target, mounts.MNT_DETACH)
    return target


def image_of_next(installed: Installed, stack: ExitStack) -> str:
    """The root of the k3OS that boots next: the one that runs, or another one, mounted."""
    from k3os.generation.layout import have_same

    running = installed.running or installed.current
    if have_same(installed.system, running, installed.current, ("k3os",)):
        return ROOTFS
    return mounted(f"{installed.system}/{installed.current}/k3os/rootfs.squashfs", "k3os", stack)


def kernel(installed: Installed) -> str:
    """The release of the kernel that boots next; on top of another system it is that one's."""
    from k3os.generation.layout import link

    version = os.path.basename(link(f"{installed.system}/{installed.current}/kernel"))
    return version.partition("~")[0] or os.uname().release


def hidden(root: str, name: str, image: str, installed: Installed, stack: ExitStack) -> str:
    """Which of its files would not be seen, because the system or another one has them."""
    if found := extension_fit.unseen(root, image):
        return f"k3OS has {named(found)} itself, and an extension replaces nothing"
    for other in installed.extensions(installed.current):
        if other.name != name:
            place = mounted(f"{installed.system}/{other.path}", f"others/{other.name}", stack)
            if found := extension_fit.unseen(root, place):
                return f"the extension {other.name} has {named(found)}, too"
    return ""


def named(paths: list[str]) -> str:
    rest = f" and {len(paths) - MOST_NAMED} more" if len(paths) > MOST_NAMED else ""
    return ", ".join(f"/{path}" for path in paths[:MOST_NAMED]) + rest


def taken_in_opt(root: str, name: str, report: str = EXTENSIONS, opt: str = "/opt") -> str:
    """A directory of /opt that it has and that holds files of this node's; "" for none."""
    from k3os.system.files import read_object

    if name in read_object(report) or not os.path.isdir(f"{root}/opt"):
        return ""  # what is in /opt may be its own
    for each in sorted(os.listdir(f"{root}/opt")):
        if os.path.isdir(f"{opt}/{each}") and os.listdir(f"{opt}/{each}"):
            return f"/opt/{each} of this node has files, which it would hide"
    return ""


def copying(path: str, new: Extension) -> Step:
    """Its file to where it lies. The other name until it is complete: one that is mounted may have
    the final one."""
    from k3os.generation.manifest import File
    from k3os.upgrade import offer
    from k3os.upgrade.plan import Step

    file = File(extensions.PLACE, f"{new.name}{extensions.SUFFIX}", new.sha256, new.size)

    def write(wanted: File, target: str) -> None:
        unfinished = f"{target}.new"
        with open(path, "rb") as old:
            read: Callable[[], bytes] = lambda: old.read(offer.BLOCK)  # noqa: E731
            offer.copy(read, wanted, wanted.size, unfinished, upgrade.progress())
        os.rename(unfinished, target)

    return Step(new.path, file, write)


def listed() -> list[str]:
    """How each extension is, a line each."""
    from k3os.node.status import extensions
    from k3os.system.files import text_of

    return list(extensions(OWN_SYSTEM, text_of(RUNNING)).lines)
